"""Lists in pages: each hangs on the last row of the one before, not on a count, so that new rows shift nothing.

Every list is ordered by one field that is unique in it. The cursor says which field and where; it is opaque to
callers and means nothing in another list.
"""

import base64
import binascii
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Field, Model, QuerySet
from rest_framework import serializers
from rest_framework.response import Response

from moorage.api.fields import Fields
from moorage.kernel.errors import InvalidInput

Row = TypeVar("Row")
Record = TypeVar("Record", bound=Model)

LIMIT: Final = 50
LIMIT_MOST: Final = 100


class InvalidCursor(InvalidInput):
    """This page does not exist. Start again without `cursor`."""

    code = "invalid_cursor"


class PageFields(Fields):
    """What every list takes."""

    limit = serializers.IntegerField(
        min_value=1, max_value=LIMIT_MOST, default=LIMIT, help_text="How many at most, 1 to 100."
    )
    cursor = serializers.CharField(
        required=False, max_length=400, help_text="`next_cursor` of the page before; leave it out for the first page."
    )


@functools.cache
def page_of(kind: type[serializers.Serializer]) -> type[serializers.Serializer]:
    """The serializer of a page of ``kind``."""
    name = kind.__name__.removesuffix("Serializer")
    fields = {
        "data": kind(many=True),
        "next_cursor": serializers.CharField(allow_null=True, help_text="Send it as `cursor` for more; null: the end."),
        "__doc__": "Some rows in their fixed order, and how to ask for the next.",
    }
    return type(f"{name}PageSerializer", (serializers.Serializer,), fields)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """Some rows, and the cursor of what follows."""

    rows: Sequence[Row]
    next_cursor: str | None

    def answer(self, kind: type[serializers.Serializer], *, context: dict[str, Any] | None = None) -> Response:
        """The page as ``page_of(kind)`` says."""
        data = kind(self.rows, many=True, context=context or {}).data
        return Response({"data": data, "next_cursor": self.next_cursor})


def page(rows: QuerySet[Record], *, order: str, query: dict[str, Any]) -> Page[Record]:
    """The page that ``query`` (PageFields) asks for; ``order`` is a unique field, with ``-`` newest first.

    Raises InvalidCursor.
    """
    name = order.removeprefix("-")
    after = _read_cursor(query.get("cursor"), name)
    if after is not None:
        field = rows.model._meta.get_field(name)
        assert isinstance(field, Field)
        try:
            value = field.to_python(after)
        except ValidationError as error:
            raise InvalidCursor(param="cursor") from error
        rows = rows.filter(**{f"{name}__{'lt' if order.startswith('-') else 'gt'}": value})
    found = list(rows.order_by(order)[: query["limit"] + 1])
    return _cut(found, query["limit"], lambda row: f"{name}={getattr(row, name)}")


def page_in_memory(
    rows: Sequence[Row], *, name: str, key: Callable[[Row], str], query: dict[str, Any], newest_first: bool = False
) -> Page[Row]:
    """The same of rows that are all here; ``key`` is unique among them, ``name`` says what it is.

    Raises InvalidCursor.
    """
    after = _read_cursor(query.get("cursor"), name)
    ordered = sorted(rows, key=key, reverse=newest_first)
    if after is not None:
        ordered = [row for row in ordered if (key(row) < after if newest_first else key(row) > after)]
    return _cut(ordered, query["limit"], lambda row: f"{name}={key(row)}")


def _cut(found: Sequence[Row], limit: int, text: Callable[[Row], str]) -> Page[Row]:
    rows = found[:limit]
    is_more = len(found) > limit
    cursor = base64.urlsafe_b64encode(text(rows[-1]).encode()).decode().rstrip("=") if is_more else None
    return Page(rows=rows, next_cursor=cursor)


def _read_cursor(cursor: str | None, name: str) -> str | None:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor(param="cursor") from error
    field, separator, value = text.partition("=")
    if field != name or not separator or not value.isprintable():
        raise InvalidCursor(param="cursor")
    return value
