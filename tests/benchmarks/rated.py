"""Usage to rate and the worker that rates it, in processes of their own, with the environment of an instance.

`python -m tests.benchmarks.rated seed EVENTS` empties the queue's tables and fills them; `… work` waits for a line on
stdin, rates until nothing is due, and prints one JSON object.
"""

import datetime as dt
import itertools
import random
import sys
import time
from collections.abc import Iterator
from typing import Final

import django
import msgspec

from moorage.kernel import ids
from moorage.wire.records import UsageEvent
from tests.benchmarks import spent

ORGANIZATIONS: Final = 50
_NAMES: Final = tuple(f"demo{number % 8}/model{number}" for number in range(40))
_AT_ONCE: Final = 5_000
#: Organizations beyond these have prices of their own, and a graduated one.
_NEGOTIATED: Final = 5
_GRADUATED: Final = 5
_BEGINNING: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Worked(msgspec.Struct, frozen=True):
    """What one worker did: facts, wall clock from the first to the last, processor seconds of it and its backend."""

    events: int
    began: float
    ended: float
    own_seconds: float
    postgres_seconds: float


def organization_id(number: int) -> str:
    """The organizations of the bench."""
    return f"org_{number:026d}"


def seed(events: int) -> None:
    """Organizations, a price list of some forty rows with negotiated and graduated ones, and usage that waits."""
    from django.db import connection

    from moorage.accounts.models import Organization
    from moorage.billing.models import Meter, Price
    from moorage.metering import usage_table

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # these tables are append-only for everybody else
        cursor.execute(
            "TRUNCATE usage_event, unrated_usage, rated_usage, price, price_counter, billing_month,"
            " ledger_entry, ledger_transaction CASCADE"
        )
        cursor.execute("SET session_replication_role = DEFAULT")
    Organization.objects.bulk_create(
        [
            Organization(id=organization_id(number), slug=f"bench-{number}", name=f"Bench {number}")
            for number in range(ORGANIZATIONS)
        ],
        ignore_conflicts=True,
    )
    listed = [
        (meter, pattern, None, ())
        for meter in (Meter.INPUT_TOKENS, Meter.CACHED_INPUT_TOKENS, Meter.OUTPUT_TOKENS)
        for pattern in ("*", *(f"demo{number}/*" for number in range(8)))
    ]
    owned = [(Meter.OUTPUT_TOKENS, "*", organization_id(number), ()) for number in range(_NEGOTIATED)]
    tiers = ({"from": 0, "pico": 0}, {"from": 100_000, "pico": 600_000}, {"from": 10_000_000, "pico": 300_000})
    stepped = [
        (Meter.INPUT_TOKENS, "*", organization_id(number), tiers)
        for number in range(_NEGOTIATED, _NEGOTIATED + _GRADUATED)
    ]
    Price.objects.bulk_create(
        Price(
            meter=meter,
            model=pattern,
            organization_id=owner,
            pico_per_unit=600_000,
            tiers=list(steps),
            valid_from=_BEGINNING,
            created_by="bench",
        )
        for meter, pattern, owner, steps in [*listed, *owned, *stepped]
    )
    made = _events(events)
    while some := list(itertools.islice(made, _AT_ONCE)):
        usage_table.put(some)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE usage_event, unrated_usage, rated_usage")


def _events(count: int) -> Iterator[UsageEvent]:
    now, chance = time.time_ns() // 1000, random.Random(7)
    for index in range(count):
        owner = chance.randrange(ORGANIZATIONS)
        input_tokens = chance.randrange(1, 2_000)
        yield UsageEvent(
            request_id=ids.new("req"),
            organization_id=organization_id(owner),
            deployment_id=f"dep_{owner:026d}",
            revision_id="rev_" + "0" * 26,
            replica_id=f"rep_{index % 4:026d}",
            key_id=f"key_{index % 1000:026d}",
            model_key="model",
            served_name=chance.choice(_NAMES),
            path="/v1/chat/completions",
            is_stream=index % 2 == 0,
            outcome="completed",
            status=200,
            input_tokens=input_tokens,
            cached_tokens=input_tokens // 2 if index % 4 == 0 else 0,
            output_tokens=chance.randrange(1, 500),
            source="engine",
            started_at_us=now + index - 1000,
            first_token_at_us=now + index - 500,
            ended_at_us=now + index,
        )


def work() -> Worked:
    """Rates until nothing is due."""
    from django.db import connection

    from moorage.billing import rater

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = int(cursor.fetchone()[0])
    print("ready", flush=True)
    sys.stdin.readline()
    began, own, theirs = time.time(), spent.own_seconds(), spent.seconds_of(backend)
    events = 0
    while (batch := rater.rate_batch()).rated:
        events += batch.rated
    return Worked(
        events=events,
        began=began,
        ended=time.time(),
        own_seconds=spent.own_seconds() - own,
        postgres_seconds=spent.seconds_of(backend) - theirs,
    )


def proof() -> str:
    """Empty when every event is rated once, at what the pure rule says by quantity, and the ledger agrees."""
    from django.db import connection

    from moorage.billing import ledger

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM unrated_usage")
        waiting = cursor.fetchone()[0]
        cursor.execute("SELECT sum(input_tokens + output_tokens), count(*) FROM usage_event")
        used, events = cursor.fetchone()
        cursor.execute("SELECT sum(quantity), count(DISTINCT source_id) FROM rated_usage")
        rated, sources = cursor.fetchone()
    found = ledger.prove()
    is_right = not waiting and used == rated and events == sources and found.is_clean
    return "" if is_right else f"{waiting} wait, {rated} of {used} tokens, {sources} of {events} events, {found}"


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "seed":
        seed(int(sys.argv[2]))
    elif sys.argv[1] == "work":
        print(msgspec.json.encode(work()).decode(), flush=True)
    else:
        print(proof())
