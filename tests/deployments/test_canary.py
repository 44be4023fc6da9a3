"""The judge of a trial, as tables: figures in, a verdict with its why out."""

import datetime as dt
import random

import pytest

from moorage.compose.spec import CanarySpec
from moorage.deployments.canary import (
    Figures,
    Judgement,
    binomial_tail,
    fisher,
    judge,
    mann_whitney,
)
from moorage.gateway.trial import bucket_of

SINCE = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
POLICY = CanarySpec(for_seconds=300)


def asked(requests: int, errors: int = 0) -> Figures:
    return Figures(requests=requests, errors=errors)


def streamed(streams: int, *, first_token: float = 0.1, rate: float = 50.0) -> Figures:
    """As many streams of 41 tokens, their first tokens spread a little around the one given."""
    buckets: dict[int, int] = {}
    for number in range(streams):
        bucket = bucket_of(round(first_token * 1e6 * (0.9 + 0.2 * number / streams)))
        buckets[bucket] = buckets.get(bucket, 0) + 1
    return Figures(
        requests=streams,
        streams=streams,
        first_token=buckets,
        stream_tokens=40 * streams,
        stream_seconds=40 * streams / rate,
    )


def judged(baseline: Figures, canary: Figures, *, after: int, policy: CanarySpec = POLICY) -> Judgement:
    return judge(baseline, canary, policy, since=SINCE, now=SINCE + dt.timedelta(seconds=after))


@pytest.mark.parametrize("after", [1, 100, 299, 301, 1000])
def test_three_requests_decide_nothing(after: int) -> None:
    assert judged(asked(1000), asked(3, errors=3), after=after).verdict == "continue"
    assert judged(asked(1000), asked(3), after=after).verdict == "continue"


@pytest.mark.parametrize(
    ("baseline", "canary", "verdict"),
    [
        (asked(100), asked(30), "continue"),
        (asked(100), asked(10, errors=3), "roll back"),
        (asked(1000, errors=10), asked(100, errors=9), "roll back"),
        # The callers, or the world, are at fault: the revision before fails as often.
        (asked(100, errors=30), asked(30, errors=9), "continue"),
        # Above two per cent, but three of a hundred may be chance.
        (asked(900), asked(100, errors=3), "continue"),
        # Nobody calls the one before: the limit alone counts.
        (asked(0), asked(20, errors=5), "roll back"),
    ],
)
def test_errors_roll_back_at_once_when_they_are_no_chance(baseline: Figures, canary: Figures, verdict: str) -> None:
    assert judged(baseline, canary, after=20).verdict == verdict


@pytest.mark.parametrize(
    ("first_token", "after", "verdict"),
    [(0.1, 60, "continue"), (0.14, 60, "continue"), (0.2, 60, "roll back"), (0.2, 20, "continue")],
)
def test_a_late_first_token_rolls_back_once_it_is_warm(first_token: float, after: int, verdict: str) -> None:
    found = judged(streamed(200), streamed(30, first_token=first_token), after=after)

    assert found.verdict == verdict
    if verdict == "roll back":
        assert found.why.startswith("The first token takes 0.")


def test_a_millisecond_is_noise_however_large_its_ratio() -> None:
    assert judged(streamed(200, first_token=0.001), streamed(30, first_token=0.01), after=60).verdict == "continue"


@pytest.mark.parametrize(("rate", "verdict"), [(45, "continue"), (30, "roll back")])
def test_a_low_token_rate_rolls_back(rate: float, verdict: str) -> None:
    assert judged(streamed(200, rate=50), streamed(30, rate=rate), after=60).verdict == verdict


def test_answers_in_one_piece_have_a_rate_too() -> None:
    quick = Figures(requests=50, whole_answers=50, whole_tokens=2000, whole_seconds=40)
    slow = Figures(requests=50, whole_answers=50, whole_tokens=2000, whole_seconds=80)

    assert judged(quick, slow, after=60).verdict == "roll back"
    assert judged(quick, quick, after=60).verdict == "continue"


def test_it_is_promoted_when_its_time_has_passed_and_it_was_asked_often_enough() -> None:
    assert judged(streamed(200), streamed(25), after=299).verdict == "continue"
    assert judged(streamed(200), streamed(19), after=301).verdict == "continue"
    promoted = judged(streamed(200), streamed(25), after=301)

    assert promoted.verdict == "promote"
    assert promoted.why.startswith("25 requests within every limit: 0.0% failed (0.0% before), first token after 0.1")


def test_what_nobody_calls_is_promoted_at_the_end_of_patience() -> None:
    assert judged(asked(0), asked(0), after=1799).verdict == "continue"
    assert judged(asked(0), asked(0), after=1801).verdict == "promote"


def test_what_may_be_chance_is_decided_at_the_end_of_patience() -> None:
    assert judged(asked(900), asked(100, errors=3), after=301).verdict == "continue"
    assert judged(asked(900), asked(100, errors=3), after=1801).verdict == "roll back"


def test_the_tests_are_those_of_the_books() -> None:
    assert binomial_tail(3, 10, 0.02) == pytest.approx(0.000864, rel=1e-2)
    assert binomial_tail(1, 10, 1.0) == 1.0
    # The lady tasting tea, all eight cups right: one in seventy.
    assert fisher(asked(4, errors=4), asked(4)) == pytest.approx(1 / 70)
    assert mann_whitney({2: 10}, {1: 10}) == pytest.approx(3.78, abs=0.01)
    assert mann_whitney({1: 10}, {1: 10}) == 0


def test_a_healthy_canary_is_hardly_ever_rolled_back_by_chance() -> None:
    dice = random.Random(5)
    rolled_back = 0
    for _ in range(200):
        canary_errors = baseline_errors = 0
        for count in range(1, 301):
            canary_errors += dice.random() < 0.01
            baseline_errors += sum(dice.random() < 0.01 for _ in range(9))
            found = judged(asked(9 * count, errors=baseline_errors), asked(count, errors=canary_errors), after=count)
            if found.verdict == "roll back":
                rolled_back += 1
                break

    assert rolled_back <= 6
