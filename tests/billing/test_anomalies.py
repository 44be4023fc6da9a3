"""What is unusual about a day of usage, as tables; and that it is kept until somebody has looked."""

import datetime as dt

import msgspec
import pytest

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import ApiKey, AuditEntry, Organization, Scope
from moorage.billing import anomalies, usage_watch
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.models import AnomalyKind, UsageAnomaly, UsageDay
from moorage.kernel import clock, ids
from moorage.metering import usage_table
from tests.billing.measured import request
from tests.billing.tampering import tamper
from tests.cast import Cast

WEEK = [200_000, 210_000, 190_000, 205_000, 195_000, 200_000, 202_000]


@pytest.mark.parametrize(
    ("values", "middle", "spread"),
    [
        ([], 0, 0),
        ([5], 5, 0),
        ([1, 2], 1, 0),
        ([3, 1, 2], 2, 1),
        ([1, 1, 1, 1, 900], 1, 0),
        ([10, 20, 30, 40], 25, 10),
    ],
)
def test_the_middle_and_the_spread_are_whole(values: list[int], middle: int, spread: int) -> None:
    assert (anomalies.median(values), anomalies.deviation(values)) == (middle, spread)


@pytest.mark.parametrize(
    ("today", "before", "is_found"),
    [
        (600_000, WEEK, False),
        (600_001, WEEK, True),
        (600_001, WEEK[:6], False),
        (700_000, [*WEEK, 9_000_000], True),
        (5_000_000, [0, 500_000, 1_000_000, 1_500_000, 2_000_000, 100_000, 900_000], False),
        (9_000_000, [0, 500_000, 1_000_000, 1_500_000, 2_000_000, 100_000, 900_000], True),
        (99_999, [0] * 28, False),
        (100_000, [0] * 28, True),
        (100_000, [], False),
    ],
)
def test_a_surge_is_far_from_the_days_before(today: int, before: list[int], is_found: bool) -> None:
    assert (anomalies.surge(today, before) is not None) is is_found


@pytest.mark.parametrize(
    ("today", "age_hours", "before", "is_found"),
    [
        (100_000, 1, WEEK, True),
        (99_999, 1, WEEK, False),
        (100_000, 48, WEEK, False),
        (100_000, 47, WEEK, True),
        (100_000, 1, WEEK[:3], False),
        (100_000, 1, [1_000_000] * 7, False),
        (500_000, 1, [1_000_000] * 7, True),
    ],
)
def test_a_new_key_in_heavy_use(today: int, age_hours: int, before: list[int], is_found: bool) -> None:
    found = anomalies.new_key(today, age_hours=age_hours, organization_before=before)

    assert (found is not None) is is_found


@pytest.mark.parametrize(
    ("count", "requests", "is_found"),
    [(0, 10, False), (2, 2, False), (3, 300, True), (3, 301, False), (50, 100, True)],
)
def test_disputed_counts_that_are_no_accident(count: int, requests: int, is_found: bool) -> None:
    assert (anomalies.disputed(count, requests=requests) is not None) is is_found


@pytest.mark.parametrize(("streak", "is_found"), [(0, False), (19, False), (20, True)])
def test_answers_without_a_token_in_a_row(streak: int, is_found: bool) -> None:
    assert (anomalies.no_tokens(streak) is not None) is is_found


NOW = clock.now()
MIDDAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0) + dt.timedelta(seconds=1)


def used(
    organization: Organization, *, tokens: int, days_ago: int = 0, key: str = "key_a", count: int = 1, **changes: object
) -> None:
    """``count`` requests of so many output tokens."""
    event = request(organization.pk, tokens=(0, 0, tokens), ended_at=MIDDAY - dt.timedelta(days=days_ago))
    usage_table.put(
        [
            msgspec.structs.replace(  # type: ignore[arg-type]
                event,
                request_id=ids.new("req"),
                key_id=key,
                ended_at_us=event.ended_at_us + number,
                **changes,
            )
            for number in range(count)
        ]
    )


def watched(minutes: int = 2) -> list[tuple[str, str]]:
    """What a look some minutes later finds: kind and subject."""
    # Arrivals of this test are as old as it is; the day stays the one that they are of.
    tamper("UPDATE usage_event SET recorded_at = %s", NOW - dt.timedelta(minutes=2))
    found = usage_watch.watch(now=NOW + dt.timedelta(seconds=minutes))
    return sorted((row.kind, row.subject_kind) for row in found)


def test_a_surge_is_found_for_everybody_it_is_of_and_kept_once(cast: Cast) -> None:
    harbour = cast.alice.organization
    for day in range(1, 11):
        used(harbour, tokens=200_000, days_ago=day)
        used(cast.charlie.organization, tokens=200_000, days_ago=day, deployment_id="dep_i", key="key_i")
    used(harbour, tokens=2_000_000)
    used(cast.charlie.organization, tokens=300_000, deployment_id="dep_i", key="key_i")

    found = watched()

    assert found == [("surge", "deployment"), ("surge", "key"), ("surge", "organization")]
    assert {row.organization_id for row in UsageAnomaly.objects.all()} == {harbour.pk}
    assert usage_watch.watch(now=NOW + dt.timedelta(seconds=3)) == ()
    assert UsageAnomaly.objects.count() == 3


def test_an_event_is_added_up_once_however_often_one_looks(cast: Cast) -> None:
    used(cast.alice.organization, tokens=50, count=3)
    watched()

    for _ in range(3):
        usage_watch.watch(now=NOW + dt.timedelta(seconds=3))

    row = UsageDay.objects.get()
    assert (row.requests, row.tokens, row.with_output, row.zero_streak) == (3, 150, 3, 0)


def test_a_new_key_that_is_used_at_once_is_found(cast: Cast) -> None:
    harbour = cast.alice.organization
    made = accounts.create_key(organization=harbour, name="new", scopes=[Scope.INFERENCE], by=cast.alice.actor).key
    old = accounts.create_key(organization=harbour, name="old", scopes=[Scope.INFERENCE], by=cast.alice.actor).key
    ApiKey.objects.filter(pk=old.pk).update(created_at=NOW - dt.timedelta(days=30))
    for day in range(1, 11):
        used(harbour, tokens=200_000, days_ago=day, key=old.pk)
    used(harbour, tokens=150_000, key=made.pk)
    used(harbour, tokens=150_000, key=old.pk)

    found = watched()

    assert found == [("new_key", "key")]
    assert UsageAnomaly.objects.get().subject_id == made.pk


def test_disputed_counts_and_empty_answers_are_found(cast: Cast) -> None:
    used(cast.alice.organization, tokens=5, count=3, is_disputed=True)
    used(cast.alice.organization, tokens=0, count=20, deployment_id="dep_b")
    used(cast.alice.organization, tokens=0, count=40, deployment_id="dep_c", path="/v1/embeddings")
    used(cast.alice.organization, tokens=0, count=40, deployment_id="dep_d", outcome="client_gone")

    found = watched()

    assert found == [("disputed", "deployment"), ("no_tokens", "deployment")]
    assert UsageAnomaly.objects.get(kind=AnomalyKind.NO_TOKENS).subject_id == "dep_b"


def test_one_token_ends_a_streak(cast: Cast) -> None:
    harbour = cast.alice.organization
    used(harbour, tokens=0, count=19)
    watched(minutes=1)
    event = request(harbour.pk, tokens=(0, 0, 1), ended_at=MIDDAY + dt.timedelta(microseconds=500))
    late = request(harbour.pk, tokens=(0, 0, 0), ended_at=MIDDAY + dt.timedelta(microseconds=600))
    usage_table.put([event, late])
    tamper(
        "UPDATE usage_event SET recorded_at = %s WHERE request_id IN (%s, %s)", NOW, event.request_id, late.request_id
    )

    usage_watch.watch(now=NOW + dt.timedelta(minutes=2))

    assert UsageDay.objects.get().zero_streak == 1
    assert not UsageAnomaly.objects.exists()


def test_an_anomaly_is_acknowledged_by_somebody_with_a_reason(cast: Cast) -> None:
    used(cast.alice.organization, tokens=5, count=3, is_disputed=True)
    watched()
    anomaly, ada = UsageAnomaly.objects.get(), Actor.person(cast.ada)

    with pytest.raises(ReasonMissing):
        usage_watch.acknowledge(anomaly_id=anomaly.pk, by=ada, reason="")
    usage_watch.acknowledge(anomaly_id=anomaly.pk, by=ada, reason="A load test of ours.")
    used(cast.alice.organization, tokens=5, count=9, is_disputed=True)
    usage_watch.watch(now=NOW + dt.timedelta(minutes=3))

    kept = UsageAnomaly.objects.get()
    assert (kept.acknowledged_by, kept.acknowledged_because) == ("ada@example.com", "A load test of ours.")
    assert kept.figure == 3, "what somebody has looked at stays as it was"
    assert not usage_watch.open_anomalies().exists()
    assert AuditEntry.objects.get(action="anomaly.acknowledged").detail["reason"] == "A load test of ours."
    with pytest.raises(ReviewItemNotFound):
        usage_watch.acknowledge(anomaly_id=anomaly.pk, by=ada, reason="Again.")


def test_old_days_are_forgotten(cast: Cast) -> None:
    UsageDay.objects.create(
        organization_id="org_a", deployment_id="dep_a", key_id="key_a", day=(NOW - dt.timedelta(days=60)).date()
    )

    watched()

    assert not UsageDay.objects.exists()
