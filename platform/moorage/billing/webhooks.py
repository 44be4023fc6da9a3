"""What the payment provider tells us: verified, kept once, answered at once, applied later from the present state.

An event's content is used for nothing but its id, kind and object id: applying fetches the object again.
"""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from django.conf import settings
from django.db import transaction

from moorage.billing import outbox, provider_state, providers, signatures
from moorage.billing.errors import WebhookRefused, WebhookTooLarge
from moorage.billing.models import Invoice, InvoiceStatus, WebhookEvent
from moorage.billing.payments import PaymentProvider, ProviderError, ProviderInvoice, ReferenceUnknown
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import clock

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 256 * 1024
PROVIDER: Final = "stripe"
#: A webhook may be lost: invoices that wait for money are asked for as often as this.
_ASK_EVERY: Final = dt.timedelta(minutes=10)
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
    before = WebhookEvent.objects.filter(pk=event_id).exists()
    WebhookEvent.objects.bulk_create(
        [
            WebhookEvent(
                id=event_id,
                provider=PROVIDER,
                kind=kind[:120],
                object_id=object_id[:120] if isinstance(object_id, str) else "",
            )
        ],
        ignore_conflicts=True,
    )
    return not before


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
    """Asks the providers for invoices that wait for money and were not heard of lately; how many were asked for."""
    waiting = Invoice.objects.filter(status__in=[InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE])
    stale = waiting.exclude(provider_reference="").exclude(checked_at__gt=now - _ASK_EVERY)
    asked = 0
    for invoice in stale.order_by("checked_at", "id")[:limit]:
        provider = available.get(invoice.provider)
        if provider is None:
            continue
        asked += 1
        Invoice.objects.filter(pk=invoice.pk).update(checked_at=now)
        try:
            provider_state.apply(provider.fetch_invoice(invoice.provider_reference), provider=invoice.provider, now=now)
        except (ProviderError, StateMismatch) as error:
            logger.error("invoice_check_failed invoice=%s error=%s", invoice.id, error)
    return asked


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
    found = list(due.order_by("received_at", "id")[:limit])
    for event in found:
        event.attempts += 1
        event.next_attempt_at = now + _LEASE
        event.save(update_fields=["attempts", "next_attempt_at"])
    return found


def _apply(event: WebhookEvent, available: Mapping[str, PaymentProvider], now: dt.datetime) -> str | None:
    """Applies one event; what went wrong, or None. An event that is not about an invoice of ours has nothing to say."""
    if not event.kind.startswith("invoice.") or not event.object_id:
        return None
    provider = available.get(event.provider)
    if provider is None:
        return f"This instance is not set up for {event.provider}."
    try:
        theirs: ProviderInvoice = provider.fetch_invoice(event.object_id)
        provider_state.apply(theirs, provider=event.provider, now=now)
    except ReferenceUnknown:
        return None  # deleted drafts and other people's invoices
    except (ProviderError, StateMismatch) as error:
        return str(error) or type(error).__name__
    return None
