"""A sync beside the loop says when the data is on disk, says what went wrong, leaves it to the thread if it must."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from moorage.gateway.disk_sync import DiskSync
from moorage.gateway.journal_writer import JournalWriter
from moorage.gateway.metrics import JournalMetrics
from tests.gateway.gateway_process import journal_records
from tests.gateway.test_journal_writer import until
from tests.wire.events import event


@contextlib.contextmanager
def syncing() -> Iterator[DiskSync]:
    try:
        disk = DiskSync(asyncio.get_running_loop())
    except OSError as error:
        pytest.skip(f"this kernel has no asynchronous sync: {error}")
    try:
        yield disk
    finally:
        disk.close()


async def synced(disk: DiskSync, descriptor: int) -> tuple[OSError | None, float]:
    ended: asyncio.Future[tuple[OSError | None, float]] = asyncio.get_running_loop().create_future()
    disk.begin(descriptor, lambda failure, seconds: ended.set_result((failure, seconds)))
    return await asyncio.wait_for(ended, 10)


def writer(directory: Path, disk: DiskSync, threads_syncs: list[int]) -> JournalWriter:
    def sync(descriptor: int) -> None:
        threads_syncs.append(descriptor)
        os.fdatasync(descriptor)

    return JournalWriter(
        directory=directory,
        boot_id="gw_1",
        segment_bytes=100_000,
        loop=asyncio.get_running_loop(),
        metrics=JournalMetrics(),
        sync=sync,
        disk=disk,
    )


def test_each_sync_is_told_of_once(tmp_path: Path) -> None:
    async def check() -> None:
        with syncing() as disk, (tmp_path / "journal").open("wb", buffering=0) as file:
            for number in range(20):
                file.write(b"%d" % number)
                failure, seconds = await synced(disk, file.fileno())
                assert failure is None
                assert seconds > 0

    uvloop.run(check())


def test_what_cannot_be_synced_is_an_error_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        reading, writing = os.pipe()
        with syncing() as disk, pytest.raises(OSError) as refused:
            try:
                disk.begin(writing, lambda _failure, _seconds: None)
            finally:
                os.close(reading)
                os.close(writing)
        assert refused.value.errno == errno.EINVAL

    uvloop.run(check())


def test_a_sync_under_way_is_waited_for_when_it_is_let_go(tmp_path: Path) -> None:
    async def check() -> None:
        heard: list[object] = []
        with (tmp_path / "journal").open("wb", buffering=0) as file:
            with syncing() as disk:
                file.write(b"x" * 1_000_000)
                disk.begin(file.fileno(), lambda failure, _seconds: heard.append(failure))
            await asyncio.sleep(0)
        assert heard == []

    uvloop.run(check())


def test_a_close_comes_after_its_sync_and_the_thread_does_only_the_first(tmp_path: Path) -> None:
    async def check() -> None:
        threads: list[int] = []
        durable: list[bool] = []
        with syncing() as disk:
            journal = writer(tmp_path, disk, threads)
            journal.start()
            journal.open(event(request_id="req_0"), lambda _: None)  # somebody is served all the time
            for number in range(1, 40):
                journal.open(event(request_id=f"req_{number}"), lambda _: None)
                journal.close(event(request_id=f"req_{number}"), durable.append)
                assert len(durable) < number
                await until(lambda expected=number: len(durable) == expected)  # type: ignore[misc]
            assert durable == [True] * 39
            assert len(threads) == 1
            closed = {record.event.request_id for record in journal_records(tmp_path) if hasattr(record, "event")}
            assert {f"req_{number}" for number in range(1, 40)} <= closed
            journal.stop()

    uvloop.run(check())


def test_where_the_kernel_takes_no_order_the_thread_syncs(tmp_path: Path) -> None:
    class Refusing(DiskSync):
        def begin(self, descriptor: int, then: object) -> None:  # type: ignore[override]
            raise OSError(errno.EAGAIN, "no room")

    async def check() -> None:
        threads: list[int] = []
        durable: list[bool] = []
        disk = Refusing(asyncio.get_running_loop())
        journal = writer(tmp_path, disk, threads)
        journal.start()
        journal.open(event(request_id="req_0"), lambda _: None)
        for number in range(1, 4):
            journal.close(event(request_id=f"req_{number}"), durable.append)
            await until(lambda expected=number: len(durable) == expected)  # type: ignore[misc]
        assert len(threads) == 3
        journal.stop()

    uvloop.run(check())
