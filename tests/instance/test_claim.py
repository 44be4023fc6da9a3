"""One home, one supervisor: who comes second is told so, who comes after a killed one clears up."""

import os
from pathlib import Path

import pytest

from moorage.config.instance import doors, up
from moorage.config.instance.home import Home
from moorage.config.instance.identity import Identity


@pytest.fixture
def place(short_tmp: Path) -> Home:
    return Home(path=short_tmp / "home")


def status(place: Home) -> int:
    return doors.main(["status"], root=Path("/"), environ={"MOORAGE_HOME": str(place.path)})


def test_a_home_has_one_supervisor_at_a_time(place: Home) -> None:
    with up.claimed(place) as first, up.claimed(place) as second:
        answers = (first, second)
        holder = Identity.read(place.supervisor)

    with up.claimed(place) as third:
        assert third
    assert answers == (True, False)
    assert holder == Identity.of(os.getpid())


def test_the_notes_of_a_killed_supervisor_are_not_believed(place: Home) -> None:
    place.prepare()
    Identity(pid=os.getpid(), started=1).write(place.supervisor)
    place.ready.write_text("")

    assert status(place) == 3
    with up.claimed(place) as is_ours:
        assert is_ours
        assert not place.ready.exists()


def test_status_tells_a_home_without_an_instance_and_one_that_is_starting(
    place: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    before = status(place)
    with up.claimed(place):
        meanwhile = status(place)

    assert (before, meanwhile) == (3, 1)
    assert "not running" in capsys.readouterr().out


def test_down_on_a_home_where_nothing_runs_says_so(place: Home, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = doors.main(["down"], root=Path("/"), environ={"MOORAGE_HOME": str(place.path)})

    assert stopped == 0
    assert "not running" in capsys.readouterr().out


def test_logs_of_a_process_that_does_not_exist_name_those_that_do(
    place: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare()
    (place.logs / "web.log").write_text("hello\n")

    refused = doors.main(["logs", "ship"], root=Path("/"), environ={"MOORAGE_HOME": str(place.path)})

    assert refused == 1
    assert "there are: web" in capsys.readouterr().err
