"""When a replica that says it is well is given up, and when it never is: the rule as a table of moments."""

import dataclasses
import datetime as dt

import pytest

from moorage.deployments.vitality import POLICY, Answer, Record, Signs, Work, asked, is_due, saw, why_stuck

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
NO_WORK = Work(cpu_seconds=10.0, counted_tokens=100)


def ago(**span: float) -> dt.datetime:
    return NOW - dt.timedelta(**span)


def record(**fields: object) -> Record:
    return dataclasses.replace(Record(since=ago(hours=1), token_at=ago(seconds=30)), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "signs", "is_asked"),
    [
        (record(), Signs(), False),
        (record(token_at=ago(minutes=11)), Signs(), True),
        (record(token_at=None, since=ago(minutes=2)), Signs(), False),
        (record(token_at=ago(minutes=11)), Signs(heard_at=ago(minutes=1)), False),
        # Tokens flow: never, however long ago it was asked.
        (record(token_at=ago(hours=5)), Signs(in_flight=8, heard_at=ago(seconds=1)), False),
        (record(), Signs(in_flight=1, heard_at=ago(seconds=59)), False),
        (record(), Signs(in_flight=1, heard_at=ago(seconds=61)), True),
        # A gateway that does not tell yet is no reason for suspicion.
        (record(), Signs(in_flight=1), False),
        (record(), Signs(is_broken=True), True),
        (record(probed_at=ago(seconds=5)), Signs(is_broken=True), False),
        (record(failures=1, failing_since=ago(seconds=20), probed_at=ago(seconds=9)), Signs(), False),
        (record(failures=1, failing_since=ago(seconds=20), probed_at=ago(seconds=11)), Signs(), True),
    ],
)
def test_who_is_asked_for_a_token(known: Record, signs: Signs, is_asked: bool) -> None:
    assert is_due(known, signs, now=NOW) is is_asked


FAILED = record(failures=4, failing_since=ago(minutes=6), probed_at=ago(seconds=1))
BUSY = Signs(in_flight=3, heard_at=ago(minutes=7))
WORN = Signs(in_flight=3, heard_at=ago(minutes=40))


@pytest.mark.parametrize(
    ("known", "signs", "is_running", "is_stuck"),
    [
        (FAILED, Signs(), True, True),
        (FAILED, BUSY, True, True),
        # What the runtime does not show as running, nobody may judge.
        (FAILED, Signs(), False, False),
        (dataclasses.replace(FAILED, failures=2), Signs(), True, False),
        (dataclasses.replace(FAILED, failing_since=ago(seconds=44)), Signs(), True, False),
        (dataclasses.replace(FAILED, failing_since=ago(seconds=46)), Signs(), True, True),
        # Requests are in it: it may be at a long prompt, and longer while its engine works.
        (dataclasses.replace(FAILED, failing_since=ago(minutes=4)), BUSY, True, False),
        (dataclasses.replace(FAILED, worked_at=ago(minutes=1)), BUSY, True, False),
        (dataclasses.replace(FAILED, failing_since=ago(minutes=31), worked_at=ago(minutes=1)), WORN, True, True),
        # A token since then, seen by a gateway, is proof.
        (FAILED, Signs(in_flight=3, heard_at=ago(minutes=5)), True, False),
        (record(), Signs(), True, False),
    ],
)
def test_who_is_given_up(known: Record, signs: Signs, is_running: bool, is_stuck: bool) -> None:
    assert bool(why_stuck(known, signs, is_running=is_running, now=NOW)) is is_stuck


def test_the_sentence_says_what_was_seen() -> None:
    assert (
        why_stuck(FAILED, BUSY, is_running=True, now=NOW)
        == "Asked 4 times in 360 s with 3 requests in it, it gave none."
    )


@pytest.mark.parametrize(
    ("answer", "signs", "failures"),
    [
        ("token", Signs(), 0),
        ("silence", Signs(), 5),
        # Nobody could be asked, and no gateway complains: that says nothing of the replica.
        ("unseen", Signs(), 4),
        ("unseen", Signs(is_broken=True), 5),
    ],
)
def test_what_an_answer_is_taken_for(answer: Answer, signs: Signs, failures: int) -> None:
    after = asked(FAILED, answer, NO_WORK, signs, now=NOW, policy=POLICY)

    assert after.failures == failures
    assert (after.failing_since is None) is (failures == 0)
    assert after.probed_at == NOW


def test_the_first_failure_begins_the_time_that_counts() -> None:
    after = asked(record(), "silence", NO_WORK, Signs(), now=NOW, policy=POLICY)

    assert (after.failures, after.failing_since) == (1, NOW)


@pytest.mark.parametrize(
    ("work", "has_worked"),
    [
        (Work(cpu_seconds=10.0, counted_tokens=100), False),
        (Work(cpu_seconds=10.0, counted_tokens=101), True),
        (Work(cpu_seconds=15.0, counted_tokens=100), True),
        (Work(cpu_seconds=10.5, counted_tokens=None), False),
        (Work(), False),
    ],
)
def test_an_engine_that_computes_or_counts_works(work: Work, has_worked: bool) -> None:
    before = record(probed_at=ago(seconds=10), cpu_seconds=10.0, counted_tokens=100)

    after = asked(before, "silence", work, Signs(), now=NOW, policy=POLICY)

    assert (after.worked_at == NOW) is has_worked


def test_a_token_at_a_gateway_clears_every_doubt_from_before_it() -> None:
    after = saw(FAILED, Signs(in_flight=1, heard_at=ago(seconds=1)))

    assert (after.failures, after.failing_since, after.token_at) == (0, None, ago(seconds=1))
    assert saw(FAILED, BUSY) == FAILED
