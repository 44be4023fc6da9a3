"""R4: the ledger's micro-dollars, what the provider acknowledged, and what its meter sums up.

The provider is read through its port, outside any transaction. What happened within the last hour may be on its way.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from django.db.models import Max, Q, Sum

from moorage.accounts.models import Organization
from moorage.billing.models import ProviderCustomer, RatedUsage, UsagePush
from moorage.billing.models.usage_push import PushStatus
from moorage.billing.payments import Capability, PaymentProvider
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.kernel.clock import Period
from moorage.kernel.currencies import USD

#: The provider's meter lags by minutes.
ON_ITS_WAY: Final = dt.timedelta(hours=1)
#: A month's last usage is pushed by then.
PUSHED_WITHIN: Final = dt.timedelta(hours=6)
_PICO_PER_MICRO: Final = 10**6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """One organization's month of the usage meter, in whole micro-dollars."""

    organization_id: str
    period: Period
    #: All that is rated, rounded down.
    ledger_micro: int
    acked_micro: int
    #: Told and not acknowledged, or not told yet.
    underway_micro: int
    last_window_end: dt.datetime
    #: What the provider's meter sums up; None: it was not asked.
    provider_micro: int | None = None
    #: Pushes that wait for a person.
    stuck: int = 0


def compare_meter(pushed: Iterable[Pushed], *, now: dt.datetime) -> tuple[Finding, ...]:
    """Months whose meter is not what is rated."""
    found = []
    for one in pushed:
        for code, sentence in _judge_month(one, now):
            found.append(
                Finding(
                    code=code,
                    sentence=f"{one.period}: {sentence}",
                    subject=one.organization_id,
                    organization_id=one.organization_id,
                )
            )
    return tuple(found)


def _judge_month(one: Pushed, now: dt.datetime) -> Iterator[tuple[str, str]]:
    told = one.acked_micro + one.underway_micro
    if told > one.ledger_micro:
        yield "pushed_too_much", f"{told:,} micro-dollars are told, {one.ledger_micro:,} are charged."
    is_over = now >= one.period.end + PUSHED_WITHIN
    if is_over and told < one.ledger_micro:
        yield "pushed_too_little", f"{told:,} micro-dollars are told of {one.ledger_micro:,} that are charged."
    if one.stuck:
        yield "push_stuck", f"{one.stuck} pushes were refused or have no known outcome. Decide on them."
    is_settled = now - one.last_window_end > ON_ITS_WAY
    if one.provider_micro is not None and is_settled and one.provider_micro != one.acked_micro:
        yield (
            "meter_differs",
            f"The provider's meter has {one.provider_micro:,} micro-dollars, {one.acked_micro:,} are acknowledged.",
        )


def meter(window: Window, *, providers: Mapping[str, PaymentProvider]) -> Result:
    """R4, where the export is on. Raises ProviderError."""
    metering = next((one for one in providers.values() if Capability.METER in one.capabilities), None)
    months = (
        UsagePush.objects.filter(period_start__gte=window.now - dt.timedelta(days=70))
        .order_by()
        .values("organization_id", "period_start")
        .annotate(
            acked=Sum("value_micro", filter=Q(status=PushStatus.ACKED)),
            underway=Sum("value_micro", filter=Q(status__in=[PushStatus.PENDING, PushStatus.SENDING])),
            stuck=Sum("value_micro", filter=Q(status__in=[PushStatus.REJECTED, PushStatus.UNCERTAIN])),
            last=Max("window_end"),
        )
    )
    rows = list(months)
    if not rows:
        return Result(compared=0, note="The usage meter is not exported from this instance, so there is nothing of it.")
    others = Organization.objects.exclude(currency=USD).count()
    note = f"{others} organizations pay in another currency, and the meter counts micro-dollars." if others else ""
    facts = [_pushed(row, metering) for row in rows]
    findings = compare_meter(facts, now=window.now)
    return Result(compared=len(facts), findings=findings[:KEPT_MOST], finding_count=len(findings), note=note)


def _pushed(row: Mapping[str, object], metering: PaymentProvider | None) -> Pushed:
    organization_id, period_start, last = row["organization_id"], row["period_start"], row["last"]
    assert isinstance(organization_id, str)
    assert isinstance(period_start, dt.datetime) and isinstance(last, dt.datetime)
    period = Period.containing(period_start)
    rated = RatedUsage.objects.filter(organization_id=organization_id, period_start=period_start)
    stuck = UsagePush.objects.filter(
        organization_id=organization_id,
        period_start=period_start,
        status__in=[PushStatus.REJECTED, PushStatus.UNCERTAIN],
    ).count()
    summed = None
    if metering is not None:
        known = ProviderCustomer.objects.filter(organization_id=organization_id, provider=metering.name)
        customer = known.values_list("reference", flat=True).first()
        if customer:
            summed = metering.usage_total(customer, start=period.start, end=period.end)
    return Pushed(
        organization_id=organization_id,
        period=period,
        ledger_micro=int(rated.aggregate(pico=Sum("amount_pico"))["pico"] or 0) // _PICO_PER_MICRO,
        acked_micro=_whole(row["acked"]),
        underway_micro=_whole(row["underway"]) + _whole(row["stuck"]),
        last_window_end=last,
        provider_micro=summed,
        stuck=stuck,
    )


def _whole(value: object) -> int:
    return int(value) if value is not None else 0  # type: ignore[call-overload]
