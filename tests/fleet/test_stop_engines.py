"""`manage.py stop_engines` leaves no runner of this instance."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from moorage.fleet import runtimes
from tests.fleet import harnesses
from tests.fleet.runners import STUBBORN, Harness


@pytest.fixture
def harness(short_tmp: Path, settings: object) -> Iterator[Harness]:
    made = harnesses.process(short_tmp)
    settings.MOORAGE_RUNTIME = "process"
    settings.MOORAGE_HOME = short_tmp
    settings.MOORAGE_INSTANCE = made.instance
    settings.MOORAGE_LLAMA_SERVER = "/bin/sh"
    (short_tmp / "run").mkdir()
    (short_tmp / "processes").mkdir()
    (short_tmp / "run" / "processes").symlink_to(short_tmp / "processes")
    yield made
    harnesses.clear(made)


def test_every_runner_is_stopped_also_one_that_does_not_want_to(harness: Harness) -> None:
    for script in ("sleep 600", STUBBORN):
        harness.runtime.ensure(harness.spec(script=script))
    said = io.StringIO()

    call_command("stop_engines", "--grace", "0.2", stdout=said)

    assert said.getvalue().strip() == "stopped 2 runners"
    assert harness.runtime.list() == ()


def test_it_fails_loudly_when_it_cannot_know(harness: Harness, settings: object, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a directory should be")
    settings.MOORAGE_HOME = tmp_path

    with pytest.raises(CommandError, match="cannot be read"):
        call_command("stop_engines")


@pytest.mark.parametrize("name", ["docker", "process", "memory"])
def test_the_runtime_is_the_one_configured_and_one_in_a_process(settings: object, name: str) -> None:
    settings.MOORAGE_RUNTIME = name

    assert runtimes.configured().name == name
    assert runtimes.configured() is runtimes.configured()


def test_an_unknown_runtime_is_refused(settings: object) -> None:
    settings.MOORAGE_RUNTIME = "podman"

    with pytest.raises(ImproperlyConfigured, match="docker, process or memory"):
        runtimes.configured()
