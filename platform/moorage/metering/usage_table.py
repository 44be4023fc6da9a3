"""The SQL by which usage reaches its table: COPY into a temporary table, then insert what is not there yet."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from django.db import connection, transaction

from moorage.accounts import services as accounts
from moorage.kernel import clock
from moorage.metering.models import JournalSegment
from moorage.wire.records import UsageEvent

_COLUMNS: Final = (
    "request_id, organization_id, deployment_id, revision_id, replica_id, key_id, model_key, served_name, path,"
    " is_stream, outcome, status, input_tokens, cached_tokens, output_tokens, source, started_at, first_token_at,"
    " ended_at, held_seconds, recorded_at"
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def put(events: Sequence[UsageEvent], *, segment: str | None = None, offset: int = 0) -> int:
    """Inserts ``events`` that are not there yet, and how far ``segment`` is read, in one transaction.

    Returns how many were new. Raises django.db.DatabaseError; then nothing is changed.
    """
    recorded_at = clock.now()
    with transaction.atomic(), connection.cursor() as cursor:
        inserted = 0
        if events:
            cursor.execute(
                "CREATE TEMPORARY TABLE IF NOT EXISTS arriving_usage (LIKE usage_event) ON COMMIT DELETE ROWS"
            )
            cursor.execute("DELETE FROM arriving_usage")
            with cursor.copy(f"COPY arriving_usage ({_COLUMNS}) FROM STDIN") as copy:
                for event in events:
                    copy.write_row(_row(event, recorded_at))
            cursor.execute(
                f"INSERT INTO usage_event ({_COLUMNS}) SELECT {_COLUMNS} FROM arriving_usage"  # noqa: S608
                " ON CONFLICT (request_id) DO NOTHING"
            )
            inserted = cursor.rowcount
            accounts.note_uses(_last_uses(events))
        if segment is not None:
            cursor.execute(
                'INSERT INTO journal_segment (name, "offset", shipped_at) VALUES (%s, %s, %s) ON CONFLICT (name)'
                ' DO UPDATE SET "offset" = greatest(journal_segment."offset", excluded."offset"),'
                " shipped_at = excluded.shipped_at",
                [segment, offset, recorded_at],
            )
    return inserted


def _last_uses(events: Sequence[UsageEvent]) -> dict[str, dt.datetime]:
    uses: dict[str, int] = {}
    for event in events:
        uses[event.key_id] = max(uses.get(event.key_id, 0), event.ended_at_us)
    return {key_id: _EPOCH + dt.timedelta(microseconds=at) for key_id, at in uses.items()}


def committed_offset(segment: str) -> int:
    """The file offset up to which ``segment`` is in usage_event."""
    return JournalSegment.objects.filter(pk=segment).values_list("offset", flat=True).first() or 0


def forget(segment: str) -> None:
    """Drops the offset of a segment whose file is gone."""
    JournalSegment.objects.filter(pk=segment).delete()


def mark_complete(until: dt.datetime) -> None:
    """Notes that everything that ended before ``until`` is in usage_event. Never moves back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shipping_mark (id, complete_until) VALUES (1, %s) ON CONFLICT (id) DO UPDATE"
            " SET complete_until = greatest(shipping_mark.complete_until, excluded.complete_until)",
            [until],
        )


def _row(event: UsageEvent, recorded_at: dt.datetime) -> tuple[object, ...]:
    first = event.first_token_at_us
    return (
        event.request_id,
        event.organization_id,
        event.deployment_id,
        event.revision_id,
        event.replica_id,
        event.key_id,
        event.model_key,
        event.served_name,
        event.path,
        event.is_stream,
        event.outcome,
        event.status,
        event.input_tokens,
        event.cached_tokens,
        event.output_tokens,
        event.source,
        _moment(event.started_at_us),
        None if first is None else _moment(first),
        _moment(event.ended_at_us),
        Decimal(event.held_us).scaleb(-6),
        recorded_at,
    )


def _moment(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)
