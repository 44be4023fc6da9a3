"""A prompt goes where its beginning is known, as long as that replica is not much busier than the others."""

import collections
import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.gateway import affinity
from moorage.gateway.affinity import CUTS, LOAD_FACTOR, Memory


@dataclasses.dataclass(eq=False)
class Berth:
    """A replica as affinity sees it."""

    number: int
    outstanding: int = 0


def berths(count: int, *, loads: tuple[int, ...] = ()) -> list[Berth]:
    filled = itertools.chain(loads, itertools.repeat(0))
    return [Berth(number=(n + 1) * 0x9E3779B1, outstanding=next(filled)) for n in range(count)]


def body(*messages: str, **members: object) -> bytes:
    return json.dumps({**members, "messages": messages}, separators=(",", ":")).encode()


def prompts(count: int, *, size: int = 3000) -> list[tuple[int, ...]]:
    return [affinity.keys("org_alice", body(f"{n} " + "x" * size)) for n in range(count)]


@pytest.mark.parametrize(
    ("size", "cuts"), [(255, 0), (256, 1), (511, 1), (512, 2), (1023, 2), (1024, 3), (32768, 8), (99999, 8)]
)
def test_a_prompt_has_a_key_for_each_cut_it_reaches(size: int, cuts: int) -> None:
    assert len(affinity.keys("org_alice", b"x" * size)) == cuts


def test_prompts_share_keys_as_far_as_they_begin_alike() -> None:
    one = affinity.keys("org_alice", body("s" * 600 + "a" * 3000))
    other = affinity.keys("org_alice", body("s" * 600 + "b" * 9000))

    assert one[:2] == other[:2]
    assert not set(one[2:]) & set(other[2:])


def test_the_next_turn_of_a_conversation_has_the_keys_of_the_last() -> None:
    first = affinity.keys("org_alice", body("system " * 300))
    second = affinity.keys("org_alice", body("system " * 300, "answer " * 100, "and now?"))

    assert second[: len(first)] == first


def test_members_before_the_prompt_change_nothing() -> None:
    text = "x" * 2000

    assert affinity.keys("org_alice", body(text)) == affinity.keys("org_alice", body(text, temperature=0.5))


def test_two_organizations_share_no_key() -> None:
    text = body("x" * 2000)

    assert not set(affinity.keys("org_alice", text)) & set(affinity.keys("org_bob", text))


def test_the_same_beginning_goes_to_the_same_replica_also_by_another_worker() -> None:
    here, there = Memory(), Memory()
    replicas = berths(5)

    chosen = [here.pick(keys, replicas, 100).number for keys in prompts(50)]

    assert [here.pick(keys, replicas, 100).number for keys in prompts(50)] == chosen
    assert [there.pick(keys, replicas, 100).number for keys in prompts(50)] == chosen


def test_prompts_are_spread_evenly() -> None:
    counts = collections.Counter(Memory().pick(keys, berths(4), 100).number for keys in prompts(2000))

    assert len(counts) == 4
    assert max(counts.values()) < 1.15 * 2000 / 4


def test_a_replica_that_goes_takes_only_its_own_share_with_it() -> None:
    replicas = berths(5)
    keys = prompts(500)
    before = [Memory().pick(each, replicas, 100) for each in keys]

    after = [Memory().pick(each, replicas[:-1], 100) for each in keys]

    moved = [old for old, new in zip(before, after, strict=True) if new is not old]
    assert moved
    assert set(moved) == {replicas[-1]}


def test_a_longer_known_beginning_counts_for_more() -> None:
    memory, replicas = Memory(), berths(2)
    common = affinity.keys("org_alice", body("s" * 600 + "a" * 3000))
    at_home = memory.pick(common, replicas, 1)
    elsewhere = next(each for each in replicas if each is not at_home)
    memory.pick(affinity.keys("org_alice", body("s" * 600 + "b" * 3000)), [elsewhere], 1)

    assert memory.pick(common, replicas, 1) is at_home


def test_a_busy_replica_is_passed_over_and_the_prompt_is_known_at_the_next() -> None:
    memory, replicas = Memory(), berths(3)
    keys = prompts(1)[0]
    first = memory.pick(keys, replicas, 100)
    first.outstanding = 10_000

    second = memory.pick(keys, replicas, 100)
    first.outstanding = 0
    third = memory.pick(keys, replicas, 100)

    assert second is not first
    assert third is second


def test_what_was_not_seen_for_long_is_forgotten() -> None:
    memory = Memory(most=len(CUTS))
    replicas = berths(2)
    keys = prompts(3)
    elsewhere = [[each] for each in replicas if each is not Memory().pick(keys[0], replicas, 1)]
    memory.pick(keys[0], elsewhere[0], 1)

    memory.pick(keys[1], replicas, 1)
    memory.pick(keys[2], replicas, 1)

    assert memory.pick(keys[0], replicas, 1) is not elsewhere[0][0]


@given(
    loads=st.lists(st.integers(0, 100_000), min_size=2, max_size=12),
    tokens=st.integers(1, 10_000),
    seed=st.integers(0, 1 << 32),
)
def test_load_stays_bounded_whatever_is_asked(loads: list[int], tokens: int, seed: int) -> None:
    replicas = berths(len(loads), loads=tuple(loads))

    chosen = Memory().pick((seed, seed ^ 0xFFFF), replicas, tokens)

    assert chosen.outstanding <= LOAD_FACTOR * sum(loads) / len(loads) + tokens


@given(st.lists(st.integers(0, 3), min_size=100, max_size=300))
def test_one_prompt_asked_by_everybody_is_still_shared_out(asked: list[int]) -> None:
    memory, replicas, keys = Memory(), berths(4), prompts(4)

    for prompt in asked:
        memory.pick(keys[prompt], replicas, 10).outstanding += 10

    assert max(each.outstanding for each in replicas) <= LOAD_FACTOR * 10 * len(asked) / 4 + 20


def hit_rate(*, replicas: int, room: int, prefixes: int, is_affine: bool) -> float:
    """How many requests find their prefix in a cache of ``room`` prefixes a replica; each prefix in turn, ten times."""
    memory, places = Memory(), berths(replicas)
    caches: dict[int, collections.OrderedDict[int, None]] = {each.number: collections.OrderedDict() for each in places}
    turn = itertools.cycle(places)
    hits = asked = 0
    for round_number in range(11):
        # Nobody calls in the same order each time.
        for prefix in sorted(range(prefixes), key=lambda each: affinity.score(each, round_number)):
            keys = affinity.keys("org_alice", body(f"{prefix} " + "s" * 6000, f"question {round_number}"))
            place = memory.pick(keys, places, 1) if is_affine else next(turn)
            cache = caches[place.number]
            hits += prefix in cache and round_number > 0
            asked += round_number > 0
            cache[prefix] = None
            cache.move_to_end(prefix)
            if len(cache) > room:
                cache.popitem(last=False)
    return hits / asked


def test_a_working_set_of_four_replicas_hits_where_round_robin_misses() -> None:
    by_turns = hit_rate(replicas=4, room=64, prefixes=256, is_affine=False)
    by_prefix = hit_rate(replicas=4, room=64, prefixes=256, is_affine=True)

    print(f"hit rate, working set 4x a replica: round robin {by_turns:.1%}, prefix affinity {by_prefix:.1%}")
    assert by_turns < 0.25
    assert by_prefix > 0.8
