"""The shipper: every request once, whatever is torn, dead, repeated or damaged."""

import datetime as dt
import threading
from pathlib import Path

import msgspec
import psycopg
import pytest
from django.db import connection

from moorage.kernel import clock
from moorage.metering import queries, usage_table
from moorage.metering.models import JournalSegment, UsageEvent
from moorage.metering.shipper import Shipper
from moorage.wire import journal
from tests.metering.journals import Boot, checkpoint, opened, progress
from tests.waiting import wait_until
from tests.wire.events import event


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return Boot(directory=tmp_path / "journal").start()


@pytest.fixture
def shipper(boot: Boot) -> Shipper:
    return Shipper(directory=boot.directory)


def test_a_closed_request_becomes_one_usage_event_with_all_it_says(db: None, boot: Boot, shipper: Shipper) -> None:
    closed = event(held_us=1_250_001)
    boot.rotate(opened(closed), journal.Close(event=closed))

    shipped = shipper.ship()

    assert shipped == 1
    found = UsageEvent.objects.get(pk=closed.request_id)
    assert (found.input_tokens, found.cached_tokens, found.output_tokens, found.source) == (100, 40, 7, "engine")
    assert str(found.held_seconds) == "1.250001"
    assert found.ended_at - found.started_at == dt.timedelta(seconds=2)
    assert found.first_token_at is not None


def test_what_is_written_later_is_shipped_later_and_nothing_twice(db: None, boot: Boot, shipper: Shipper) -> None:
    first, second = event(), event()
    boot.rotate(opened(first), journal.Close(event=first))
    assert shipper.ship() == 1

    boot.append(opened(second), journal.Close(event=second))

    assert shipper.ship() == 1
    assert shipper.ship() == 0
    assert UsageEvent.objects.count() == 2


def test_the_same_close_in_two_segments_is_one_event(db: None, boot: Boot, shipper: Shipper) -> None:
    closed = event()
    boot.rotate(opened(closed), journal.Close(event=closed))
    boot.rotate(journal.Close(event=closed))

    shipped = shipper.ship()

    assert shipped == 1


def test_a_batch_with_one_known_event_ships_the_others(db: None, boot: Boot, shipper: Shipper) -> None:
    known, fresh = event(), [event() for _ in range(5)]
    usage_table.put([known])
    boot.rotate(*(journal.Close(event=one) for one in (*fresh[:3], known, *fresh[3:], fresh[0])))

    shipped = shipper.ship()

    assert shipped == 5
    assert UsageEvent.objects.count() == 6


def test_a_segment_of_the_last_version_is_shipped_beside_one_of_this(db: None, boot: Boot, shipper: Shipper) -> None:
    old, lost, new = event(), event(), event()
    boot.rotate(magic=b"MOORAGEJ\x01\0\0\0")
    for kind, one in ((journal.OPEN, old), (journal.OPEN, lost), (journal.CLOSE, old)):
        members = {name: getattr(one, name) for name in one.__struct_fields__ if name != "is_disputed"}
        boot.append_payload(kind, msgspec.msgpack.encode({"event": members}))
    boot.rotate(journal.Close(event=new))
    boot.die()

    shipper.ship()

    shipped = dict(UsageEvent.objects.values_list("request_id", "outcome"))
    assert shipped == {old.request_id: "completed", lost.request_id: "gateway_lost", new.request_id: "completed"}
    assert list(boot.directory.iterdir()) == []


def test_a_boot_that_writes_a_newer_version_is_left_alone_and_the_month_is_not_called_complete(
    db: None, boot: Boot, shipper: Shipper, caplog: pytest.LogCaptureFixture
) -> None:
    newer = boot.rotate(journal.Close(event=event()), magic=b"MOORAGEJ\x09\0\0\0")
    boot.die()
    closed = event()
    other = Boot(directory=boot.directory, id="boot2").start()
    other.rotate(opened(closed), journal.Close(event=closed))

    shipped = shipper.ship()
    shipper.ship()

    assert shipped == 1
    assert newer.exists() and (boot.directory / "boot1.lock").exists()
    assert queries.shipped_until() is None
    errors = [record.message.split(":")[0] for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["journal_is_newer boot=boot1"]


def test_a_record_that_nobody_understands_costs_no_other_its_place(db: None, boot: Boot, shipper: Shipper) -> None:
    before, after = event(), event()
    path = boot.rotate(opened(before), journal.Close(event=before))
    boot.append_payload(journal.CLOSE, b"\xc1 this is no event")
    boot.append_payload(journal.CHECKPOINT, b"")
    boot.append(opened(after), journal.Close(event=after))
    boot.rotate()

    shipped = shipper.ship()

    assert shipped == 2
    assert path.with_name(path.name + ".damaged").exists()


def test_a_word_that_only_the_next_version_knows_is_shipped(db: None, boot: Boot, shipper: Shipper) -> None:
    closed = event(outcome="moved_elsewhere")
    boot.rotate(opened(closed), journal.Close(event=closed))

    shipper.ship()

    assert UsageEvent.objects.get(pk=closed.request_id).outcome == "moved_elsewhere"


def test_an_event_says_which_boot_metered_it_and_whether_it_is_disputed(db: None, boot: Boot, shipper: Shipper) -> None:
    plain, disputed = event(), event(is_disputed=True)
    boot.rotate(journal.Close(event=plain), journal.Close(event=disputed))

    shipper.ship()

    found = dict(UsageEvent.objects.values_list("request_id", "is_disputed"))
    assert found == {plain.request_id: False, disputed.request_id: True}
    assert set(UsageEvent.objects.values_list("boot_id", flat=True)) == {"boot1"}


def test_a_boot_is_called_shipped_when_it_is_dead_and_all_of_it_is_there(
    db: None, boot: Boot, shipper: Shipper
) -> None:
    boot.rotate(opened(event()))
    shipper.ship()
    assert not queries.is_boot_shipped("boot1")

    boot.die()
    shipper.ship()

    assert queries.is_boot_shipped("boot1")
    assert UsageEvent.objects.count() == 1


def test_a_boot_that_died_before_its_first_segment_leaves_nothing(db: None, boot: Boot, shipper: Shipper) -> None:
    boot.die()

    shipper.ship()

    assert list(boot.directory.iterdir()) == []
    assert queries.is_boot_shipped("boot1")


def test_a_segment_with_nothing_but_garbage_behind_its_head_is_set_aside(
    db: None, boot: Boot, shipper: Shipper
) -> None:
    path = boot.rotate()
    boot.append_bytes(b"\x20\0\0\0" + b"garbage" * 20)
    boot.die()

    shipper.ship()

    assert path.with_name(path.name + ".damaged").exists()


def test_a_restarted_shipper_repeats_nothing(db: None, boot: Boot, shipper: Shipper) -> None:
    closed, live = event(), event()
    boot.rotate(opened(closed), opened(live), journal.Close(event=closed))
    shipper.ship()

    another = Shipper(directory=boot.directory)
    again = another.ship()
    boot.append(journal.Close(event=live))

    assert again == 0
    assert another.ship() == 1
    assert UsageEvent.objects.count() == 2


def test_the_newest_segment_of_a_live_gateway_is_kept_and_older_ones_are_deleted(
    db: None, boot: Boot, shipper: Shipper
) -> None:
    closed = event()
    old = boot.rotate(opened(closed), journal.Close(event=closed))
    new = boot.rotate()

    shipper.ship()

    assert not old.exists()
    assert new.exists()
    assert not JournalSegment.objects.filter(pk=old.name).exists()


def test_a_segment_with_the_only_open_of_a_live_request_is_kept(db: None, boot: Boot, shipper: Shipper) -> None:
    live = event()
    old = boot.rotate(opened(live))
    boot.rotate()
    shipper.ship()
    assert old.exists()

    boot.append(opened(live))
    shipper.ship()

    assert not old.exists()


def test_an_open_request_of_a_dead_gateway_is_settled_at_its_last_checkpoint(
    db: None, boot: Boot, shipper: Shipper
) -> None:
    seen, unseen = event(), event()
    boot.rotate(opened(seen), opened(unseen), checkpoint(progress(seen, 3)), checkpoint(progress(seen, 5)))
    shipper.ship()
    assert not UsageEvent.objects.exists()

    boot.die()
    shipped = shipper.ship()

    assert shipped == 2
    settled = UsageEvent.objects.get(pk=seen.request_id)
    assert (settled.outcome, settled.source, settled.output_tokens) == ("gateway_lost", "engine_running", 5)
    assert (settled.input_tokens, settled.cached_tokens) == (100, 40)
    assert settled.ended_at - settled.started_at == dt.timedelta(milliseconds=500)
    nothing = UsageEvent.objects.get(pk=unseen.request_id)
    assert (nothing.outcome, nothing.source) == ("gateway_lost", "none")
    assert (nothing.input_tokens, nothing.output_tokens) == (0, 0)


def test_progress_counts_across_segments_and_across_a_restart_of_the_shipper(
    db: None, boot: Boot, shipper: Shipper
) -> None:
    live = event()
    boot.rotate(opened(live), checkpoint(progress(live, 2)))
    boot.rotate(opened(live), checkpoint(progress(live, 4, source="gateway")))
    shipper.ship()

    boot.die()
    Shipper(directory=boot.directory).ship()

    settled = UsageEvent.objects.get(pk=live.request_id)
    assert (settled.output_tokens, settled.source) == (4, "gateway")


def test_a_dead_boot_leaves_nothing_in_the_directory(db: None, boot: Boot, shipper: Shipper) -> None:
    closed = event()
    boot.rotate(opened(closed), journal.Close(event=closed))
    boot.rotate()
    boot.die()

    shipper.ship()

    assert list(boot.directory.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 8, 9, 40])
def test_a_torn_tail_ends_the_segment_and_is_no_damage(db: None, boot: Boot, shipper: Shipper, cut: int) -> None:
    closed, torn = event(), event()
    boot.rotate(opened(closed), journal.Close(event=closed))
    boot.append_bytes(journal.encode(journal.Close(event=torn))[:cut])
    boot.truncate()
    boot.die()

    shipped = shipper.ship()

    assert shipped == 1
    assert list(boot.directory.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 8, 9, 40, -1])
def test_a_write_that_was_cut_short_with_zeros_behind_it_is_no_damage(
    db: None, boot: Boot, shipper: Shipper, cut: int
) -> None:
    closed, torn = event(), event()
    boot.rotate(opened(closed), journal.Close(event=closed))
    boot.append_bytes(journal.encode(journal.Close(event=torn))[:cut])
    boot.die()

    shipped = shipper.ship()

    assert shipped == 1
    assert list(boot.directory.iterdir()) == []


def test_a_record_that_is_still_being_written_is_waited_for(db: None, boot: Boot, shipper: Shipper) -> None:
    closed = event()
    content = journal.encode(journal.Close(event=closed))
    boot.rotate(opened(closed))
    boot.append_bytes(content[:50])
    assert shipper.ship() == 0

    boot.append_bytes(content[50:])

    assert shipper.ship() == 1


def test_damage_is_set_aside_with_one_line_and_what_came_before_it_is_shipped(
    db: None, boot: Boot, shipper: Shipper, caplog: pytest.LogCaptureFixture
) -> None:
    closed, lost = event(), event()
    path = boot.rotate(opened(closed), journal.Close(event=closed))
    broken = bytearray(journal.encode(journal.Close(event=lost)))
    broken[30] ^= 0xFF
    boot.append_bytes(bytes(broken))
    boot.rotate()

    shipped = shipper.ship()
    shipper.ship()

    assert shipped == 1
    assert path.with_name(path.name + ".damaged").exists()
    assert [record.message.split()[0] for record in caplog.records if record.levelname == "ERROR"] == [
        "segment_set_aside"
    ]


@pytest.mark.parametrize("name", ["boot1-000001.journal", "nonsense.journal", "-1.journal"])
def test_garbage_is_set_aside_and_stops_nothing(db: None, boot: Boot, shipper: Shipper, name: str) -> None:
    (boot.directory / name).write_bytes(b"this is no journal, is it?" * 100)
    boot.number = 1
    closed = event()
    boot.rotate(opened(closed), journal.Close(event=closed))

    shipped = shipper.ship()

    assert shipped == 1
    assert (boot.directory / f"{name}.damaged").exists()


def test_counts_that_cannot_be_are_bounded_and_stop_nothing(db: None, boot: Boot, shipper: Shipper) -> None:
    odd = event(input_tokens=5, cached_tokens=9, output_tokens=-3, served_name="x\0y" * 90, ended_at_us=2**62)
    fine = event()
    boot.rotate(journal.Close(event=odd), journal.Close(event=fine))

    shipper.ship()

    found = UsageEvent.objects.get(pk=odd.request_id)
    assert (found.input_tokens, found.cached_tokens, found.output_tokens) == (5, 5, 0)
    assert UsageEvent.objects.filter(pk=fine.request_id).exists()


def test_everything_up_to_a_moment_is_marked_as_shipped(db: None, boot: Boot, shipper: Shipper) -> None:
    began = clock.now()

    shipper.ship()

    until = queries.shipped_until()
    assert until is not None
    assert began - dt.timedelta(seconds=11) < until < clock.now()


def test_fifty_thousand_events_arrive_in_one_pass(db: None, boot: Boot, shipper: Shipper) -> None:
    closed = [event() for _ in range(50_000)]
    boot.rotate(*(record for one in closed for record in (opened(one), journal.Close(event=one))))

    shipped = shipper.ship()

    assert shipped == 50_000
    assert UsageEvent.objects.count() == 50_000


def test_events_and_the_offset_are_one_commit(
    committed_db: None, boot: Boot, shipper: Shipper, database_url: str
) -> None:
    closed = event()
    path = boot.rotate(opened(closed), journal.Close(event=closed))
    with psycopg.connect(database_url, autocommit=True) as plain:
        plain.execute('ALTER TABLE journal_segment ADD CONSTRAINT refuse CHECK ("offset" = 0)')
        with pytest.raises(Exception, match="refuse"):
            shipper.ship()
        assert plain.execute("SELECT count(*) FROM usage_event").fetchone() == (0,)

        plain.execute("ALTER TABLE journal_segment DROP CONSTRAINT refuse")

    assert shipper.ship() == 1
    assert JournalSegment.objects.get(pk=path.name).offset > 0


def test_a_database_that_goes_away_is_waited_for_and_nothing_is_lost_or_doubled(
    committed_db: None, boot: Boot, shipper: Shipper, database_url: str
) -> None:
    first, second = event(), event()
    boot.rotate(opened(first), journal.Close(event=first))
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(shipper, stop))
    thread.start()
    try:
        wait_until(lambda: UsageEvent.objects.count() == 1)
        with psycopg.connect(database_url, autocommit=True) as plain:
            plain.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
        connection.close()
        boot.append(opened(second), journal.Close(event=second))

        wait_until(lambda: UsageEvent.objects.count() == 2)
    finally:
        stop.set()
        thread.join()


def _run(shipper: Shipper, stop: threading.Event) -> None:
    try:
        shipper.run(stop, pause_seconds=0.01, away_seconds=0.05)
    finally:
        connection.close()
