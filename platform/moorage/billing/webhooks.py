"""What the payment provider tells us: verified, kept once, answered at once, applied later from the present state.

An event's content is used for nothing but its id, kind and object id: applying fetches the object again.
"""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from moorage.billing import outbox, provider_events, providers, signatures
from moorage.billing.errors import WebhookRefused, WebhookTooLarge
from moorage.billing.models import (
    Dispute,
    DisputeStatus,
    EventCursor,
    Invoice,
    InvoiceStatus,
    PutAway,
    Refund,
    RefundStatus,
    TopUp,
    TopUpStatus,
    WebhookEvent,
)
from moorage.billing.payments import Capability, PaymentProvider, ProviderError
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import clock

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 256 * 1024
PROVIDER: Final = "stripe"
#: A webhook may be lost: what waits for money is asked for as often as this, and so is the list of events.
_ASK_EVERY: Final = dt.timedelta(minutes=10)
_OVERLAP: Final = dt.timedelta(hours=1)
_LEASE: Final = dt.timedelta(minutes=5)


def receive(
    payload: bytes,
    signature: str,
    *,
    secrets: Sequence[str] | None = None,
    now: dt.datetime | None = None,
    is_live: bool | None = None,
) -> bool:
    """Keeps an event whose bytes are signed; whether it was new. Answer 200 when this returns.

    Raises WebhookTooLarge, and WebhookRefused for a wrong, stale or future signature, for bytes that are no event,
    for an event of the other mode (live or test) and for one of a foreign account.
    """
    if len(payload) > MOST_BYTES:
        raise WebhookTooLarge
    known = settings.STRIPE_WEBHOOK_SECRETS if secrets is None else secrets
    signatures.verify(payload, signature, secrets=known, now=now or clock.now())
    event = _event(payload)
    if event.get("account"):
        raise WebhookRefused("This event belongs to another account.")
    if event.get("livemode") is not (providers.is_live() if is_live is None else is_live):
        raise WebhookRefused("This event is of the other mode: live and test do not mix.")
    event_id, kind, found = event.get("id"), event.get("type"), event.get("data")
    if not isinstance(event_id, str) or not isinstance(kind, str) or not 0 < len(event_id) <= 120:
        raise WebhookRefused("This is no event.")
    thing = found.get("object") if isinstance(found, dict) else None
    object_id = thing.get("id") if isinstance(thing, dict) else None
    return _keep(event_id, kind, object_id if isinstance(object_id, str) else "", PROVIDER)


def apply_due(*, available: Mapping[str, PaymentProvider], now: dt.datetime, limit: int = 100) -> int:
    """Applies events that wait, from the present state of their objects; how many are done. Outside transactions."""
    done = 0
    for event in _claim(now, limit):
        problem = _apply(event, available, now)
        if problem is None:
            done += 1
            WebhookEvent.objects.filter(pk=event.pk).update(applied_at=now, last_error="")
        else:
            logger.error("webhook_put_off event=%s kind=%s error=%s", event.id, event.kind, problem)
            WebhookEvent.objects.filter(pk=event.pk).update(
                next_attempt_at=now + outbox.pause_after(event.attempts), last_error=problem[:2000]
            )
    return done


def ask_for_open(*, available: Mapping[str, PaymentProvider], now: dt.datetime, limit: int = 50) -> int:
    """Asks the providers for whatever waits for money and was not heard of lately: invoices, top-ups, refunds,
    disputes. How many were asked for."""
    stale = Q(checked_at=None) | Q(checked_at__lte=now - _ASK_EVERY)
    owed = Invoice.objects.filter(stale, status__in=[InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE])
    paying = TopUp.objects.filter(stale, status=TopUpStatus.STARTED)
    waiting = [
        *_waiting(owed.exclude(provider_reference=""), "invoice.", "provider_reference", limit),
        *_waiting(paying.exclude(checkout_reference=""), "checkout.session.", "checkout_reference", limit),
        *_waiting(
            paying.filter(checkout_reference="").exclude(payment_reference=""),
            "payment_intent.",
            "payment_reference",
            limit,
        ),
        *_waiting(
            Refund.objects.filter(stale, status=RefundStatus.PENDING).exclude(reference=""),
            "refund.",
            "reference",
            limit,
        ),
        *_waiting(Dispute.objects.filter(stale, status=DisputeStatus.OPEN), "charge.dispute.", "id", limit),
    ]
    asked = 0
    for found, kind, reference in waiting:
        provider = available.get(found.provider)
        if provider is None:
            continue
        asked += 1
        type(found)._default_manager.filter(pk=found.pk).update(checked_at=now)
        try:
            provider_events.apply(kind, reference, provider=provider, now=now)
        except (ProviderError, StateMismatch) as error:
            logger.error("check_failed of=%s error=%s", found.pk, error)
    return asked


def poll(*, available: Mapping[str, PaymentProvider], now: dt.datetime) -> int:
    """Reads the providers' own lists of events every ten minutes and keeps those whose webhook never came; how many
    those were. The list is read from an hour before where the last reading ended: events are listed late, too."""
    found = 0
    for provider in available.values():
        if Capability.EVENTS not in provider.capabilities:
            continue
        cursor, _ = EventCursor.objects.get_or_create(
            provider=provider.name, defaults={"read_until": now, "polled_at": now - _ASK_EVERY}
        )
        due = EventCursor.objects.filter(pk=cursor.pk, polled_at__lte=now - _ASK_EVERY)
        if not due.update(polled_at=now):
            continue
        try:
            events = list(provider.events_since(cursor.read_until - _OVERLAP))
        except ProviderError as error:
            logger.error("events_not_read provider=%s error=%s", provider.name, error)
            continue
        found += sum(
            _keep(one.id, one.kind, one.object_id, provider.name)
            for one in sorted(events, key=lambda one: (one.created_at, one.id))
            if provider_events.is_ours_to_see(one.kind)
        )
        latest = max((one.created_at for one in events), default=cursor.read_until)
        EventCursor.objects.filter(pk=cursor.pk, read_until__lt=latest).update(read_until=latest)
    return found


def _waiting(rows: QuerySet[Any], kind: str, reference: str, limit: int) -> list[tuple[Any, str, str]]:
    found = rows.order_by(F("checked_at").asc(nulls_first=True), "pk")[:limit]
    return [(row, kind, str(getattr(row, reference))) for row in found]


def _keep(event_id: str, kind: str, object_id: str, provider: str) -> bool:
    """Stores an event unless it is there; whether it was new."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO webhook_event"
            " (id, provider, kind, object_id, received_at, attempts, next_attempt_at, last_error)"
            " VALUES (%s, %s, %s, %s, now(), 0, now(), '') ON CONFLICT (id) DO NOTHING",
            [event_id[:120], provider, kind[:120], object_id[:120]],
        )
        return cursor.rowcount == 1


def _event(payload: bytes) -> dict[str, object]:
    try:
        event = json.loads(payload.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise WebhookRefused("This is no event.") from error
    if not isinstance(event, dict):
        raise WebhookRefused("This is no event.")
    return event


@transaction.atomic
def _claim(now: dt.datetime, limit: int) -> list[WebhookEvent]:
    due = WebhookEvent.objects.select_for_update(skip_locked=True).filter(applied_at=None, next_attempt_at__lte=now)
    # What a person has put away is nobody's work any more.
    due = due.exclude(pk__in=PutAway.objects.values("pk"))
    found = list(due.order_by("received_at", "id")[:limit])
    for event in found:
        event.attempts += 1
        event.next_attempt_at = now + _LEASE
        event.save(update_fields=["attempts", "next_attempt_at"])
    return found


def _apply(event: WebhookEvent, available: Mapping[str, PaymentProvider], now: dt.datetime) -> str | None:
    """Applies one event; what went wrong, or None. An event that is not about something of ours has nothing to say."""
    provider = available.get(event.provider)
    if provider is None:
        return f"This instance is not set up for {event.provider}."
    try:
        provider_events.apply(event.kind, event.object_id, provider=provider, now=now)
    except (ProviderError, StateMismatch) as error:
        return str(error) or type(error).__name__
    return None
