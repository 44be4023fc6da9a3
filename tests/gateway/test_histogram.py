"""Counting durations, and what a scraper reads of them."""

from moorage.gateway.histogram import Histogram
from moorage.gateway.metrics import Metrics
from moorage.gateway.settled import Settled


def test_buckets_are_cumulative_and_a_value_on_a_bound_is_within_it() -> None:
    histogram = Histogram((0.1, 1, 10))

    for microseconds in (0, 100_000, 100_001, 1_000_000, 20_000_000):
        histogram.observe(microseconds)

    assert dict(histogram.samples()) == {
        '_bucket{le="0.1"}': 2,
        '_bucket{le="1"}': 4,
        '_bucket{le="10"}': 4,
        '_bucket{le="+Inf"}': 5,
        "_sum": 21.200001,
        "_count": 5,
    }


def test_durations_of_nothing_need_not_be_counted_one_by_one() -> None:
    histogram = Histogram((0.1, 1))
    histogram.observe(500_000)

    assert list(dict(histogram.samples(zeros=3)).values()) == [3, 4, 4, 0.5, 4]
    assert histogram.count == 1


def test_a_stream_counts_its_first_token_and_the_mean_between_its_tokens() -> None:
    metrics = Metrics()

    settled = Settled(input_tokens=11, cached_tokens=4, output_tokens=5, source="engine", is_disputed=True)
    metrics.observe(settled, "completed", 1_000_000, 1_030_000, 1_070_000, 9_000)

    assert dict(metrics.first_token_seconds.samples())["_sum"] == 0.03
    assert dict(metrics.between_tokens_seconds.samples())["_sum"] == 0.01
    assert dict(metrics.queue_seconds.samples())["_sum"] == 0.009
    assert dict(metrics.request_seconds.samples())["_sum"] == 0.07
    assert (metrics.outcomes["completed"], metrics.usage_disagreements) == (1, 1)
    assert (metrics.input_tokens, metrics.cached_tokens, metrics.output_tokens) == (11, 4, 5)


def test_an_answer_in_one_piece_and_one_of_a_single_token_have_no_time_between_tokens() -> None:
    metrics = Metrics()

    metrics.observe(Settled(output_tokens=5), "completed", 1_000_000, None, 1_070_000, 0)
    metrics.observe(Settled(output_tokens=1), "completed", 1_000_000, 1_030_000, 1_070_000, 0)
    metrics.observe(Settled(), "client_gone", 1_000_000, None, 1_070_000, 0)

    assert dict(metrics.between_tokens_seconds.samples())["_count"] == 0
    assert dict(metrics.first_token_seconds.samples())["_count"] == 1
    assert dict(metrics.request_seconds.samples())["_count"] == 3
