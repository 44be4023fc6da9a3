"""What may stand at the head of a request: exact paths, each header once, no second way to say where it ends.

llhttp is strict about framing already; this refuses what it lets pass (trust.md 4.16).
"""

import dataclasses
import re
from typing import Final

from moorage.gateway.errors import (
    BadRequest,
    BodyTooLarge,
    ExpectationFailed,
    HeadTooLarge,
    UnknownPath,
    WrongMediaType,
)
from moorage.gateway.request_fields import BODIES
from moorage.gateway.settings import Settings

MODELS: Final = "/v1/models"
OPERATIONS: Final = frozenset({"/-/healthz", "/-/readyz", "/-/metrics"})
_MODEL_PREFIX: Final = "/v1/models/"
_TARGET: Final = re.compile(rb"/[!-~]*")
_ENCODED: Final = re.compile(rb"%(?:2[ef]|5c|00|25)", re.IGNORECASE)
_ENCODED_SLASH: Final = re.compile(r"%2[fF]")
#: Headers that lead two readers to two meanings when they come twice.
_ONCE: Final = frozenset(
    {
        *(b"authorization", b"host", b"content-type", b"content-length", b"transfer-encoding"),
        *(b"expect", b"x-moorage-wait", b"connection"),
    }
)
_REFUSED: Final = frozenset({b"upgrade", b"content-encoding", b"http2-settings", b"x-http-method-override"})
_KEPT: Final = frozenset({b"authorization", b"content-type", b"content-length", b"expect", b"x-moorage-wait"})


@dataclasses.dataclass(slots=True)
class RequestHead:
    """Filled while the parser reads; ``check`` is called when it is complete."""

    target: bytes = b""
    method: bytes = b""
    version: str = "1.1"
    path: str = ""
    model_id: str = ""
    headers: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    content_length: int | None = None
    is_chunked: bool = False
    has_host: bool = False
    count: int = 0
    names: set[bytes] = dataclasses.field(default_factory=set)
    refusal: BadRequest | HeadTooLarge | None = None

    def add(self, name: bytes, value: bytes, *, most: int) -> None:
        """Take one header; what is wrong with it is kept for ``check``."""
        self.count += 1
        name = name.lower()
        if self.count > most:
            self.refusal = HeadTooLarge()
        elif b"_" in name:
            # Some servers read X_Tenant as X-Tenant.
            self.refusal = BadRequest("Header names with an underscore are refused.")
        elif name in _REFUSED:
            self.refusal = BadRequest(f"The header {name.decode()} is refused.")
        elif name in _ONCE:
            if name in self.names:
                self.refusal = BadRequest(f"The header {name.decode()} came twice.")
            self.names.add(name)
            self._take(name, value)

    def _take(self, name: bytes, value: bytes) -> None:
        match name:
            case b"host":
                self.has_host = True
            case b"transfer-encoding":
                self.is_chunked = True
                if value.lower() != b"chunked":
                    self.refusal = BadRequest("The only Transfer-Encoding understood is chunked.")
            case b"content-length":
                if not (value.isdigit() and len(value) <= 15):
                    self.refusal = BadRequest("Content-Length is not a number.")
                else:
                    self.content_length = int(value)
            case b"connection" if b"content-length" in value.lower() or b"authorization" in value.lower():
                self.refusal = BadRequest("The Connection header names a header that is not of one hop.")
            case _ if name in _KEPT:
                self.headers[name] = value

    def check_framing(self) -> None:
        """Raise what makes the rest of the connection unreadable: BadRequest or HeadTooLarge."""
        if self.refusal is not None:
            raise self.refusal
        if self.version not in ("1.0", "1.1"):
            raise BadRequest("HTTP/1.1 is spoken here.")
        if self.version == "1.1" and not self.has_host:
            raise BadRequest("The Host header is missing.")
        if self.is_chunked and (self.version == "1.0" or self.content_length is not None):
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
        elif (self.method == b"POST" and path in BODIES) or (self.method == b"GET" and self._is_readable(path)):
            self.path = path
        else:
            raise UnknownPath

    def check_body(self, settings: Settings) -> None:
        """Refuse a body before it is read: BodyTooLarge, WrongMediaType, ExpectationFailed, BadRequest."""
        if self.content_length is not None and self.content_length > settings.max_body_bytes:
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
        return self.is_chunked or bool(self.content_length)

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
        return path == MODELS or path in OPERATIONS
