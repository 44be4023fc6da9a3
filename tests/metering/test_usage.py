"""Replica time, sums by group, and requests page by page."""

import datetime as dt

import pytest
from django.db import DatabaseError

from moorage.accounts.models import Organization
from moorage.metering import queries, services, usage_table
from moorage.metering.errors import InvalidCursor, RequestNotFound
from moorage.metering.models import ReplicaUsage, UsageEvent
from moorage.metering.queries import Grouping
from tests.cast import Cast
from tests.wire.events import START_US, event

START = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=START_US)
END = START + dt.timedelta(days=40)


def _note(organization: Organization, started_at: dt.datetime, ended_at: dt.datetime) -> int:
    return services.record_replica_time(
        organization_id=organization.id,
        deployment_id="dep_a",
        revision_id="rev_a",
        replica_id="rep_a",
        model_key="llm",
        started_at=started_at,
        ended_at=ended_at,
    )


def test_replica_time_is_whole_seconds_and_the_fraction_is_carried(cast: Cast) -> None:
    moment = until = START
    for _ in range(10):
        moment += dt.timedelta(milliseconds=1700)
        until += dt.timedelta(seconds=_note(cast.alice.organization, until, moment))

    noted = sum(ReplicaUsage.objects.values_list("seconds", flat=True))

    assert noted == 17
    assert until == START + dt.timedelta(seconds=17)


def test_replica_time_that_is_noted_again_is_not_counted_again(cast: Cast) -> None:
    first = _note(cast.alice.organization, START, START + dt.timedelta(seconds=10))
    again = _note(cast.alice.organization, START, START + dt.timedelta(seconds=10))
    longer = _note(cast.alice.organization, START, START + dt.timedelta(seconds=25))

    noted = sum(ReplicaUsage.objects.values_list("seconds", flat=True))

    assert (first, again, longer) == (10, 10, 25)
    assert noted == 25


def test_no_time_at_all_notes_nothing(cast: Cast) -> None:
    assert _note(cast.alice.organization, START, START - dt.timedelta(seconds=5)) <= 0
    assert not ReplicaUsage.objects.exists()


def test_usage_cannot_be_changed_or_removed(cast: Cast) -> None:
    usage_table.put([event()])

    with pytest.raises(DatabaseError, match=r"append-only|permission denied"):
        UsageEvent.objects.update(output_tokens=0)


def test_usage_is_summed_by_deployment_key_revision_model_and_day(cast: Cast) -> None:
    mine = cast.alice.organization
    usage_table.put(
        [
            event(organization_id=mine.id, key_id="key_1"),
            event(organization_id=mine.id, key_id="key_2", ended_at_us=START_US + 86_400_000_000),
            event(organization_id=cast.charlie.organization.id),
        ]
    )
    _note(mine, START, START + dt.timedelta(seconds=30))

    by = {one: queries.usage(organization=mine, start=START, end=END, by=one) for one in Grouping}

    (deployment,) = by[Grouping.DEPLOYMENT]
    assert (deployment.group, deployment.requests, deployment.replica_seconds) == ("dep_a", 2, 30)
    assert (deployment.input_tokens, deployment.cached_tokens, deployment.output_tokens) == (200, 80, 14)
    assert [one.group for one in by[Grouping.KEY]] == ["key_1", "key_2"]
    assert [one.requests for one in by[Grouping.DAY]] == [1, 1]
    assert by[Grouping.REVISION][0].replica_seconds == 30
    assert by[Grouping.MODEL][0].group == "demo/llm"
    assert queries.total(organization=mine, start=START, end=END).output_tokens == 14


def test_the_end_of_a_period_belongs_to_the_next(cast: Cast) -> None:
    usage_table.put([event(organization_id=cast.alice.organization.id)])
    ended = UsageEvent.objects.get().ended_at

    assert queries.total(organization=cast.alice.organization, start=START, end=ended).requests == 0
    assert queries.total(organization=cast.alice.organization, start=ended, end=END).requests == 1


def test_requests_come_page_by_page_newest_first_and_new_ones_shift_nothing(cast: Cast) -> None:
    mine = cast.alice.organization
    made = [event(organization_id=mine.id, ended_at_us=START_US + number // 2) for number in range(7)]
    usage_table.put(made)
    first = queries.requests(organization=mine, start=START, end=END, limit=3)
    usage_table.put([event(organization_id=mine.id, ended_at_us=START_US + 900)])

    second = queries.requests(organization=mine, start=START, end=END, limit=3, after=first.after)
    third = queries.requests(organization=mine, start=START, end=END, limit=3, after=second.after)

    seen = [one.pk for page in (first, second, third) for one in page.requests]
    assert sorted(seen) == sorted(one.request_id for one in made)
    assert third.after is None


@pytest.mark.parametrize("after", ["", "x", "12", "12.'; drop", "9" * 30 + ".req_1", "1.req_é"])
def test_a_page_that_nobody_gave_is_refused(cast: Cast, after: str) -> None:
    with pytest.raises(InvalidCursor):
        queries.requests(organization=cast.alice.organization, start=START, end=END, after=after)


def test_a_stranger_finds_no_request(cast: Cast) -> None:
    mine = event(organization_id=cast.alice.organization.id)
    usage_table.put([mine])

    assert queries.request(organization=cast.alice.organization, request_id=mine.request_id).pk == mine.request_id
    with pytest.raises(RequestNotFound):
        queries.request(organization=cast.charlie.organization, request_id=mine.request_id)
