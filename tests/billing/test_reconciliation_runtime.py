"""R7 and R8, what containers and engines say: clean, and each error, planted and found."""

import dataclasses
import datetime as dt
from pathlib import Path

import msgspec
import pytest

from moorage.billing.models import EngineReading
from moorage.billing.reconciliation import engines, replicas
from moorage.billing.reconciliation.replicas import Metered
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet.engine_counters import Counters, parse
from moorage.fleet.runtime import Container
from moorage.kernel import clock
from moorage.metering import services as metering
from moorage.metering import usage_table
from tests.billing.findings import HOUR, MINUTE, NOW, Runtime, codes, window
from tests.billing.measured import request
from tests.billing.tampering import tamper
from tests.cast import Cast
from tests.console.usage_rows import deployed

# R7


SERVES = Metered(
    replica_id="rep_a",
    organization_id="org_a",
    deployment_id="dep_a",
    is_serving=True,
    ready_at=NOW - HOUR,
    ended_at=None,
    seconds=3600,
    metered_until=NOW,
)
RUNS = Container(
    name="moorage-x-rep_a-1",
    replica_id="rep_a",
    epoch=1,
    spec_hash="",
    status="running",
    started_at=NOW - HOUR - MINUTE,
)
OVER = {"is_serving": False, "ended_at": NOW - 30 * MINUTE}


@pytest.mark.parametrize(
    ("metered", "container", "found"),
    [
        ({}, {}, []),
        ({"seconds": 3604}, {}, []),
        ({"seconds": 3700}, {}, ["metered_too_long"]),
        ({"ready_at": None}, {}, ["metered_before_ready"]),
        ({"seconds": 3000, "metered_until": NOW - 10 * MINUTE}, {}, ["not_metered"]),
        ({"seconds": 0, "metered_until": None}, {}, ["not_metered"]),
        ({"seconds": 3590, "metered_until": NOW - 10 * dt.timedelta(seconds=1)}, {}, []),
        ({}, None, ["no_container"]),
        ({}, {"started_at": NOW - 30 * MINUTE}, ["metered_longer_than_ran"]),
        ({}, {"status": "exited", "finished_at": NOW - 20 * MINUTE}, ["metered_after_exit"]),
        ({}, {"status": "exited", "finished_at": NOW - MINUTE / 2}, ["metered_longer_than_ran"][:0]),
        ({**OVER, "seconds": 1800, "metered_until": NOW - 30 * MINUTE}, None, []),
        ({**OVER, "seconds": 1700, "metered_until": NOW - 30 * MINUTE}, None, ["metered_too_short"]),
        ({**OVER, "seconds": 1900, "metered_until": NOW - 30 * MINUTE}, None, ["metered_too_long"]),
    ],
)
def test_a_replica_is_metered_as_long_as_it_ran(
    metered: dict[str, object], container: dict[str, object] | None, found: list[str]
) -> None:
    one = dataclasses.replace(SERVES, **metered)  # type: ignore[arg-type]
    known = {} if container is None else {"rep_a": dataclasses.replace(RUNS, **container)}  # type: ignore[arg-type]

    assert codes(replicas.compare_replicas([one], known, now=NOW)) == found


def served(cast: Cast, *, seconds: int) -> Replica:
    """A replica of harbour that is ready since an hour, with so many metered seconds."""
    replica, now = deployed(cast.alice.organization), clock.now()
    Replica.objects.filter(pk=replica.pk).update(
        status=ReplicaStatus.READY,
        created_at=now - 2 * HOUR,
        ready_at=now - HOUR,
        metered_until=now,
        socket="/run/a.sock",
    )
    metering.record_replica_time(
        organization_id=cast.alice.organization.pk,
        deployment_id=replica.deployment_id,
        revision_id=replica.revision_id,
        replica_id=replica.pk,
        model_key="llm",
        started_at=now - dt.timedelta(seconds=seconds),
        ended_at=now,
    )
    return replica


def test_replica_seconds_are_read_from_where_they_are(cast: Cast) -> None:
    replica = served(cast, seconds=3600)
    ran = dataclasses.replace(RUNS, replica_id=replica.pk, started_at=clock.now() - HOUR - MINUTE)
    lied = dataclasses.replace(ran, started_at=clock.now() - 10 * MINUTE)

    clean = replicas.replicas(window(clock.now()), runtime=Runtime(ran))  # type: ignore[arg-type]
    (finding,) = replicas.replicas(window(clock.now()), runtime=Runtime(lied)).findings  # type: ignore[arg-type]

    assert (clean.findings, clean.compared) == ((), 1)
    assert (finding.code, finding.subject) == ("metered_longer_than_ran", replica.pk)


# R8


READING = engines.Reading(
    replica_id="rep_a",
    organization_id="org_a",
    engine_output=50_000,
    earlier_input=90_000,
    earlier_output=49_000,
    metered_input=90_000,
    metered_output=50_000,
    completed_output=50_000,
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"completed_output": 50_001}, ["metered_more_than_generated"]),
        ({"metered_output": 60_000}, []),
        ({"metered_output": 40_000, "completed_output": 40_000}, ["output_not_metered"]),
        ({"metered_output": 46_000, "completed_output": 46_000}, []),
        ({"metered_input": 80_000}, ["input_not_metered"]),
        ({"earlier_output": 0, "earlier_input": 0, "metered_output": 0, "completed_output": 0}, []),
    ],
)
def test_an_engine_counts_what_is_metered(changes: dict[str, int], found: list[str]) -> None:
    assert codes(engines.compare_engines([dataclasses.replace(READING, **changes)])) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "counters"),
    [
        (
            "# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total 120\n"
            "llamacpp:tokens_predicted_total 45\nllamacpp:prompt_seconds_total 1.5\n",
            Counters(input_tokens=120, output_tokens=45),
        ),
        (
            'vllm:prompt_tokens_total{engine="0",model_name="m"} 1.234e+06\n'
            'vllm:prompt_tokens_total{engine="1",model_name="m"} 6.0\n'
            'vllm:generation_tokens_total{engine="0",model_name="m"} 7.0\n',
            Counters(input_tokens=1_234_006, output_tokens=7),
        ),
        ("llamacpp:prompt_tokens_total 120\n", None),
        ("llamacpp:prompt_tokens_total 1e99\nllamacpp:tokens_predicted_total 4\n", None),
        ("llamacpp:prompt_tokens_total NaN\nllamacpp:tokens_predicted_total -4\n", None),
        ("", None),
    ],
)
def test_counters_are_read_from_what_engines_say(text: str, counters: Counters | None) -> None:
    assert parse(text) == counters


def test_a_counter_that_went_back_has_begun_anew() -> None:
    before = EngineReading(
        replica_id="rep_a", organization_id="org_a", read_at=NOW, raw_input=90, raw_output=50, engine_output=50
    )

    after = engines.advance(
        before, Counters(input_tokens=10, output_tokens=8), engines.MeteredTokens(output_tokens=8), now=NOW
    )

    assert (after.engine_output, after.earlier_output, after.raw_output, after.metered_output) == (58, 50, 8, 8)


def at_replica(cast: Cast, replica: Replica, output: int) -> None:
    """A request of so many output tokens, answered by ``replica``."""
    event = request(cast.alice.organization.pk, tokens=(10, 0, output), ended_at=clock.now() - MINUTE)
    usage_table.put([msgspec.structs.replace(event, replica_id=replica.pk)])


def test_tokens_that_went_past_the_gateway_are_found_one_reading_later(cast: Cast) -> None:
    replica = served(cast, seconds=60)
    at_replica(cast, replica, 5_000)
    told = {"output": 5_000}

    def ask(_socket: Path) -> Counters:
        return Counters(input_tokens=10, output_tokens=told["output"])

    moment = clock.now() + MINUTE
    first = engines.engines(window(moment), ask=ask)
    told["output"] = 90_000
    second = engines.engines(window(moment + 5 * MINUTE), ask=ask)
    hasty = engines.engines(window(moment + 6 * MINUTE), ask=ask)
    third = engines.engines(window(moment + 10 * MINUTE), ask=ask)

    assert (first.findings, first.compared) == ((), 1)
    assert second.findings == (), "those requests may be running still"
    assert hasty.compared == 0, "a reading just after another says nothing"
    assert codes(third.findings) == ["output_not_metered"]


def test_more_metered_than_generated_is_found_and_usage_is_added_up_once(cast: Cast) -> None:
    replica = served(cast, seconds=60)
    moment = clock.now() + MINUTE
    at_replica(cast, replica, 700)
    engines.engines(window(moment), ask=lambda _: Counters(input_tokens=10, output_tokens=700))
    again = engines.engines(window(moment + 5 * MINUTE), ask=lambda _: Counters(input_tokens=10, output_tokens=700))
    tamper("UPDATE engine_reading SET completed_output = completed_output + 1")

    found = engines.engines(window(moment + 10 * MINUTE), ask=lambda _: Counters(input_tokens=10, output_tokens=700))

    assert again.findings == ()
    assert EngineReading.objects.get().metered_output == 700
    assert codes(found.findings) == ["metered_more_than_generated"]


def test_an_engine_that_does_not_answer_is_said_and_no_finding(cast: Cast) -> None:
    served(cast, seconds=60)

    result = engines.engines(window(), ask=lambda _: None)

    assert (result.count, result.compared) == (0, 0)
    assert result.note == "1 of 1 engines did not tell their counters."
