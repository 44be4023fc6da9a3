"""Which of several runs counts."""

import msgspec
import pytest

from tests.benchmarks.gates import Gates
from tests.benchmarks.load import Sample, Spread, Used
from tests.benchmarks.series import Series, Trial

NEAR, FAR = 90.0, 520.0


def trial(*, cpu: float = 1.0, requests: int = 1000, near_ns: float = NEAR, foreign: float = 0.0) -> Trial:
    nothing = Spread(count=0, p50=0, p90=0, p99=0, p999=0, max=0, mean=0)
    sample = Sample(
        requests=requests,
        finished=requests,
        frames=0,
        seconds=1.0,
        wrong=0,
        reconnects=0,
        opened=1,
        speaking=0,
        complaint="",
        latency_us=nothing,
        first_us=nothing,
        gap_us=nothing,
        machine_busy=cpu + foreign,
        processes=[Used(pid=1, user=cpu / 2, system=cpu / 2, rss_before=0, rss=4096)],
        others=[],
        marks=[],
    )
    return Trial(sample=sample, gates=Gates(near_ns=near_ns, busy_share=0.0, foreign_seconds=sample.foreign_seconds))


def cost(sample: Sample) -> float:
    return sample.cpu_us_per_request


def test_the_cheapest_of_the_undisturbed_runs_counts() -> None:
    busy = trial(cpu=0.5, foreign=0.9)
    far = trial(cpu=0.6, near_ns=FAR)
    seen = Series(trials={"moorage": [busy, far, trial(cpu=1.2), trial(cpu=1.1)]}, failures={})

    best = seen.best("moorage", cost)

    assert best is not None
    assert cost(best.sample) == pytest.approx(1100)


def test_without_cores_that_share_a_cache_the_quiet_runs_count() -> None:
    seen = Series(trials={"moorage": [trial(cpu=0.5, foreign=0.9), trial(cpu=2.0, near_ns=FAR)]}, failures={})

    best = seen.best("moorage", cost)

    assert best is not None
    assert cost(best.sample) == pytest.approx(2000)


def test_on_a_busy_machine_something_counts_all_the_same() -> None:
    seen = Series(trials={"moorage": [trial(cpu=0.5, foreign=0.9)]}, failures={})

    assert seen.best("moorage", cost) is not None
    assert seen.gates_of("moorage") == "0/1 quiet, 90-90 ns"


def test_a_ratio_is_the_median_of_the_rounds_in_which_both_were_undisturbed() -> None:
    ours = [trial(requests=500), trial(requests=700), trial(requests=9000), trial(requests=600)]
    theirs = [trial(), trial(), trial(foreign=0.9), trial()]
    seen = Series(trials={"moorage": ours, "nginx": theirs}, failures={})

    ratio = seen.compare("moorage", "nginx", lambda one, other: one.rate / other.rate)

    assert ratio == pytest.approx(0.6)


def test_rounds_with_near_cores_are_preferred_and_near_is_never_compared_with_far() -> None:
    ours = [trial(requests=100, near_ns=FAR), trial(requests=600), trial(requests=300, near_ns=FAR)]
    theirs = [trial(near_ns=NEAR), trial(), trial(near_ns=FAR)]

    def rate(one: Sample, other: Sample) -> float:
        return one.rate / other.rate

    assert Series(trials={"a": ours, "b": theirs}, failures={}).compare("a", "b", rate) == pytest.approx(0.6)
    far = Series(trials={"a": [ours[0], ours[2]], "b": [theirs[0], theirs[2]]}, failures={})
    assert far.compare("a", "b", rate) == pytest.approx(0.3)


def test_a_series_is_noisy_when_no_round_was_undisturbed_for_both() -> None:
    loud = trial(foreign=0.9)

    assert Series(trials={"a": [loud, trial()], "b": [trial(), loud]}, failures={}).is_noisy("a", "b")
    assert not Series(trials={"a": [loud, trial()], "b": [trial(), trial()]}, failures={}).is_noisy("a", "b")


def test_a_system_that_failed_is_compared_with_nobody() -> None:
    seen = Series(trials={"moorage": [trial()]}, failures={"portkey": "answered 500"})

    assert seen.compare("moorage", "portkey", lambda one, other: one.rate / other.rate) is None
    assert seen.best("portkey", cost) is None


def test_what_belongs_to_the_bench_does_not_make_the_machine_busy() -> None:
    loud = trial(cpu=1.0, foreign=0.8).sample
    load = Used(pid=2, user=0.3, system=0.5, rss_before=0, rss=0)

    assert loud.foreign_seconds == pytest.approx(0.8)
    assert msgspec.structs.replace(loud, others=[load]).foreign_seconds == pytest.approx(0)
