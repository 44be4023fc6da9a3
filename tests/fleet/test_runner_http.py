"""The control plane, too, asks the socket of a runner and no other that the runner may have put in its place."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.deployments import settling
from moorage.fleet import runner_http, sockets


@pytest.fixture
def listening(short_tmp: Path) -> Iterator[Path]:
    """A socket on which somebody listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_tmp / "another.sock"))
        server.listen(4)
        yield short_tmp / "another.sock"


def test_a_link_in_a_sockets_place_is_not_followed(listening: Path) -> None:
    link = listening.with_name("engine.sock")
    link.symlink_to(listening)

    with pytest.raises(runner_http.NobodyListens, match="non-socket"):
        runner_http.ask(link, "GET", "/health", seconds=5)

    assert not settling.listens(str(link))


def test_the_socket_itself_is_listened_on(listening: Path) -> None:
    assert settling.listens(str(listening))


def test_what_was_opened_leads_there_also_when_its_name_is_taken_by_another(listening: Path) -> None:
    with sockets.opened(listening) as path:
        listening.rename(listening.with_name("moved.sock"))
        listening.symlink_to("nowhere")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            peer = connection.getpeername()

    assert peer == str(listening)
