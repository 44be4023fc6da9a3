"""The way from the journal to the table, cut where it hurts most."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from moorage.wire import journal
from tests.faults import harbour as harbours
from tests.faults.clients import Load
from tests.faults.dropping_proxy import DroppingProxy
from tests.faults.judge import events, judge, judge_ledger
from tests.metering.journals import Boot, opened
from tests.waiting import wait_until
from tests.wire.events import event


@pytest.fixture
def proxy(short_tmp: Path, database_url: str) -> Iterator[DroppingProxy]:
    proxy = DroppingProxy(short_tmp, database_url)
    yield proxy
    proxy.close()


@pytest.fixture
def boot(short_tmp: Path) -> Boot:
    return Boot(directory=short_tmp / "journal").start()


def start_shipper(boot: Boot, database_url: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "MOORAGE_JOURNAL_DIR": str(boot.directory),
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": str(settings.REPOSITORY / "platform"),
    }
    return subprocess.Popen([sys.executable, "-m", "django", "shipper"], env=environment, cwd=boot.directory)


def ids_in(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as plain:
        return [row[0] for row in plain.execute("SELECT request_id FROM usage_event").fetchall()]


def test_a_commit_whose_reply_is_lost_is_repeated_without_a_second_event(
    boot: Boot, proxy: DroppingProxy, database_url: str
) -> None:
    closed = [event() for _ in range(300)]
    proxy.is_dropping.set()
    shipper = start_shipper(boot, proxy.url)
    try:
        for number in range(3):
            batch = closed[number * 100 : number * 100 + 100]
            proxy.has_dropped.clear()
            boot.rotate(*(record for one in batch for record in (opened(one), journal.Close(event=one))), size=1 << 17)
            wait_until(proxy.has_dropped.is_set, seconds=30, what="a commit whose reply is lost")
        proxy.is_dropping.clear()
        boot.die()

        wait_until(lambda: list(boot.directory.iterdir()) == [], seconds=30, what="everything to be shipped")
    finally:
        shipper.send_signal(signal.SIGTERM)
        shipper.wait(20)

    shipped = ids_in(database_url)
    assert len(shipped) == 300
    assert set(shipped) == {one.request_id for one in closed}


def test_a_shipper_killed_between_the_commit_and_the_delete_repeats_nothing(
    boot: Boot, proxy: DroppingProxy, database_url: str
) -> None:
    closed = [event() for _ in range(100)]
    path = boot.rotate(*(record for one in closed for record in (opened(one), journal.Close(event=one))), size=1 << 17)
    boot.die()
    proxy.must_hang_up = False
    proxy.is_dropping.set()
    shipper = start_shipper(boot, proxy.url)
    wait_until(proxy.has_dropped.is_set, seconds=30, what="a commit that nobody hears of")

    shipper.kill()
    shipper.wait(20)
    was_kept = path.exists()
    again = start_shipper(boot, database_url)
    try:
        wait_until(lambda: list(boot.directory.iterdir()) == [], seconds=30, what="the journal to be gone")
    finally:
        again.send_signal(signal.SIGTERM)
        again.wait(20)

    assert was_kept
    assert sorted(ids_in(database_url)) == sorted(one.request_id for one in closed)


def test_without_postgresql_the_journal_grows_and_nothing_else_happens(short_tmp: Path) -> None:
    with harbours.running(short_tmp, gateways=1, engines=1, MOORAGE_JOURNAL_SEGMENT_BYTES="70000") as (harbour, seeded):
        # An Idempotency-Key is a promise that needs the database; everything else is served without it.
        load = Load(ports=lambda: harbour.ports, key=seeded["key"], seed=7, count=8, repeats=False)
        load.start()
        wait_until(lambda: load.answered > 10, seconds=30)
        harbour.hold_down("postgres")
        before = len(load.calls)

        wait_until(lambda: len(list(harbour.journal_dir.glob("*.journal"))) >= 4, seconds=120, what="a longer journal")
        served = load.calls[before:]
        harbour.let_up("postgres")
        load.stop()
        harbour.finish_gateways()
        wait_until(harbour.journal_is_empty, seconds=60, what="all journals to be shipped")
        harbour.python("-m", "tests.faults.control", "rate")
        found = events(harbour)
        verdict = judge(load.calls, found, harbour.sent())

        assert verdict.complaints + judge_ledger(harbour) == []
    assert {call.status for call in served} == {200}
    assert {event.outcome for event in found.values()} <= {"completed", "client_gone"}
