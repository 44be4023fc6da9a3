"""The journal writer alone: what it promises when the disk does not."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from moorage.gateway.journal_writer import JournalWriter
from moorage.gateway.metrics import JournalMetrics
from moorage.wire import journal
from tests.gateway.gateway_process import journal_records
from tests.wire.events import event


class Disk:
    """fdatasync that can be told to fail or to take its time."""

    def __init__(self) -> None:
        self.is_broken = False
        self.calls = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def sync(self, descriptor: int) -> None:
        self.may_go_on.wait(10)
        self.calls += 1
        if self.is_broken:
            raise OSError(errno.EIO, "the disk is gone")
        os.fdatasync(descriptor)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def writer(directory: Path, disk: Disk) -> JournalWriter:
    made = JournalWriter(
        directory=directory,
        boot_id="gw_1",
        segment_bytes=100_000,
        loop=asyncio.get_running_loop(),
        metrics=JournalMetrics(),
        sync=disk.sync,
    )
    made.start()
    return made


def closed(directory: Path) -> list[str]:
    return [each.event.request_id for each in journal_records(directory) if isinstance(each, journal.Close)]


async def ask(tested: JournalWriter, request_id: str, done: list[str]) -> None:
    """One request: opened, then closed; ``done`` gets its id when the close is durable."""
    opened = asyncio.Event()
    tested.open(event(request_id=request_id), lambda _: opened.set())
    await opened.wait()
    tested.close(event(request_id=request_id), lambda _: done.append(request_id))


def test_closes_that_come_while_a_sync_runs_share_the_next_one(tmp_path: Path) -> None:
    disk, done = Disk(), list[str]()

    async def story() -> None:
        tested = writer(tmp_path, disk)
        disk.may_go_on.clear()
        for number in range(50):
            await ask(tested, f"req_{number}", done)
        assert done == []
        disk.may_go_on.set()
        await until(lambda: len(done) == 50)
        tested.stop()

    asyncio.run(story())

    assert disk.calls <= 4
    assert closed(tmp_path) == [f"req_{number}" for number in range(50)]


def test_a_failing_sync_admits_nothing_new_and_confirms_nothing_until_it_is_written_again(tmp_path: Path) -> None:
    disk, done = Disk(), list[str]()

    async def story() -> None:
        tested = writer(tmp_path, disk)
        assert tested.admit()
        disk.is_broken = True
        await ask(tested, "req_1", done)
        await until(lambda: not tested.is_healthy)
        assert not tested.admit()
        assert done == []

        disk.is_broken = False

        def is_healed() -> bool:
            tested.tick()
            return tested.is_healthy

        await until(is_healed)
        await until(lambda: done == ["req_1"])
        assert tested.admit()
        await ask(tested, "req_2", done)
        await until(lambda: done == ["req_1", "req_2"])
        tested.stop()

    asyncio.run(story())

    # Twice in the files, with one request id: one usage event.
    assert closed(tmp_path) == ["req_1", "req_1", "req_2"]
    assert len(list(tmp_path.glob("*.journal"))) == 2


def test_a_torn_tail_ends_a_segment_and_harms_nothing_before_it(tmp_path: Path) -> None:
    done: list[str] = []

    async def story() -> None:
        tested = writer(tmp_path, Disk())
        for number in range(3):
            await ask(tested, f"req_{number}", done)
        await until(lambda: len(done) == 3)
        tested.stop()

    asyncio.run(story())
    (path,) = tmp_path.glob("*.journal")
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = closed(tmp_path)
        assert kept == [f"req_{number}" for number in range(len(kept))]


def test_space_is_taken_in_advance_and_given_back_at_the_end(tmp_path: Path) -> None:
    sizes: list[int] = []

    async def story() -> None:
        tested = writer(tmp_path, Disk())
        sizes.append(next(tmp_path.glob("*.journal")).stat().st_size)
        tested.stop()

    asyncio.run(story())
    sizes.append(next(tmp_path.glob("*.journal")).stat().st_size)

    assert sizes == [100_000, len(journal.MAGIC)]


async def _sync_threads(directory: Path, *, others: int) -> set[str]:
    """The names of the threads that synced when one request of ``others + 1`` was closed on a quick disk."""
    disk, names = Disk(), set[str]()

    def sync(descriptor: int) -> None:
        names.add(threading.current_thread().name)
        disk.sync(descriptor)

    made = JournalWriter(
        directory=directory,
        boot_id="gw_1",
        segment_bytes=100_000,
        loop=asyncio.get_running_loop(),
        metrics=JournalMetrics(),
        sync=sync,
    )
    made.start()
    done: list[bool] = []
    for number in range(40):
        made.open(event(request_id=f"req_{number}"), lambda _: None)
        made.close(event(request_id=f"req_{number}"), done.append)
        await until(lambda number=number: len(done) == number + 1)  # type: ignore[misc]
    for number in range(others):
        made.open(event(request_id=f"other_{number}"), lambda _: None)
    names.clear()
    made.open(event(request_id="req_last"), lambda _: None)
    made.close(event(request_id="req_last"), done.append)
    await until(lambda: len(done) == 41)
    made.stop()
    return names - {"MainThread"} if others else names


def test_a_quick_disk_is_waited_for_when_nobody_else_is_served(tmp_path: Path) -> None:
    alone = asyncio.run(_sync_threads(tmp_path / "alone", others=0))
    in_company = asyncio.run(_sync_threads(tmp_path / "company", others=1))

    assert "MainThread" in alone
    assert in_company == {"journal-sync"}
