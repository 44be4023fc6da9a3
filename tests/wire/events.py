"""One usage event, of which a test says what matters to it."""

import msgspec

from moorage.kernel import ids
from moorage.wire.records import UsageEvent

START_US = 1_793_000_000_000_000


def event(**changes: object) -> UsageEvent:
    """A completed request of organization ``org_a``."""
    plain = UsageEvent(
        request_id=ids.new("req"),
        organization_id="org_a",
        deployment_id="dep_a",
        revision_id="rev_a",
        replica_id="rep_a",
        key_id="key_a",
        model_key="llm",
        served_name="demo/llm",
        path="/v1/chat/completions",
        is_stream=True,
        outcome="completed",
        status=200,
        input_tokens=100,
        cached_tokens=40,
        output_tokens=7,
        source="engine",
        started_at_us=START_US,
        first_token_at_us=START_US + 1000,
        ended_at_us=START_US + 2_000_000,
        held_us=1_500_000,
    )
    return msgspec.structs.replace(plain, **changes)
