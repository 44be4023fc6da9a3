"""What usage_event can hold. An event that fits is read as it is; one that does not is cut down to what fits, never
up: one odd record must not stop the rest.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from moorage.wire.records import UsageEvent

_MAX_COUNT: Final = 2**62
_MAX_US: Final = 4_102_444_800_000_000  # the year 2100
_MAX_HELD_US: Final = 10**12 - 1
_MAX_STATUS: Final = 2**31 - 1

_Id = Annotated[str, Meta(max_length=40)]
_Word = Annotated[str, Meta(max_length=24)]
_Count = Annotated[int, Meta(ge=0, le=_MAX_COUNT)]
_Moment = Annotated[int, Meta(ge=0, le=_MAX_US)]


class _Fitting(UsageEvent, frozen=True, kw_only=True, array_like=True, gc=False):
    """A UsageEvent within the widths and ranges of the table, checked while it is decoded."""

    request_id: _Id
    organization_id: _Id
    deployment_id: _Id
    revision_id: _Id
    replica_id: _Id
    key_id: _Id
    model_key: Annotated[str, Meta(max_length=120)]
    served_name: Annotated[str, Meta(max_length=170)]
    path: Annotated[str, Meta(max_length=80)]
    # A word that only the next version knows is stored all the same.
    outcome: _Word  # type: ignore[assignment]
    status: Annotated[int, Meta(ge=0, le=_MAX_STATUS)]
    input_tokens: _Count
    cached_tokens: _Count
    output_tokens: _Count
    source: _Word  # type: ignore[assignment]
    started_at_us: _Moment
    first_token_at_us: _Moment | None = None
    ended_at_us: _Moment = 0
    held_us: Annotated[int, Meta(ge=0, le=_MAX_HELD_US)] = 0


class _Any(UsageEvent, frozen=True, kw_only=True, array_like=True, gc=False):
    """A UsageEvent with whatever words for outcome and source."""

    outcome: str  # type: ignore[assignment]
    source: str  # type: ignore[assignment]


_WIDTHS: Final = {
    "request_id": 40,
    "organization_id": 40,
    "deployment_id": 40,
    "revision_id": 40,
    "replica_id": 40,
    "key_id": 40,
    "model_key": 120,
    "served_name": 170,
    "path": 80,
    "outcome": 24,
    "source": 24,
}
_fitting: Final = msgspec.msgpack.Decoder(_Fitting)
_any: Final = msgspec.msgpack.Decoder(_Any)


def read(payload: bytes) -> UsageEvent:
    """The event of an open's or a close's payload, within bounds. Raises msgspec.DecodeError when it is none."""
    try:
        event: UsageEvent = _fitting.decode(payload)
    except msgspec.DecodeError:
        return sane(_any.decode(payload))
    if event.cached_tokens > event.input_tokens or event.started_at_us > event.ended_at_us:
        return sane(event)
    return event


def sane(event: UsageEvent) -> UsageEvent:
    """``event`` within bounds; itself where it fits."""
    input_tokens = _bounded(event.input_tokens, _MAX_COUNT)
    started = _bounded(event.started_at_us, _MAX_US)
    first = event.first_token_at_us
    texts = {name: _text(getattr(event, name), width) for name, width in _WIDTHS.items()}
    return msgspec.structs.replace(
        event,
        **texts,
        status=_bounded(event.status, _MAX_STATUS),
        input_tokens=input_tokens,
        cached_tokens=min(_bounded(event.cached_tokens, _MAX_COUNT), input_tokens),
        output_tokens=_bounded(event.output_tokens, _MAX_COUNT),
        started_at_us=started,
        first_token_at_us=None if first is None else _bounded(first, _MAX_US),
        ended_at_us=max(started, _bounded(event.ended_at_us, _MAX_US)),
        held_us=_bounded(event.held_us, _MAX_HELD_US),
    )


def _bounded(number: int, most: int) -> int:
    return min(max(number, 0), most)


def _text(text: str, width: int) -> str:
    return text[:width].replace("\0", "") if "\0" in text or len(text) > width else text
