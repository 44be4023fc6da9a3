"""R3, what gateways wrote down and the usage: clean, and each error, planted and found."""

from pathlib import Path

import pytest

from moorage.accounts.models import GatewayWorker
from moorage.billing.reconciliation import journals
from moorage.billing.reconciliation.journals import Recorded, Written
from moorage.kernel import clock
from moorage.metering import services as metering
from moorage.metering import usage_table
from moorage.metering.models import JournalSegment
from moorage.wire import journal
from tests.billing.findings import DAY, HOUR, codes, window
from tests.billing.measured import request, use
from tests.billing.tampering import tamper
from tests.cast import Cast

WRITTEN = Written(request_id="req_a", organization_id="org_a", place="gateway.log", tokens=(10, 4, 5))


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ({"req_a": Recorded(tokens=(10, 4, 5))}, []),
        ({}, ["usage_missing"]),
        ({"req_b": Recorded(tokens=(10, 4, 5))}, ["usage_missing"]),
        ({"req_a": Recorded(tokens=(10, 4, 6))}, ["tokens_differ"]),
        ({"req_a": Recorded(tokens=(10, 5, 5))}, ["tokens_differ"]),
        ({"req_a": Recorded(tokens=(0, 0, 0), is_lost=True)}, []),
    ],
)
def test_what_a_gateway_wrote_down_is_in_the_usage(recorded: dict[str, Recorded], found: list[str]) -> None:
    assert codes(journals.compare_journals([WRITTEN], recorded)) == found


def test_journals_that_nobody_has_read_are_found() -> None:
    found = journals.compare_journals([], {}, set_aside=["b-1.journal.damaged"], unsettled_boots=["boot_a"])

    assert codes(found) == ["segment_set_aside", "boot_not_shipped"]


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A journal directory and one of logs, both empty."""
    found = tmp_path / "journal", tmp_path / "logs"
    for path in found:
        path.mkdir()
    return found


def test_committed_closes_are_compared_and_what_is_not_committed_is_not(cast: Cast, places: tuple[Path, Path]) -> None:
    directory, logs = places
    events = [request(cast.alice.organization.pk, tokens=(10, 4, 5 + number)) for number in range(3)]
    head = journal.MAGIC + journal.encode_open(events[0]) + journal.encode_close(events[0])
    head += journal.encode_close(events[1])
    (directory / "boot_a-1.journal").write_bytes(head + journal.encode_close(events[2]) + bytes(64))
    JournalSegment.objects.create(name="boot_a-1.journal", offset=len(head))
    usage_table.put(events[:2])

    clean = journals.journals(window(), directory=directory, logs=logs)
    tamper("DELETE FROM usage_event WHERE request_id = %s", events[1].request_id)
    (finding,) = journals.journals(window(), directory=directory, logs=logs).findings

    assert (clean.findings, clean.compared) == ((), 2)
    assert "no access log" in clean.note
    assert (finding.code, finding.subject) == ("usage_missing", events[1].request_id)


def test_the_access_log_is_compared(cast: Cast, places: tuple[Path, Path]) -> None:
    directory, logs = places
    known = use(cast.alice.organization, tokens=(10, 4, 5))
    unknown = request(cast.alice.organization.pk, tokens=(1, 0, 1)).request_id
    metering.mark_shipped(until=clock.now() + HOUR)

    def line(request_id: str, tokens: tuple[int, int, int]) -> str:
        return (
            f"request_settled request={request_id} path=/v1/chat/completions status=200 outcome=completed"
            f" organization={cast.alice.organization.pk} deployment=dep_a key=key_a replica=rep_a stream=0"
            f" input={tokens[0]} cached={tokens[1]} output={tokens[2]} source=engine ms=12 held_ms=0\n"
        )

    log = logs / "gateway.log"
    log.write_text("gateway_started\n" + line(known, (10, 4, 5)))
    clean = journals.journals(window(), directory=directory, logs=logs)
    log.write_text(line(known, (10, 4, 6)) + line(unknown, (1, 0, 1)))
    found = journals.journals(window(), directory=directory, logs=logs).findings
    metering_mark_back()
    unshipped = journals.journals(window(), directory=directory, logs=logs)

    assert (clean.findings, clean.compared, clean.note) == ((), 1, "")
    assert sorted(codes(found)) == ["tokens_differ", "usage_missing"]
    assert (unshipped.findings, unshipped.compared) == ((), 0), "what has not been shipped yet is not missed"


def metering_mark_back() -> None:
    """The shipper has only come to yesterday."""
    tamper("UPDATE shipping_mark SET complete_until = %s", clock.now() - DAY)


def test_a_machine_without_journals_says_so(db: None, tmp_path: Path) -> None:
    result = journals.journals(window(), directory=tmp_path / "none", logs=tmp_path / "none")

    assert result.count == 0
    assert "There is no journal directory on this machine." in result.note


def test_a_dead_worker_that_was_never_settled_is_found(db: None, places: tuple[Path, Path]) -> None:
    directory, logs = places
    GatewayWorker.objects.create(boot_id="boot_dead", heartbeat_at=clock.now() - 2 * HOUR)
    GatewayWorker.objects.create(boot_id="boot_alive")
    (directory / "boot_x-3.journal.damaged").write_bytes(b"?")

    found = journals.journals(window(), directory=directory, logs=logs).findings

    assert [(one.code, one.subject) for one in found] == [
        ("segment_set_aside", "boot_x-3.journal.damaged"),
        ("boot_not_shipped", "boot_dead"),
    ]
