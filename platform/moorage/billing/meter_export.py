"""Usage for the provider's meter, one unit a micro-dollar: what is pushed is the month's rated sum, rounded down, minus
what was pushed before. So the pushes of a month always add up to the floor of its sum. Off unless a meter is named.
The meter counts micro-dollars: usage of whoever pays in another currency is not told to it, and nobody waits for it.

An organization has at most one push on its way. Whoever sends it holds the organization's advisory lock for the time
of the call; the lock ends with its process. A push is on record as sent before the first call, keeps its identifier in
every attempt, and is never sent again 20 hours after the first: the provider forgets identifiers after a day. What is
not known by then is *uncertain*, and a person decides with the provider's own sums before them.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection, transaction
from django.db.models import F, Max, QuerySet, Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import customers
from moorage.billing.errors import InvoiceChanged, ReasonMissing, ReviewItemNotFound
from moorage.billing.models import BillingMonth, PushStatus, RatedUsage, UsagePush
from moorage.billing.payments import (
    Capability,
    PaymentProvider,
    ProviderError,
    ProviderFailed,
    ProviderUnavailable,
    UsageReport,
)
from moorage.kernel.clock import Period
from moorage.kernel.currencies import USD

logger = logging.getLogger(__name__)

PICO_PER_MICRO: Final = 10**6
#: After so long since the first call nothing is sent again.
RESEND_FOR: Final = dt.timedelta(hours=20)
_PAUSE: Final = dt.timedelta(seconds=10)
_LONGEST_PAUSE: Final = dt.timedelta(minutes=30)
#: How often usage of a running month is pushed.
EVERY: Final = dt.timedelta(hours=1)
#: A month and the 35 days for which the provider takes usage of the past.
_GROWS_FOR: Final = dt.timedelta(days=66)
#: Those that are counted as being with the provider, or perhaps there.
_COUNTED: Final = (
    PushStatus.PENDING,
    PushStatus.SENDING,
    PushStatus.ACKED,
    PushStatus.REJECTED,
    PushStatus.UNCERTAIN,
)
_ON_THE_WAY: Final = (PushStatus.PENDING, PushStatus.SENDING)
#: Those that wait for a person.
_STUCK: Final = (PushStatus.UNCERTAIN, PushStatus.REJECTED)


def export_due(*, provider: PaymentProvider, now: dt.datetime, every: dt.timedelta = EVERY) -> int:
    """Makes the pushes that are due, one ``every`` so often while a month runs, and sends what waits; how many were
    acknowledged. Outside transactions."""
    assert not connection.in_atomic_block, "a network call holds no locks"
    if Capability.METER not in provider.capabilities:
        return 0
    for organization_id, period_start in _months(now):
        _make(organization_id, period_start, now, every)
    waiting = UsagePush.objects.filter(status__in=_ON_THE_WAY, next_attempt_at__lte=now)
    ids = list(waiting.order_by("next_attempt_at", "id").values_list("pk", flat=True))
    return sum(_send(push_id, provider, now) for push_id in ids)


def why_unsent(*, organization_id: str, period_start: dt.datetime, provider: PaymentProvider, now: dt.datetime) -> str:
    """Why the usage of a month is not all with the provider's meter, as a sentence; empty when it is, or when nothing
    is exported. An invoice is not finalized there before.

    Of a month whose usage the provider takes no more, only pushes that were begun are waited for: what it misses is
    shown by reconciliation, and the customer's bill does not depend on it.
    """
    if Capability.METER not in provider.capabilities or not is_metered(organization_id):
        return ""
    pushes = UsagePush.objects.filter(organization_id=organization_id, period_start=period_start)
    open_ones = pushes.exclude(status__in=[PushStatus.ACKED, PushStatus.DROPPED])
    first = open_ones.order_by("seq").first()
    if first is not None:
        return f"Usage of the month is not with the provider's meter yet: {first.identifier} is {first.status}."
    if period_start < now - _GROWS_FOR:
        return ""
    missing = _floor(organization_id, period_start) - _pushed(organization_id, period_start)
    return f"Usage of the month for {missing} micro-dollars is not pushed yet." if missing else ""


def is_metered(organization_id: str) -> bool:
    """Whether the organization's usage goes to the meter, which counts micro-dollars."""
    return Organization.objects.filter(pk=organization_id, currency=USD).exists()


def stuck(status: str | None = None) -> QuerySet[UsagePush]:
    """Pushes that wait for a person's decision, the oldest first; of one status alone where that is given."""
    found = UsagePush.objects.select_related("organization").filter(status__in=_STUCK)
    return (found.filter(status=status) if status else found).order_by("id")


def find(push_id: str) -> UsagePush:
    """Any push. Raises ReviewItemNotFound."""
    found = UsagePush.objects.select_related("organization").filter(pk=push_id).first()
    if found is None:
        raise ReviewItemNotFound
    return found


@transaction.atomic
def resolve(*, push: UsagePush, is_received: bool, reason: str, by: Actor) -> None:
    """A person has read the provider's sums and says whether an uncertain or rejected push is in them. What is not
    goes into the next push. Raises ReasonMissing, and InvoiceChanged for one that is neither."""
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    stuck = UsagePush.objects.filter(pk=push.pk, status__in=_STUCK)
    to = PushStatus.ACKED if is_received else PushStatus.DROPPED
    if not stuck.update(status=to, decided_by=by.label[:80]):
        raise InvoiceChanged("This push is not waiting for a decision. Look at it again.")
    audit.record(
        organization=push.organization,
        by=by,
        action="usage_push.resolved",
        subject=push.id,
        detail={"is_received": is_received, "reason": said[:2000], "value_micro": push.value_micro},
    )


def _months(now: dt.datetime) -> list[tuple[str, dt.datetime]]:
    """Organizations with the months that may have grown since their last push, the older month first."""
    recent = BillingMonth.objects.filter(
        period_start__gte=now - _GROWS_FOR,
        period_start__lte=now,
        organization_id__in=Organization.objects.filter(currency=USD).values("pk"),
    )
    return list(recent.order_by("period_start", "organization_id").values_list("organization_id", "period_start"))


@transaction.atomic
def _make(organization_id: str, period_start: dt.datetime, now: dt.datetime, every: dt.timedelta) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('billing:export:' || %s, 0))", [organization_id])
    pushes = UsagePush.objects.filter(organization_id=organization_id)
    if pushes.exclude(status__in=[PushStatus.ACKED, PushStatus.DROPPED]).exists():
        return
    is_closed = BillingMonth.objects.filter(
        organization_id=organization_id, period_start=period_start, closed_at__isnull=False
    ).exists()
    last = pushes.aggregate(seq=Max("seq"))["seq"] or 0
    before = pushes.filter(period_start=period_start).aggregate(end=Max("window_end"))["end"] or period_start
    if not is_closed and now - before < every:
        return
    value = _floor(organization_id, period_start) - _pushed(organization_id, period_start)
    if value:
        UsagePush.objects.create(
            organization_id=organization_id,
            seq=last + 1,
            period_start=period_start,
            window_start=before,
            window_end=min(now, Period.containing(period_start).end),
            value_micro=value,
            next_attempt_at=now,
        )


def _floor(organization_id: str, period_start: dt.datetime) -> int:
    rated = RatedUsage.objects.filter(organization_id=organization_id, period_start=period_start)
    return int(rated.aggregate(sum=Sum("amount_pico"))["sum"] or 0) // PICO_PER_MICRO


def _pushed(organization_id: str, period_start: dt.datetime) -> int:
    pushes = UsagePush.objects.filter(organization_id=organization_id, period_start=period_start, status__in=_COUNTED)
    return int(pushes.aggregate(sum=Sum("value_micro"))["sum"] or 0)


def _send(push_id: str, provider: PaymentProvider, now: dt.datetime) -> bool:
    organization_id = UsagePush.objects.values_list("organization_id", flat=True).get(pk=push_id)
    with _alone(organization_id) as is_alone:
        push = UsagePush.objects.filter(pk=push_id, status__in=_ON_THE_WAY, next_attempt_at__lte=now).first()
        if not is_alone or push is None:
            return False
        if push.first_sent_at is not None and now - push.first_sent_at >= RESEND_FOR:
            _settle(push, PushStatus.UNCERTAIN, "Nobody knows whether it arrived, and it is too late to send it again.")
            return False
        organization = Organization.objects.get(pk=organization_id)
        try:
            reference = customers.reference_of(organization=organization, provider=provider)
            UsagePush.objects.filter(pk=push.pk).update(
                status=PushStatus.SENDING, attempts=F("attempts") + 1, first_sent_at=push.first_sent_at or now
            )
            provider.push_usage(_report(push, reference), idempotency_key=_key(push))
        except ProviderUnavailable as error:
            _put_off(push, error, now)
            return False
        except ProviderError as error:
            _settle(push, PushStatus.REJECTED, str(error))
            return False
        UsagePush.objects.filter(pk=push.pk).update(status=PushStatus.ACKED, last_error="")
        return True


def _report(push: UsagePush, reference: str) -> UsageReport:
    return UsageReport(
        identifier=push.identifier,
        customer_reference=reference,
        value_micro=push.value_micro,
        at=push.window_end - dt.timedelta(seconds=1),
    )


def _key(push: UsagePush) -> str:
    """The identifier, until the provider answers that it failed: it keeps that answer for the key for a day, so the
    next attempt needs another. The identifier alone keeps the two from being counted twice."""
    return f"{push.identifier}-{push.failures}" if push.failures else push.identifier


def _put_off(push: UsagePush, error: ProviderUnavailable, now: dt.datetime) -> None:
    logger.warning("usage_push_put_off push=%s attempts=%d error=%s", push.id, push.attempts + 1, error)
    pause = min(_PAUSE * 2 ** min(push.attempts, 10), _LONGEST_PAUSE)
    UsagePush.objects.filter(pk=push.pk).update(
        next_attempt_at=now + pause,
        last_error=str(error)[:2000],
        failures=F("failures") + (1 if isinstance(error, ProviderFailed) else 0),
    )


def _settle(push: UsagePush, status: PushStatus, error: str) -> None:
    logger.error("usage_push_stuck push=%s status=%s error=%s", push.id, status, error)
    UsagePush.objects.filter(pk=push.pk, status__in=_ON_THE_WAY).update(status=status, last_error=error[:2000])


@contextmanager
def _alone(organization_id: str) -> Iterator[bool]:
    """Whether nobody else sends for the organization; as long as this lasts nobody will. Ends with the process."""
    key = "hashtextextended('billing:sending:' || %s, 0)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock({key})", [organization_id])
        is_alone = bool(cursor.fetchone()[0])
    try:
        yield is_alone
    finally:
        if is_alone:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT pg_advisory_unlock({key})", [organization_id])
