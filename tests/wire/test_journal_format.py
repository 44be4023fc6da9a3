"""The journal's bytes: what is written is read, and a torn tail ends a segment without an error."""

import struct
import zlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from moorage.kernel import ids
from moorage.wire import journal
from moorage.wire.records import UsageEvent
from tests.wire.events import event

EVENT = event(request_id="req_1")
RECORDS = (
    journal.Open(event=EVENT),
    journal.Checkpoint(
        streams=(
            journal.Progress(
                request_id="req_1", input_tokens=3, cached_tokens=0, output_tokens=2, source="gateway", at_us=5
            ),
        )
    ),
    journal.Close(event=EVENT),
)
BYTES = b"".join(journal.encode(record) for record in RECORDS)


def test_what_is_written_is_read_back_with_offsets() -> None:
    read = list(journal.read(BYTES))

    assert tuple(record for record, _ in read) == RECORDS
    assert read[-1][1] == len(BYTES)
    assert [record for record, _ in journal.read(BYTES, read[0][1])] == list(RECORDS[1:])


@given(st.integers(0, len(BYTES)))
def test_a_torn_tail_ends_the_segment(cut: int) -> None:
    read = [record for record, _ in journal.read(BYTES[:cut])]

    assert tuple(read) == RECORDS[: len(read)]


@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
def test_a_damaged_record_is_never_read_as_another(position: int, change: int) -> None:
    damaged = bytearray(BYTES)
    damaged[position] ^= change

    read = [record for record, _ in journal.read(bytes(damaged))]

    assert tuple(read) == RECORDS[: len(read)]


def version_1(kind: int, record: dict[str, object]) -> bytes:
    """A record as version 1 wrote it: a map with names."""
    payload = msgspec.msgpack.encode(record)
    checksum = zlib.crc32(payload, zlib.crc32(bytes((kind,))))
    return struct.pack("<IIB", len(payload), checksum, kind) + payload


def test_version_1_is_still_read() -> None:
    members = {name: getattr(EVENT, name) for name in UsageEvent.__struct_fields__ if name != "is_disputed"}
    (stream,) = RECORDS[1].streams
    data = (
        version_1(journal.OPEN, {"event": members})
        + version_1(journal.CHECKPOINT, {"streams": [msgspec.structs.asdict(stream)]})
        + version_1(journal.CLOSE, {"event": members})
    )

    read = [record for record, _ in journal.read(data, version=1)]

    assert tuple(read) == RECORDS


def test_a_member_that_only_the_next_version_knows_is_skipped_and_one_it_did_not_have_yet_is_filled_in() -> None:
    members = list(msgspec.structs.astuple(EVENT))
    (newer, older) = (msgspec.msgpack.encode(each) for each in ([*members, "a new member"], members[:-1]))

    assert journal.decode(journal.CLOSE, newer) == journal.Close(event=EVENT)
    assert journal.decode(journal.CLOSE, older) == journal.Close(event=EVENT)


def test_members_never_move() -> None:
    assert UsageEvent.__struct_fields__[:21] == (
        "request_id",
        "organization_id",
        "deployment_id",
        "revision_id",
        "replica_id",
        "key_id",
        "model_key",
        "served_name",
        "path",
        "is_stream",
        "outcome",
        "status",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "source",
        "started_at_us",
        "first_token_at_us",
        "ended_at_us",
        "held_us",
        "is_disputed",
    )
    assert journal.Progress.__struct_fields__[:6] == (
        "request_id",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "source",
        "at_us",
    )


@given(st.sampled_from(["req_1", "", "r" * 30, "r" * 31, "r" * 40, "\u00e9" * 15, ids.new("req")]))
def test_a_request_is_known_by_its_id_without_decoding_the_rest(request_id: str) -> None:
    for encode in (journal.encode_open, journal.encode_close):
        ((_, payload, _),) = journal.scan(encode(event(request_id=request_id)))

        assert journal.key_of(payload) == journal.key(request_id)


def test_the_magic_says_the_version() -> None:
    assert journal.version_of(journal.MAGIC + b"more") == journal.VERSION
    assert journal.version_of(b"MOORAGEJ\x01\0\0\0") == 1
    assert [journal.version_of(head) for head in (b"", bytes(12), journal.MAGIC[:-1], b"MOORAGEJ\x01\0\1\0")] == [
        None
    ] * 4
