"""The gateway's own writer and the shipper, side by side on one directory: what one writes the other ships."""

import asyncio
from pathlib import Path

from django.db import connection

from moorage.gateway.journal_writer import JournalWriter
from moorage.gateway.metrics import JournalMetrics
from moorage.metering.models import UsageEvent
from moorage.metering.shipper import Shipper
from moorage.wire import journal
from moorage.wire.records import UsageEvent as Event
from tests.metering.journals import opened, progress
from tests.wire.events import event


def _writer(directory: Path, live: list[Event]) -> JournalWriter:
    return JournalWriter(
        directory=directory,
        boot_id="boot1",
        segment_bytes=64 * 1024,
        loop=asyncio.get_running_loop(),
        metrics=JournalMetrics(),
        progress=lambda: [progress(one, 3) for one in live],
    )


async def _serve(writer: JournalWriter, requests: list[Event], live: list[Event], shipper: Shipper) -> None:
    for one in live:
        writer.open(opened(one).event, lambda _: None)
    for number, one in enumerate(requests):
        written, durable = asyncio.Event(), asyncio.Event()
        writer.open(opened(one).event, lambda _, written=written: written.set())
        await written.wait()
        writer.close(one, lambda _, durable=durable: durable.set())
        await durable.wait()
        if number % 50 == 0:
            streams = tuple(progress(one, 3) for one in live)
            writer.checkpoint(journal.encode(journal.Checkpoint(streams=streams)))
            await asyncio.sleep(0)
            await asyncio.to_thread(_ship, shipper)


def _ship(shipper: Shipper) -> None:
    try:
        shipper.ship()
    finally:
        connection.close()


def test_what_the_gateway_writes_is_shipped_once_over_rotations_and_its_death(
    committed_db: None, tmp_path: Path
) -> None:
    requests, live = [event() for _ in range(400)], [event(), event()]
    shipper = Shipper(directory=tmp_path)

    async def serve() -> None:
        writer = _writer(tmp_path, live)
        writer.start()
        await _serve(writer, requests, live, shipper)
        assert len(list(tmp_path.glob("*.journal"))) < 4
        writer.stop()

    asyncio.run(asyncio.wait_for(serve(), timeout=60))
    shipper.ship()

    outcomes = dict(UsageEvent.objects.values_list("request_id", "outcome"))
    assert outcomes == {
        **{one.request_id: "completed" for one in requests},
        **{one.request_id: "gateway_lost" for one in live},
    }
    assert list(tmp_path.iterdir()) == []
