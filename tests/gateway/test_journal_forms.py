"""The journal's records as the gateway makes them: the bytes that the encoder writes."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from moorage.kernel import ids
from moorage.wire import journal
from moorage.wire.journal_forms import OpenForm, close_record
from tests.metering.journals import opened
from tests.wire.events import event

#: What stands in a form: ids as they really are.
EVENT = opened(
    event(
        request_id="",
        organization_id=ids.new("org"),
        deployment_id=ids.new("dep"),
        revision_id=ids.new("rev"),
        replica_id=ids.new("rep"),
        key_id=ids.new("key"),
        started_at_us=0,
    )
).event


@given(
    request_id=st.one_of(st.builds(ids.new, st.just("req")), st.text(max_size=40)),
    started_at_us=st.integers(min_value=0, max_value=2**63 - 1),
    served_name=st.text(max_size=300),
    replica_id=st.text(max_size=40),
)
def test_a_form_writes_what_the_encoder_does(
    request_id: str, started_at_us: int, served_name: str, replica_id: str
) -> None:
    kind = replace(EVENT, served_name=served_name, replica_id=replica_id)

    record = OpenForm(kind).record(request_id, started_at_us)

    assert record == journal.encode_open(replace(kind, request_id=request_id, started_at_us=started_at_us))


def test_what_could_be_taken_for_the_moment_is_not() -> None:
    sly = replace(EVENT, served_name="\x01#Eg\x89\xab\xcd\xef" * 3, model_key="\x01#Eg")

    record = OpenForm(sly).record(ids.new("req"), 1_700_000_000_000_000)

    assert [event.event.served_name for event, _ in journal.read(record) if isinstance(event, journal.Open)] == [
        sly.served_name
    ]


def test_a_close_is_what_the_encoder_writes() -> None:
    assert close_record(EVENT) == journal.encode_close(EVENT)
