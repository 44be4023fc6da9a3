"""The bodies that are read: strict, bounded JSON everywhere, and Compose text where a Compose file is taken.

A body is cut off at its limit while it is read, so that a large one costs nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NoReturn

from django.core.exceptions import RequestDataTooBig
from rest_framework.parsers import BaseParser

from moorage.api.errors import BodyTooLarge, MalformedBody
from moorage.compose.source_text import MAX_BYTES

#: JSON around a Compose file: its text with every character escaped, and its variables.
_MAX_JSON: Final = 512 * 1024


class JsonParser(BaseParser):
    """One JSON value in UTF-8: no repeated names, no NaN, no endless nesting."""

    media_type = "application/json"
    limit: ClassVar[int] = MAX_BYTES

    def parse(
        self, stream: Any, _media_type: str | None = None, _parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The value. Raises BodyTooLarge, and MalformedBody with the place."""
        body = read_bounded(stream, self.limit)
        try:
            return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        except UnicodeDecodeError as error:
            raise MalformedBody("The body is not UTF-8. Send JSON in UTF-8.") from error
        except json.JSONDecodeError as error:
            raise MalformedBody(
                f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from error
        except (RecursionError, ValueError) as error:
            raise MalformedBody("The body nests deeper, or has longer numbers, than JSON has here.") from error


class WideJsonParser(JsonParser):
    """JSON with a Compose file in it."""

    limit = _MAX_JSON


class ComposeText(str):
    """A Compose file that came as itself, not inside JSON."""

    __slots__ = ()


class ComposeParser(BaseParser):
    """The Compose file itself. Subclasses name the content types it comes with."""

    media_type = "application/yaml"

    def parse(
        self, stream: Any, _media_type: str | None = None, _parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The text, as ComposeText. Raises BodyTooLarge, and MalformedBody if it is not UTF-8."""
        body = read_bounded(stream, MAX_BYTES)
        try:
            return ComposeText(body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise MalformedBody("The Compose file is not UTF-8. Save it as UTF-8.") from error


class TextYamlParser(ComposeParser):
    """As some clients call it."""

    media_type = "text/yaml"


class OldYamlParser(ComposeParser):
    """As others call it."""

    media_type = "application/x-yaml"


class PlainTextParser(ComposeParser):
    """As editors call it."""

    media_type = "text/plain"


class BareCurlParser(ComposeParser):
    """What `curl --data-binary @compose.yaml` says when it is told nothing."""

    media_type = "application/x-www-form-urlencoded"


COMPOSE_PARSERS: Final[tuple[type[BaseParser], ...]] = (
    ComposeParser,
    TextYamlParser,
    OldYamlParser,
    PlainTextParser,
    BareCurlParser,
    WideJsonParser,
)


def read_bounded(stream: Any, limit: int) -> bytes:
    """All of ``stream``, which must not be longer than ``limit`` bytes. Raises BodyTooLarge."""
    try:
        body: bytes = stream.read(limit + 1)
    except RequestDataTooBig as error:
        raise BodyTooLarge from error
    if len(body) > limit:
        raise BodyTooLarge(f"The body is larger than {limit // 1024} KiB, the most this address takes.")
    return body


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedBody(f"The JSON body has {twice[:80]!r} twice. Send it once.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON. Send a number.")
