"""Usage for billing's tests: measured facts as the shipper and the deployments room write them, months, prices."""

import datetime as dt

from moorage.accounts.models import Organization
from moorage.billing import pricing
from moorage.billing.models import BillingMonth
from moorage.kernel import clock, ids
from moorage.kernel.clock import Period
from moorage.metering import services as metering
from moorage.metering import usage_table
from moorage.wire.records import Outcome, UsageEvent

OCTOBER = Period.month(2026, 10)
NOVEMBER = Period.month(2026, 11)
#: Over, whenever the tests run.
LAST_MONTH = Period.containing(Period.containing(clock.now()).start - dt.timedelta(days=1))
NOON = dt.datetime(2026, 10, 15, 12, tzinfo=dt.UTC)
#: When October may be closed.
CLOSING = OCTOBER.end + dt.timedelta(hours=3)


def use(
    organization: Organization,
    *,
    tokens: tuple[int, int, int] = (1000, 400, 50),
    ended_at: dt.datetime = NOON,
    served_name: str = "demo/llm",
    deployment_id: str = "dep_a",
) -> str:
    """One request with ``(input, cached, output)`` tokens; its id."""
    event = request(
        organization.id, tokens=tokens, ended_at=ended_at, served_name=served_name, deployment_id=deployment_id
    )
    usage_table.put([event])
    return event.request_id


def request(
    organization_id: str,
    *,
    tokens: tuple[int, int, int],
    ended_at: dt.datetime = NOON,
    served_name: str = "demo/llm",
    deployment_id: str = "dep_a",
    outcome: Outcome = "completed",
) -> UsageEvent:
    """The event of a request, not stored."""
    ended_at_us = (ended_at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return UsageEvent(
        request_id=ids.new("req"),
        organization_id=organization_id,
        deployment_id=deployment_id,
        revision_id="rev_a",
        replica_id="rep_a",
        key_id="key_a",
        model_key="llm",
        served_name=served_name,
        path="/v1/chat/completions",
        is_stream=False,
        outcome=outcome,
        status=200,
        input_tokens=tokens[0],
        cached_tokens=tokens[1],
        output_tokens=tokens[2],
        source="engine",
        started_at_us=ended_at_us - 1000,
        ended_at_us=ended_at_us,
    )


def run(
    organization: Organization,
    *,
    seconds: int,
    ended_at: dt.datetime = NOON,
    state: str = "",
    device_class: str = "",
) -> None:
    """A replica was ready for ``seconds``."""
    metering.record_replica_time(
        organization_id=organization.id,
        deployment_id="dep_a",
        revision_id="rev_a",
        replica_id=ids.new("rep"),
        model_key="llm",
        started_at=ended_at - dt.timedelta(seconds=seconds),
        ended_at=ended_at,
        state=state,
        device_class=device_class,
    )


def everything_shipped(until: dt.datetime = NOVEMBER.end) -> None:
    """As the shipper says when it has read all journals."""
    metering.mark_shipped(until=until)


def price_list() -> None:
    """The default prices: 0.20, 0.05, 0.60 USD per 1M tokens, 0.00002 USD a replica second."""
    pricing.ensure_default_prices()


def is_closed(organization: Organization, period: Period = OCTOBER) -> bool:
    """Whether the month is closed."""
    return BillingMonth.objects.filter(
        organization_id=organization.id, period_start=period.start, closed_at__isnull=False
    ).exists()
