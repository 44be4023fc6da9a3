"""What the watch calls broken: moments made up, so that a watch that sees nothing is noticed."""

import pytest

from tests.faults.fleet.watch import Rows, Seen, violations, violations_while_away

NODE = {"node": (1000, 512, 1000, 512, 1000)}


def rows(*held: str, nodes: dict[str, tuple[int, int, int, int, int]] | None = None, **statuses: str) -> Rows:
    """A look at the database: who holds room, and replicas with a container each."""
    replicas = {name: (status, f"container of {name}") for name, status in statuses.items()}
    return Rows(nodes=nodes or NODE, held=frozenset(held), replicas=replicas)


def seen(before: Rows, *containers: tuple[str, str], after: Rows | None = None) -> Seen:
    """One look."""
    return Seen(at=0.0, before=before, containers=containers, after=after or before)


def test_a_replica_with_its_room_and_one_container_is_as_it_should_be() -> None:
    assert violations(seen(rows("a", a="ready"), ("a", "running"))) == []


def test_room_that_is_given_before_or_after_the_container_was_seen_is_no_violation() -> None:
    assert violations(seen(rows(), ("a", "created"), after=rows("a", a="placed"))) == []
    assert violations(seen(rows("a", a="stopping"), ("a", "exited"), after=rows())) == []


@pytest.mark.parametrize("device", [(80, 81, 81, 1), (80, 40, 20, 1), (80, 40, 40, 2)])
def test_a_device_that_is_oversold_miscounted_or_of_two_organizations_is_named(
    device: tuple[int, int, int, int],
) -> None:
    look = Rows(nodes={}, devices={"dev": device}, held=frozenset(), replicas={})

    assert len(violations(seen(look))) == 1


def test_an_engine_that_did_not_answer_says_nothing() -> None:
    look = rows(a="ready")

    assert violations(Seen(at=0.0, before=look, containers=None, after=look)) == []


@pytest.mark.parametrize(
    ("moment", "word"),
    [
        (seen(rows(nodes={"node": (1000, 1001, 0, 1001, 0)})), "oversold"),
        (seen(rows(nodes={"node": (1000, 512, 0, 256, 0)})), "counts"),
        (seen(rows("a", a="ready"), ("a", "running"), ("a", "running")), "2 live containers"),
        (seen(rows(a="stopping"), ("a", "running")), "was released"),
        (seen(rows(a="failed"), ("a", "exited")), "was released"),
        (seen(rows(a="stopped"), ("a", "running")), "was released"),
    ],
)
def test_what_must_not_be_is_named(moment: Seen, word: str) -> None:
    assert [word in found for found in violations(moment)] == [True]


def test_a_stopped_replica_keeps_its_container_without_room() -> None:
    assert violations(seen(rows(a="stopped"), ("a", "exited"))) == []


def test_nobody_is_given_up_while_the_engine_is_away() -> None:
    before = rows("a", "b", a="ready", b="stopping")

    assert violations_while_away(before, before) == []
    assert len(violations_while_away(before, rows("b", a="failed", b="stopping"))) == 2
    assert len(violations_while_away(before, rows("a", a="ready"))) == 2


def test_a_stopped_replica_that_is_removed_has_no_room_to_keep() -> None:
    moment = seen(rows(a="stopping"), ("a", "removing"))

    assert violations(moment, {"a"}) == []
    assert len(violations(moment)) == 1
    assert len(violations(seen(rows(a="stopping"), ("a", "running")), {"a"})) == 1
