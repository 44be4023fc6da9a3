"""Turns are given by share and not by noise: among organizations, and within one among its keys."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.gateway.fair_queue import BURST, WEIGHTS, FairQueue
from tests.gateway.rush_hour import Call, Harbour, p99


def queue_of(*asked: tuple[str, str], limit: int = 1000, tokens: float = 10, weight: float = 4.0) -> FairQueue[str]:
    """One item for each (organization, key), named ``key1``, ``key2`` …"""
    queue: FairQueue[str] = FairQueue(limit=limit)
    counts: dict[str, itertools.count] = {}
    for organization, key in asked:
        name = f"{key}{next(counts.setdefault(key, itertools.count(1)))}"
        assert queue.push(name, organization_id=organization, key_id=key, tokens=tokens, weight=weight) is None
    return queue


def taken(queue: FairQueue[str], count: int | None = None) -> list[str]:
    return [queue.pop() for _ in range(len(queue) if count is None else count)]


def test_one_key_is_served_in_the_order_of_coming() -> None:
    queue = queue_of(*[("org", "a")] * 5)

    assert taken(queue) == ["a1", "a2", "a3", "a4", "a5"]


def test_a_light_key_does_not_wait_for_a_heavy_ones_queue() -> None:
    queue = queue_of(*[("org", "heavy")] * 100, *[("org", "light")] * 2)

    assert taken(queue, 4) == ["heavy1", "light1", "heavy2", "light2"]


def test_many_keys_of_one_organization_get_no_more_than_one_of_another() -> None:
    queue = queue_of(*[("alice", f"a{n}-") for n in range(20)], *[("bob", "bob")] * 20)

    first = taken(queue, 20)

    assert sum(item.startswith("bob") for item in first) == 10


def test_turns_are_weighed_in_tokens_not_in_requests() -> None:
    queue: FairQueue[str] = FairQueue(limit=100)
    for number in range(20):
        queue.push(f"long{number}", organization_id="org", key_id="long", tokens=300)
        queue.push(f"short{number}", organization_id="org", key_id="short", tokens=100)

    first = taken(queue, 20)

    assert sum(item.startswith("short") for item in first) == 15


def test_priorities_are_shares_and_nobody_starves() -> None:
    queue: FairQueue[str] = FairQueue(limit=1000)
    for priority, number in itertools.product(WEIGHTS, range(200)):
        queue.push(f"{priority}{number}", organization_id="org", key_id=priority, tokens=10, weight=WEIGHTS[priority])

    first = taken(queue, 210)

    assert {name: sum(item.startswith(name) for item in first) for name in WEIGHTS} == {
        "low": 10,
        "normal": 40,
        "high": 160,
    }


def test_a_key_of_high_priority_takes_nothing_from_another_organization() -> None:
    queue: FairQueue[str] = FairQueue(limit=1000)
    for number in range(100):
        queue.push(f"alice{number}", organization_id="alice", key_id="a", tokens=10, weight=WEIGHTS["high"])
        queue.push(f"bob{number}", organization_id="bob", key_id="b", tokens=10, weight=WEIGHTS["low"])

    first = taken(queue, 100)

    assert sum(item.startswith("bob") for item in first) == 50


def test_what_a_request_took_more_than_was_thought_is_paid_for_later() -> None:
    queue = queue_of(*[("org", "a")] * 50, *[("org", "b")] * 50)
    taken(queue, 2)

    queue.correct(organization_id="org", key_id="a", tokens=100)

    assert sum(item.startswith("b") for item in taken(queue, 20)) == 15


def test_one_who_was_quiet_may_call_in_a_burst_but_only_so_long() -> None:
    queue = queue_of(*[("org", "steady")] * 500)
    taken(queue, 200)

    for number in range(200):
        queue.push(f"burst{number}", organization_id="org", key_id="burst", tokens=10)
    first = taken(queue, 2 * BURST)

    assert sum(item.startswith("burst") for item in first[:BURST]) == BURST
    assert sum(item.startswith("steady") for item in first[BURST:]) == pytest.approx(BURST / 2, abs=1)


def test_who_leaves_costs_its_flow_nothing() -> None:
    queue = queue_of(*[("org", "a")] * 3, *[("org", "b")] * 3)

    removed = queue.remove("a1"), queue.remove("a2"), queue.remove("a2")

    assert removed == (True, True, False)
    assert taken(queue) == ["a3", "b1", "b2", "b3"]


def test_a_full_queue_refuses_the_one_who_filled_it() -> None:
    queue = queue_of(*[("org", "a")] * 10, limit=10)

    assert queue.push("a11", organization_id="org", key_id="a", tokens=1) == "a11"
    assert len(queue) == 10


def test_in_a_full_queue_the_newest_of_the_longest_makes_way() -> None:
    queue = queue_of(*[("org", "a")] * 6, *[("org", "b")] * 4, limit=10)

    losers = [queue.push(f"c{n}", organization_id="org", key_id="c", tokens=10) for n in range(4)]

    assert losers == ["a6", "a5", "a4", "c3"]
    assert len(queue) == 10


def test_in_a_full_queue_places_are_shared_among_organizations_first() -> None:
    queue = queue_of(*[("alice", f"a{n}-") for n in range(10)], limit=10)

    losers = [queue.push(f"bob{n}", organization_id="bob", key_id="b", tokens=10) for n in range(6)]

    assert losers[:5] == ["a0-1", "a1-1", "a2-1", "a3-1", "a4-1"]
    assert losers[5] == "bob5"


_steps = st.lists(
    st.tuples(st.sampled_from(["push", "push", "pop", "remove", "correct"]), st.integers(0, 2), st.integers(0, 3)),
    max_size=200,
)


@given(_steps)
def test_nobody_is_lost_or_served_twice_and_each_key_keeps_its_order(steps: list[tuple[str, int, int]]) -> None:
    queue: FairQueue[tuple[int, int, int]] = FairQueue(limit=20)
    here: dict[tuple[int, int, int], None] = {}
    numbers = itertools.count()

    for step, organization, key in steps:
        match step:
            case "push":
                item = (organization, key, next(numbers))
                here[item] = None
                loser = queue.push(item, organization_id=f"{organization}", key_id=f"{key}", tokens=1 + key)
                if loser is not None:
                    del here[loser]
            case "pop" if here:
                item = queue.pop()
                assert item == next(each for each in here if each[:2] == item[:2])
                del here[item]
            case "remove" if here:
                queue.remove(item := next(iter(here)))
                del here[item]
            case "correct":
                queue.correct(organization_id=f"{organization}", key_id=f"{key}", tokens=key - 1)
        assert list(queue) == list(here)
        assert len(queue) <= 20
    assert sorted(queue.pop() for _ in range(len(queue))) == sorted(here)


@given(st.lists(st.integers(1, 50), min_size=3, max_size=3), st.integers(0, 1 << 16))
def test_keys_that_always_wait_get_the_same_tokens(sizes: list[int], seed: int) -> None:
    queue: FairQueue[tuple[int, int, int]] = FairQueue(limit=10_000)
    shuffled = random.Random(seed)
    served = [0.0] * len(sizes)
    for key, size in enumerate(sizes):
        for number in range(400):
            queue.push((key, number, size), organization_id="org", key_id=f"{key}", tokens=size)

    for _ in range(shuffled.randint(50, 390)):
        key, _, size = queue.pop()
        served[key] += size

    assert max(served) - min(served) <= 2 * max(sizes)


# -- in virtual time: four slots, a second each, one key floods with ten times its share


def steadily(key: str, *, every: float, seconds: float) -> list[Call]:
    return [Call(key=key, came_at=number * every) for number in range(int(seconds / every))]


def at_random(key: str, *, rate: float, seconds: float, seed: int) -> list[Call]:
    chance = random.Random(seed)
    times = itertools.accumulate(iter(lambda: chance.expovariate(rate), None))
    return [Call(key=key, came_at=each) for each in itertools.takewhile(lambda each: each < seconds, times)]


def p99_of_light(light: list[Call], noisy: list[Call], *, is_fair: bool = True) -> float:
    Harbour(is_fair=is_fair, limit=100_000).run([*light, *noisy])
    return round(p99(light), 3)


def test_a_flood_does_not_double_the_p99_of_a_key_that_uses_all_of_its_share() -> None:
    alone = p99_of_light(steadily("light", every=0.5, seconds=60), [])
    beside = p99_of_light(steadily("light", every=0.5, seconds=60), steadily("noisy", every=0.05, seconds=60))
    unfair = p99_of_light(
        steadily("light", every=0.5, seconds=60), steadily("noisy", every=0.05, seconds=60), is_fair=False
    )

    assert (alone, beside, unfair) == (1.0, 1.5, 266.05)


def test_a_flood_does_not_double_the_p99_of_a_key_that_calls_at_random() -> None:
    alone = p99_of_light(at_random("light", rate=1.0, seconds=600, seed=1), [])
    noise = at_random("noisy", rate=20, seconds=600, seed=2)
    beside = p99_of_light(at_random("light", rate=1.0, seconds=600, seed=1), noise)
    unfair = p99_of_light(
        at_random("light", rate=1.0, seconds=600, seed=1),
        at_random("noisy", rate=20, seconds=600, seed=2),
        is_fair=False,
    )

    assert (alone, beside, unfair) == (1.0, 1.829, 2552.85)


def test_the_flood_gets_what_the_others_leave() -> None:
    light, noisy = steadily("light", every=2.0, seconds=60), steadily("noisy", every=0.05, seconds=60)
    harbour = Harbour(limit=100_000)

    harbour.run([*light, *noisy])

    # 1,230 seconds of work at four slots: none stood empty.
    assert harbour.now == pytest.approx((len(light) + len(noisy)) / 4, abs=1.0)
