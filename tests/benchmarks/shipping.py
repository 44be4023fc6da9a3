"""Journal to PostgreSQL: the real shipper over segments of a gateway that is gone, measured in a process of its own.

`python -m tests.benchmarks.shipping FOLDER EVENTS` with the environment of an instance prints one JSON object.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Final

import django
import msgspec

from moorage.kernel import ids
from moorage.wire import journal
from moorage.wire.records import UsageEvent
from tests.benchmarks import spent
from tests.benchmarks.seeding import DEPLOYMENT, ORGANIZATION

_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_CONCURRENT: Final = 64


class Shipped(msgspec.Struct, frozen=True):
    """``again`` is how many events a second pass over copies of the same segments added: none, or it is no proof."""

    events: int
    seconds: float
    shipper_seconds: float
    postgres_seconds: float
    again: int


def write(folder: Path, events: int, boot_id: str) -> int:
    """Segments with ``events`` requests as a busy gateway leaves them; the sum of their output tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    number, tokens = 1, 0
    content = bytearray(journal.MAGIC)
    waiting: list[UsageEvent] = []
    now = time.time_ns() // 1000
    for index in range(events):
        event = _event(index, now + index)
        content += journal.encode(journal.Open(event=event))
        waiting.append(event)
        if len(waiting) < _CONCURRENT and index + 1 < events:
            continue
        for each in waiting:
            ended = msgspec.structs.replace(
                each, outcome="completed", source="engine", input_tokens=37, output_tokens=64, ended_at_us=now + index
            )
            tokens += ended.output_tokens
            content += journal.encode(journal.Close(event=ended))
        waiting.clear()
        if len(content) > _SEGMENT_BYTES:
            (folder / f"{boot_id}-{number:08d}.journal").write_bytes(content)
            number, content = number + 1, bytearray(journal.MAGIC)
    (folder / f"{boot_id}-{number:08d}.journal").write_bytes(content)
    return tokens


def _event(index: int, at_us: int) -> UsageEvent:
    return UsageEvent(
        request_id=ids.new("req"),
        organization_id=ORGANIZATION,
        deployment_id=DEPLOYMENT,
        revision_id="rev_" + "0" * 26,
        replica_id=f"rep_{index % 4:026d}",
        key_id=f"key_{index % 1000:026d}",
        model_key="pilot",
        served_name="bench/pilot",
        path="/v1/chat/completions",
        is_stream=index % 2 == 0,
        outcome="gateway_lost",
        status=200,
        input_tokens=0,
        cached_tokens=0,
        output_tokens=0,
        source="none",
        started_at_us=at_us,
        first_token_at_us=at_us + 900,
    )


def ship(folder: Path, events: int) -> Shipped:
    """Write, ship, check, ship the same again, check."""
    from django.db import connection

    from moorage.metering.shipper import Shipper

    boot_id = "gw_" + ids.encode(ids.uuid7().int)
    tokens = write(folder / "journal", events, boot_id)
    shutil.copytree(folder / "journal", folder / "again")
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the table is append-only for everybody else
        cursor.execute("TRUNCATE usage_event, unrated_usage")
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    began, own, theirs = time.monotonic(), spent.own_seconds(), spent.seconds_of(backend)
    shipped = Shipper(directory=folder / "journal").ship()
    seconds, own, theirs = time.monotonic() - began, spent.own_seconds() - own, spent.seconds_of(backend) - theirs
    _check(shipped, events, tokens)
    again = Shipper(directory=folder / "again").ship()
    _check(events, events, tokens)
    return Shipped(events=events, seconds=seconds, shipper_seconds=own, postgres_seconds=theirs, again=again)


def _check(shipped: int, events: int, tokens: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), coalesce(sum(output_tokens), 0) FROM usage_event")
        found = cursor.fetchone()
    if shipped != events or tuple(found) != (events, tokens):
        sys.exit(f"shipped {shipped} of {events} events; the table holds {found[0]} with {found[1]} of {tokens} tokens")


if __name__ == "__main__":
    django.setup()
    print(msgspec.json.encode(ship(Path(sys.argv[1]), int(sys.argv[2]))).decode())
