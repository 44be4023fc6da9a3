"""What may stand at the head of a request: exact paths, each header once, no second way to say where it ends.

llhttp is strict about framing already; this refuses what it lets pass (trust.md 4.16). A client that keeps its
connection says the same head again and again: :class:`KnownHead` recognizes it byte by byte, but for the length.
"""

import re
from typing import Any, Final

import httptools

from moorage.gateway.errors import (
    BadRequest,
    BodyTooLarge,
    ExpectationFailed,
    HeadTooLarge,
    UnknownPath,
    WrongMediaType,
)
from moorage.gateway.operations import OPERATIONS
from moorage.gateway.settings import Settings

MODELS: Final = "/v1/models"
#: Paths for operators, which need no key.
PROBES: Final = frozenset({"/-/healthz", "/-/readyz", "/-/metrics", "/-/metrics/engines"})
_MODEL_PREFIX: Final = "/v1/models/"
_TARGET: Final = re.compile(rb"/[!-~]*")
_ENCODED: Final = re.compile(rb"%(?:2[ef]|5c|00|25)", re.IGNORECASE)
_ENCODED_SLASH: Final = re.compile(r"%2[fF]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
#: Digits of a length.
_DIGITS_MOST: Final = 15
_ZERO: Final = ord("0")
#: Headers that lead two readers to two meanings when they come twice.
_ONCE: Final = {
    name: 1 << number
    for number, name in enumerate(
        (
            *(b"authorization", b"x-api-key", b"host", b"content-type", b"content-length", b"transfer-encoding"),
            *(b"expect", b"x-moorage-wait", b"connection", b"idempotency-key"),
        )
    )
}
_NOT_OF_ONE_HOP: Final = (b"content-length", b"authorization", b"x-api-key")
_REFUSED: Final = frozenset({b"upgrade", b"content-encoding", b"http2-settings", b"x-http-method-override"})
_KEPT: Final = frozenset(
    {b"authorization", b"x-api-key", b"content-type", b"expect", b"x-moorage-wait", b"idempotency-key"}
)


class RequestHead:
    """One head, and its body where that comes in chunks: the parser's callbacks fill it, the checks judge it.

    The parser reads bytes up to the end of the head, and those of a chunked body. A body of known length it never sees.
    """

    __slots__ = (
        *("_count", "_has_host", "_most", "_seen", "_parser", "_refusal", "body", "body_size", "content_length"),
        *("has_length", "has_surplus", "headers", "is_chunked", "is_complete", "is_kept_alive", "is_read", "method"),
        *("model_id", "path", "target", "version"),
    )

    def __init__(self, *, most_headers: int) -> None:
        self._most = most_headers
        self._parser: Any = httptools.HttpRequestParser(self)
        self.target = b""
        self.method = b""
        self.version = "1.1"
        self.path = ""
        self.model_id = ""
        self.headers: dict[bytes, bytes] = {}
        self.content_length = 0
        self.has_length = False
        self.is_chunked = False
        self.is_kept_alive = False
        self.is_read = False
        self.is_complete = False
        #: Bytes behind a chunked body were seen by the parser and cannot be taken back.
        self.has_surplus = False
        self.body: list[bytes] = []
        self.body_size = 0
        self._has_host = False
        self._count = 0
        self._seen = 0  # of those that may come once, one bit each
        self._refusal: BadRequest | HeadTooLarge | None = None

    def check_request_line(self, content: bytes) -> None:
        """Refuse a first line that is not method, target and version with single spaces between. Raises BadRequest."""
        if not content.startswith(b"%b %b HTTP/%b\r\n" % (self.method, self.target, self.version.encode("ascii"))):
            raise BadRequest("The request line must be a method, a target and a version.")

    def feed(self, data: bytes) -> None:
        """Read bytes of the head, or of a chunked body. Raises BadRequest for what is not HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadRequest("Upgrade and CONNECT are refused.") from None
        except httptools.HttpParserError:
            if not self.has_surplus:
                raise BadRequest("The request is not well-formed HTTP/1.1.") from None

    # -- httptools

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.has_surplus = True

    def on_url(self, target: bytes) -> None:
        if not self.has_surplus:
            self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_read:
            return  # a trailer
        self._count += 1
        name = name.lower()
        if self._count > self._most:
            self._refusal = HeadTooLarge()
        elif b"_" in name:
            # Some servers read X_Tenant as X-Tenant.
            self._refusal = BadRequest("Header names with an underscore are refused.")
        elif name in _REFUSED:
            self._refusal = BadRequest(f"The header {name.decode()} is refused.")
        elif (bit := _ONCE.get(name, 0)) != 0:
            if self._seen & bit:
                self._refusal = BadRequest(f"The header {name.decode()} came twice.")
            self._seen |= bit
            self._take(name, value)
        elif name == b"traceparent":
            # Two of them are none: whoever sends them starts a trace of its own.
            self.headers[name] = b"" if name in self.headers else value

    def on_headers_complete(self) -> None:
        if not self.has_surplus:
            self.is_read = True
            self.method = self._parser.get_method()
            self.version = self._parser.get_http_version()
            # Asked later, the parser would speak of the next message.
            self.is_kept_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self.has_surplus:
            self.body_size += len(data)
            self.body.append(data)

    def on_message_complete(self) -> None:
        self.is_complete = True

    def let_go(self) -> None:
        """The parser is done with; it refers back here."""
        self._parser = None

    def _take(self, name: bytes, value: bytes) -> None:
        match name:
            case b"host":
                self._has_host = True
                self.headers[name] = value
            case b"transfer-encoding":
                self.is_chunked = True
                if value.lower() != b"chunked":
                    self._refusal = BadRequest("The only Transfer-Encoding understood is chunked.")
            case b"content-length":
                if not (value.isdigit() and len(value) <= 15):
                    self._refusal = BadRequest("Content-Length is not a number.")
                else:
                    self.content_length = int(value)
                    self.has_length = True
            case b"connection" if any(named in value.lower() for named in _NOT_OF_ONE_HOP):
                self._refusal = BadRequest("The Connection header names a header that is not of one hop.")
            case _ if name in _KEPT:
                self.headers[name] = value

    # -- checks

    @property
    def authorization(self) -> bytes:
        """The key in Authorization's form. Anthropic's clients send it as X-Api-Key. Raises BadRequest for two keys."""
        named = self.headers.get(b"authorization", b"")
        bare = self.headers.get(b"x-api-key")
        if bare is None:
            return named
        if named and named[7:] != bare:
            raise BadRequest("Authorization and X-Api-Key hold two different keys.")
        return b"Bearer " + bare

    def check_framing(self) -> None:
        """Raise what makes the rest of the connection unreadable: BadRequest or HeadTooLarge."""
        if self._refusal is not None:
            raise self._refusal
        if self.version not in ("1.0", "1.1"):
            raise BadRequest("HTTP/1.1 is spoken here.")
        if self.version == "1.1" and not self._has_host:
            raise BadRequest("The Host header is missing.")
        if self.is_chunked and (self.version == "1.0" or self.has_length):
            raise BadRequest("The length of the body is said in two ways, or in one that HTTP/1.0 does not know.")
        if not _TARGET.fullmatch(self.target) or b"#" in self.target:
            raise BadRequest("The request target must be a path.")

    def check_target(self) -> None:
        """Find out what is asked for. Raises BadRequest or UnknownPath."""
        raw = self.target.partition(b"?")[0]
        path = raw.decode("ascii")
        if self.method == b"GET" and path.startswith(_MODEL_PREFIX):
            # A served name has a slash in it, which clients encode; it is looked up, never walked.
            self.model_id = _ENCODED_SLASH.sub("/", path.removeprefix(_MODEL_PREFIX))
            raw = self.model_id.encode()
        if _ENCODED.search(raw) or b"/../" in raw + b"/" or b"\\" in raw:
            raise BadRequest("Encoded slashes, dots and backslashes are refused in the path.")
        if self.model_id:
            self.path = MODELS
        elif (self.method == b"POST" and path in OPERATIONS) or (self.method == b"GET" and self._is_readable(path)):
            self.path = path
        else:
            raise UnknownPath

    def check_body(self, settings: Settings) -> None:
        """Refuse a body before it is read: BodyTooLarge, WrongMediaType, ExpectationFailed, BadRequest."""
        if self.content_length > settings.max_body_bytes:
            raise BodyTooLarge(f"The request body may have at most {settings.max_body_bytes} bytes.")
        expected = self.headers.get(b"expect")
        if expected is not None and expected.lower() != b"100-continue":
            raise ExpectationFailed
        if self.method != b"POST":
            if self.has_body:
                raise BadRequest("A GET request has no body here.")
            return
        if not self.has_body:
            raise BadRequest("The request has no body.")
        media_type = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise WrongMediaType

    @property
    def has_body(self) -> bool:
        """Whether bytes follow the head."""
        return self.is_chunked or self.content_length > 0

    def wait_seconds(self, settings: Settings) -> float:
        """How long the client is ready to be held: ``X-Moorage-Wait``, whole seconds. Raises BadRequest."""
        text = self.headers.get(b"x-moorage-wait")
        if text is None:
            return settings.hold_seconds
        if not (text.isdigit() and len(text) <= 4 and int(text) <= settings.hold_seconds_max):
            raise BadRequest(
                f"X-Moorage-Wait must be a whole number of seconds from 0 to {settings.hold_seconds_max:g}."
            )
        return float(text)

    @staticmethod
    def _is_readable(path: str) -> bool:
        return path == MODELS or path in PROBES


class KnownHead:
    """A head that was read and found good, and the bytes around its length, by which it is known again."""

    __slots__ = ("_after", "_before", "_longest", "_start", "_tail", "digest", "head")

    def __init__(self, head: RequestHead, before: bytes, after: bytes, *, longest: int) -> None:
        self.head = head
        #: Of the key that came with it.
        self.digest = b""
        self._before = before
        self._after = after
        self._longest = longest
        self._start, self._tail = len(before), len(after)

    @classmethod
    def of(cls, head: RequestHead, content: bytes, *, longest_body: int) -> "KnownHead | None":
        """Remember ``head``, read from ``content``; None where more than the length may differ next time."""
        place = _LENGTH.search(content)
        if place is None or not head.has_length or b"expect" in head.headers:
            return None
        return cls(head, content[: place.start(1)], content[place.end(1) :], longest=longest_body)

    def find(self, data: bytes) -> int:
        """The end of this head at the start of ``data``, with ``head.content_length`` set; 0 when it is another."""
        if not data.startswith(self._before):
            return 0
        at, length = self._start, 0
        most = min(at + _DIGITS_MOST, len(data))
        # A tidier way of writing the number would be another head.
        while at < most and 0 <= (digit := data[at] - _ZERO) <= 9:
            length = length * 10 + digit
            at += 1
        end = at + self._tail
        if not 0 < length <= self._longest or data[at:end] != self._after:
            return 0
        self.head.content_length = length
        return end
