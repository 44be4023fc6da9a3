"""Names that are taken out of a directory stay out of it, and everything else stands where it stood."""

import os
import stat
from pathlib import Path

import pytest

from moorage.config.instance import curtain
from moorage.fleet import socket_mount
from tests.instance.private_mounts import alone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def place(short_tmp: Path) -> Path:
    """A directory like /run."""
    place = short_tmp / "run"
    (place / "service" / "deep").mkdir(parents=True)
    place.chmod(0o1751)
    (place / "lock").write_text("locked")
    (place / "link").symlink_to("service/deep")
    (place / "mounted").mkdir()
    for hidden in (place / "engine.sock", place / "service" / "other.sock"):
        hidden.write_text("engine")
    return place


def test_all_else_is_there_also_what_is_mounted_and_what_comes_later_further_down(place: Path) -> None:
    def act() -> list[object]:
        assert socket_mount.mount(place / "mounted", uid=0, gid=0, mode=0o700)
        (place / "mounted" / "told").write_text("hello")
        outside = os.open(place, os.O_PATH)
        curtain.draw([place / "engine.sock", place / "service" / "other.sock"])
        Path(f"/proc/self/fd/{outside}/service/deep/later").write_text("later")
        return [
            sorted(path.name for path in place.iterdir()),
            (place / "lock").read_text(),
            (place / "link" / "later").read_text(),
            (place / "mounted" / "told").read_text(),
            stat.S_IMODE(place.stat().st_mode),
        ]

    names, lock, later, told, mode = alone(act)

    assert names == ["engine.sock", "link", "lock", "mounted", "service"]
    assert (lock, later, told) == ("locked", "later", "hello")
    assert mode == 0o1751


def test_what_comes_under_a_hidden_name_later_is_not_found(place: Path) -> None:
    def act() -> list[str]:
        hidden = [place / "engine.sock", place / "service" / "other.sock", place / "not-yet.sock"]
        outside = os.open(place, os.O_PATH)
        curtain.draw(hidden)
        for path in hidden:
            real = Path(f"/proc/self/fd/{outside}") / path.relative_to(place)
            real.unlink(missing_ok=True)
            real.write_text("engine")
        return [path.read_text() for path in hidden]

    assert alone(act) == ["", "", ""]
    assert (place / "engine.sock").read_text() == "engine"


def test_where_a_name_cannot_be_hidden_nothing_goes_on(place: Path) -> None:
    with pytest.raises(FileNotFoundError):
        curtain.draw([place / "nowhere" / "engine.sock"])
    with pytest.raises(OSError, match="Invalid argument"):
        curtain.draw([place / "engine.sock", Path("/engine.sock")])

    assert (place / "engine.sock").read_text() == "engine"
