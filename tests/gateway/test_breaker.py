"""A replica that fails is left alone for a while, tried by one request, and forgiven when that goes well."""

from hypothesis import given
from hypothesis import strategies as st

from moorage.gateway.breaker import ANSWERS, FAILURES_IN_A_ROW, FAILURES_OF_LAST, LONGEST, Breaker


def opened(*, now: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker()

    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(1.0)
    was_closed = breaker.is_closed
    breaker.failed(1.0)

    assert was_closed
    assert (breaker.state, breaker.opened, breaker.allows(1.5)) == ("open", 1, False)


def test_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()

    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(1.0)
    breaker.succeeded()
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed(1.0)

    assert breaker.is_closed


def test_it_opens_when_half_of_the_last_answers_failed() -> None:
    breaker = Breaker()

    for _ in range(FAILURES_OF_LAST - 1):
        breaker.failed(1.0)
        breaker.succeeded()
    was_closed = breaker.is_closed
    breaker.failed(1.0)

    assert was_closed
    assert breaker.state == "open"


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker()

    for _ in range(1000):
        breaker.failed(1.0)
        for _ in range(ANSWERS // FAILURES_OF_LAST):
            breaker.succeeded()

    assert breaker.is_closed


def test_after_the_pause_one_request_goes_through() -> None:
    breaker = opened(now=100.0)

    before, after = breaker.allows(100.9), breaker.allows(101.0)
    breaker.began()

    assert (before, after) == (False, True)
    assert (breaker.state, breaker.allows(101.0), breaker.seconds_left(101.0)) == ("half_open", False, 0.0)


def test_an_answer_that_begins_closes_it_but_the_next_failure_opens_it_again() -> None:
    breaker = opened(now=100.0)
    breaker.began()

    breaker.answering()
    was_closed = breaker.is_closed
    breaker.failed(102.0)

    assert was_closed
    assert (breaker.state, breaker.opened) == ("open", 2)


def test_a_complete_answer_makes_it_forget() -> None:
    breaker = opened(now=100.0)
    breaker.began()

    breaker.answering()
    breaker.succeeded()
    breaker.failed(102.0)

    assert breaker.is_closed


def test_each_pause_is_twice_as_long_up_to_the_longest() -> None:
    breaker, now, pauses = opened(now=0.0), 0.0, []

    for _ in range(8):
        pauses.append(breaker.seconds_left(now))
        now += pauses[-1]
        breaker.began()
        breaker.failed(now)

    assert pauses == [1, 2, 4, 8, 16, LONGEST, LONGEST, LONGEST]


def test_a_trial_whose_client_left_decides_nothing() -> None:
    breaker = opened(now=100.0)
    breaker.began()

    breaker.abandoned()

    assert (breaker.state, breaker.allows(101.0)) == ("open", True)


def test_what_was_begun_before_it_opened_neither_closes_nor_prolongs() -> None:
    breaker = opened(now=100.0)

    breaker.failed(100.5)
    breaker.succeeded()

    assert (breaker.state, breaker.opened, breaker.seconds_left(100.5)) == ("open", 1, 0.5)


@given(st.lists(st.sampled_from(["began", "answering", "succeeded", "failed", "abandoned", "wait"])))
def test_it_never_stays_shut_for_good_and_lets_one_through_at_a_time(steps: list[str]) -> None:
    breaker, now = Breaker(), 0.0

    for step in steps:
        match step:
            case "wait":
                now += 1.0
            case "failed":
                breaker.failed(now)
            case "began":
                if breaker.allows(now):
                    breaker.began()
                    assert breaker.is_closed or not breaker.allows(now + 1e9)
            case _:
                getattr(breaker, step)()

    breaker.abandoned()
    assert breaker.allows(now + LONGEST)


@given(st.lists(st.sampled_from(["failed", "succeeded", "began", "answering", "abandoned", "time"]), max_size=40))
def test_while_it_is_calm_a_good_answer_changes_nothing(steps: list[str]) -> None:
    breaker, now = Breaker(), 0.0
    for step in steps:
        match step:
            case "failed":
                breaker.failed(now)
            case "time":
                now += 5.0
            case "began":
                if breaker.allows(now):
                    breaker.began()
            case _:
                getattr(breaker, step)()

    if breaker.is_calm:
        before = {name: getattr(breaker, name) for name in Breaker.__slots__}
        breaker.succeeded()

        assert {name: getattr(breaker, name) for name in Breaker.__slots__} == before
