"""Fault points: nothing while nobody listens, and nobody but a test ever does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import moorage
from moorage.kernel import fault


@pytest.fixture
def reached() -> Iterator[list[str]]:
    """The points that were come to, while armed."""
    names: list[str] = []
    fault.arm(names.append)
    yield names
    fault.arm(None)


def test_a_point_does_nothing_while_nobody_listens() -> None:
    fault.point("after_create")


def test_who_listens_hears_the_names_in_order(reached: list[str]) -> None:
    fault.point("before_create")
    fault.point("after_create")

    assert reached == ["before_create", "after_create"]


def test_no_program_of_moorage_listens() -> None:
    sources = [path for root in moorage.__path__ for path in Path(root).rglob("*.py")]

    assert [path for path in sources if re.search(r"\bfault\.arm\(", path.read_text())] == []


def test_the_points_that_the_faults_tests_lay_charges_at_are_there() -> None:
    from tests.faults.fleet.test_kills import POINTS

    sources = "".join(path.read_text() for root in moorage.__path__ for path in Path(root).rglob("*.py"))

    assert [name for name in POINTS if f'fault.point("{name}")' not in sources] == []
