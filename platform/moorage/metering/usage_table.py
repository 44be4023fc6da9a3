"""The SQL by which usage reaches its table.

COPY goes straight into the table. Where one of the events is there already (a close that was written twice, an offset
that was lost) the table refuses all of it, and the same content goes by way of a temporary table that leaves out what
is known.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import UniqueViolation

from moorage.accounts import services as accounts
from moorage.metering.copy_rows import COLUMNS, Batch, CopyRows
from moorage.metering.models import JournalSegment
from moorage.wire.records import UsageEvent

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def put(events: Iterable[UsageEvent]) -> int:
    """Inserts ``events`` that are not there yet and returns how many were new. Raises django.db.DatabaseError."""
    return put_batch(CopyRows().batch(events))


def put_batch(batch: Batch, *, segment: str | None = None, offset: int = 0, finished_boot: str | None = None) -> int:
    """Inserts a batch, how far ``segment`` is read, and that ``finished_boot`` will write no more, in one transaction.

    Returns how many events were new. Raises django.db.DatabaseError; then nothing is changed.
    """
    inserted = 0
    with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
        if batch.last_uses:
            # Triggers see a whole batch at once; kept in memory it is no file.
            cursor.execute("SET LOCAL work_mem = '32MB'")
            inserted = _insert(cursor, batch.pieces)
            uses = {key_id: _EPOCH + dt.timedelta(microseconds=at) for key_id, at in batch.last_uses.items()}
            accounts.note_uses(uses)
        if segment is not None:
            cursor.execute(
                'INSERT INTO journal_segment (name, "offset", shipped_at) VALUES (%s, %s, now()) ON CONFLICT (name)'
                ' DO UPDATE SET "offset" = greatest(journal_segment."offset", excluded."offset"),'
                " shipped_at = excluded.shipped_at",
                [segment, offset],
            )
        if finished_boot is not None:
            cursor.execute(
                "INSERT INTO shipped_boot (boot_id, shipped_at) VALUES (%s, now()) ON CONFLICT DO NOTHING",
                [finished_boot],
            )
    return inserted


def _insert(cursor: CursorWrapper, pieces: Sequence[bytes]) -> int:
    try:
        with transaction.atomic():
            return _copy(cursor, "usage_event", pieces)
    except UniqueViolation:
        cursor.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS arriving_usage ON COMMIT DELETE ROWS AS"  # noqa: S608
            f" SELECT {COLUMNS} FROM usage_event WITH NO DATA"
        )
        cursor.execute("DELETE FROM arriving_usage")
        _copy(cursor, "arriving_usage", pieces)
        cursor.execute(
            f"INSERT INTO usage_event ({COLUMNS}) SELECT {COLUMNS} FROM arriving_usage"  # noqa: S608
            " ON CONFLICT (request_id) DO NOTHING"
        )
        return cursor.rowcount


def _copy(cursor: CursorWrapper, table: str, pieces: Sequence[bytes]) -> int:
    with cursor.copy(f"COPY {table} ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
        for piece in pieces:
            copy.write(piece)
    return cursor.rowcount


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
