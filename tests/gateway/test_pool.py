"""Which replica a request goes to: the one with the fewest tokens before it, never one that is full or broken."""

import dataclasses

import msgspec
import pytest

from moorage.gateway.breaker import FAILURES_IN_A_ROW
from moorage.gateway.pool import Pool, Replica
from moorage.gateway.routes import RouteTable
from moorage.wire.records import Route
from tests.gateway.rush_hour import route_of

SHORT = b'{"messages":[]}'
LONG = b'{"messages":["%b"]}' % (b"tide table " * 500)


@dataclasses.dataclass
class Quay:
    """A pool, and its route as the gateway knows it."""

    pool: Pool
    route: Route
    now: float = 1000.0

    def choose(self, content: bytes = SHORT, *, tokens: int = 100, tried: tuple[str, ...] = ()) -> Replica | None:
        return self.pool.choose(self.route, content, tokens, self.now, tried)

    def take(self, content: bytes = SHORT, *, tokens: int = 100) -> Replica:
        replica = self.choose(content, tokens=tokens)
        assert replica is not None
        replica.take(tokens)
        return replica

    def keep(self, *names: str) -> None:
        """The control plane says that only these are left."""
        self.route = msgspec.structs.replace(
            self.route, replicas=tuple(each for each in self.route.replicas if each.id in names)
        )
        self.pool.routes_changed(RouteTable([self.route]))


def quay(*, replicas: int = 2, slots: int = 0) -> Quay:
    return Quay(pool=Pool(), route=route_of(replicas=replicas, slots=slots))


def breaks(replica: Replica, *, now: float = 1000.0) -> None:
    for _ in range(FAILURES_IN_A_ROW):
        replica.breaker.failed(now)


def test_a_short_request_goes_past_two_long_ones_to_a_replica_with_fewer_tokens() -> None:
    here = quay()

    long = here.take(tokens=10_000)
    others = [here.take(tokens=10) for _ in range(5)]

    assert long not in others


def test_tokens_are_given_back_at_the_end() -> None:
    here = quay()
    first = here.take(tokens=10_000)
    here.take(tokens=5_000)

    first.leave(10_000)

    assert here.choose() is first
    assert (first.in_flight, first.outstanding) == (0, 0)


def test_a_replica_gets_no_more_than_its_slots() -> None:
    here = quay(replicas=1, slots=2)

    one = here.take()
    here.take()
    refused = here.choose()
    why = here.pool.refusal(here.route, here.now)
    one.leave(100)

    assert (refused, why) == (None, "full")
    assert here.choose() is one


def test_unknown_slots_are_no_limit() -> None:
    here = quay(replicas=1, slots=0)

    assert len({here.take().id for _ in range(1000)}) == 1


def test_the_same_beginning_goes_to_the_same_replica_while_load_allows() -> None:
    here = quay(replicas=4)

    first = here.take(LONG, tokens=1000)
    second = here.take(LONG, tokens=1000)
    rest = [here.take(LONG, tokens=1000) for _ in range(8)]

    assert second is first
    assert {replica.id for replica in rest} > {first.id}
    assert max(replica.outstanding for replica in here.pool) <= 1.25 * 10_000 / 4 + 2000


def test_a_full_replica_is_passed_over_even_if_it_knows_the_prompt() -> None:
    here = quay(replicas=2, slots=1)

    first = here.take(LONG)
    second = here.take(LONG)

    assert second is not first


def test_a_broken_replica_gets_nothing_while_another_is_there() -> None:
    here = quay()
    broken = here.take()
    broken.leave(100)
    breaks(broken)

    chosen = [here.take() for _ in range(10)]

    assert broken not in chosen


def test_a_broken_replica_gets_one_request_after_its_pause() -> None:
    here = quay()
    broken = here.take()
    broken.leave(100)
    breaks(broken)
    here.take()
    here.now += 1

    chosen = [here.take() for _ in range(5)]

    assert chosen.count(broken) == 1
    assert broken.breaker.state == "half_open"


def test_when_all_are_broken_it_is_said_when_the_next_trial_is() -> None:
    here = quay()
    for _ in range(2):
        breaks(here.take())

    refused = here.choose()
    here.now += 0.25

    assert refused is None
    assert here.pool.refusal(here.route, here.now) == "broken"
    assert here.pool.seconds_to_trial(here.route.id, here.now) == 0.75


def test_what_was_tried_is_not_tried_again() -> None:
    here = quay()
    first = here.take()

    second = here.choose(tried=(first.id,))
    assert second is not None
    third = here.choose(tried=(first.id, second.id))

    assert second is not first
    assert third is None
    assert here.pool.refusal(here.route, here.now, (first.id, second.id)) == "gone"


def test_a_request_that_was_refused_by_one_does_not_wait_again_for_a_full_one() -> None:
    here = quay(slots=1)
    first, second = here.take(), here.take()

    assert here.choose() is None
    assert here.choose(tried=(first.id,)) is second


def test_a_draining_replica_gets_nothing_new_also_from_a_request_that_came_before() -> None:
    here = quay()
    leaving, staying = here.take(), here.take()
    before = here.route

    here.keep(staying.id)
    chosen = {here.pool.choose(before, SHORT, 1, here.now) for _ in range(5)}

    assert chosen == {staying}
    assert leaving.in_flight == 1


def test_a_replica_that_stays_keeps_its_load_and_its_breaker() -> None:
    here = quay()
    staying, leaving = here.take(tokens=777), here.take()
    breaks(staying)

    here.keep(staying.id)

    assert list(here.pool) == [staying]
    assert leaving is not staying
    assert (staying.outstanding, staying.breaker.state) == (777, "open")


def test_a_replica_of_the_same_name_at_another_socket_is_another() -> None:
    here = quay(replicas=1)
    old = here.take()

    address = msgspec.structs.replace(here.route.replicas[0], socket="/elsewhere")
    here.route = msgspec.structs.replace(here.route, replicas=(address,))
    here.pool.routes_changed(RouteTable([here.route]))

    assert here.take() is not old


def test_a_route_that_went_is_forgotten() -> None:
    here = quay()
    here.take()

    here.pool.routes_changed(RouteTable())

    assert list(here.pool) == []
    assert not here.pool.can_take(msgspec.structs.replace(here.route, replicas=()), here.now)


@pytest.mark.parametrize(
    ("content", "limit", "choices", "tokens"),
    [(400, None, 1, 100 + 256 + 1), (400, 16, 1, 100 + 16 + 1), (400, 16, 4, 100 + 64 + 1), (0, 0, 1, 1)],
)
def test_a_request_is_expected_to_take_its_prompt_and_a_typical_answer_within_its_limit(
    content: int, limit: int | None, choices: int, tokens: int
) -> None:
    here = quay()

    assert here.pool.estimate(here.route.id, content, limit, choices) == tokens


def test_what_is_typical_is_learned_from_the_answers() -> None:
    here = quay()
    here.choose()

    for _ in range(200):
        here.pool.learn(here.route.id, 1000)

    assert 980 <= here.pool.estimate(here.route.id, 0, None) <= 1001
