"""A disk that is full: nothing unmetered is served, nothing metered is lost."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from moorage.metering.models import UsageEvent
from moorage.metering.shipper import Shipper
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, replica, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until

SIZE = 1 << 20


@pytest.fixture
def small_disk(short_tmp: Path) -> Iterator[Path]:
    """A file system of one MiB. Where none can be mounted, test_durability.py has a bound on a file's size."""
    path = short_tmp / "disk"
    path.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={SIZE}".encode()):
        pytest.skip(f"a file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield path
    libc.umount2(os.fsencode(path), 2)


def test_a_full_disk_refuses_what_is_new_and_records_what_was_begun(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str, small_disk: Path
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_JOURNAL_DIR=str(small_disk), MOORAGE_JOURNAL_SEGMENT_BYTES="1000")
    wait_until_knows(gateway, alices_key, MODEL)
    with client_of(gateway, alices_key) as client:
        client.chat.completions.create(model=MODEL, messages=ask("hello"))
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(room(small_disk)))
        served = 1
        with pytest.raises(openai.InternalServerError) as refused:
            for _ in range(2000):
                client.chat.completions.create(model=MODEL, messages=ask("hello"))
                served += 1
        asked = len(engine.seen)
        ballast.unlink()

        def is_served() -> bool:
            try:
                client.chat.completions.create(model=MODEL, messages=ask("hello"))
            except openai.InternalServerError:
                return False
            return True

        wait_until(is_served, seconds=10)
    gateway.kill()
    Shipper(directory=small_disk).ship()

    assert (refused.value.status_code, refused.value.code) == (503, "journal_unavailable")
    assert asked == served
    assert UsageEvent.objects.filter(outcome="completed").count() == UsageEvent.objects.count() == served + 1


def room(path: Path) -> int:
    """The free bytes of the file system."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
