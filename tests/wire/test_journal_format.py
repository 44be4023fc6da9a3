"""The journal's bytes: what is written is read, and a torn tail ends a segment without an error."""

from hypothesis import given
from hypothesis import strategies as st

from moorage.wire import journal
from moorage.wire.records import UsageEvent


def event(request_id: str = "req_1") -> UsageEvent:
    return UsageEvent(
        request_id=request_id,
        organization_id="org_1",
        deployment_id="dep_1",
        revision_id="rev_1",
        replica_id="rep_1",
        key_id="key_1",
        model_key="llm",
        served_name="demo/llm",
        path="/v1/chat/completions",
        is_stream=True,
        outcome="completed",
        status=200,
        input_tokens=3,
        cached_tokens=1,
        output_tokens=5,
        source="engine",
        started_at_us=1,
    )


RECORDS = (
    journal.Open(event=event()),
    journal.Checkpoint(
        streams=(
            journal.Progress(
                request_id="req_1", input_tokens=3, cached_tokens=0, output_tokens=2, source="gateway", at_us=5
            ),
        )
    ),
    journal.Close(event=event()),
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
