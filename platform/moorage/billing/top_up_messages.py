"""What the outbox sends about top-ups and refunds."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from django.conf import settings

from moorage.billing import customers, refunds, topup_state
from moorage.billing.models import OutboxMessage, Refund, RefundStatus, TopUp, TopUpStatus
from moorage.billing.payments import (
    PaymentProvider,
    ProviderRefused,
    ProviderUnavailable,
    RefundDocument,
    TopUpDocument,
)

TOP_UP: Final = "top_up"
CHARGE_SAVED: Final = "charge_saved"
REFUND: Final = refunds.REFUND
Providers = Mapping[str, PaymentProvider]


def start(message: OutboxMessage, providers: Providers, now: dt.datetime) -> None:  # noqa: ARG001
    """Asks for the page on which a top-up is paid."""
    top_up = _top_up(message)
    if top_up.status != TopUpStatus.STARTED or top_up.checkout_reference:
        return
    provider = provider_named(top_up.provider, providers)
    try:
        page = provider.start_top_up(_document(top_up, provider), idempotency_key=message.idempotency_key)
    except ProviderRefused as refused:
        topup_state.fail(top_up, reason=str(refused))
        raise
    TopUp.objects.filter(pk=top_up.pk).update(checkout_reference=page.reference[:120], payment_url=page.url[:2000])


def charge(message: OutboxMessage, providers: Providers, now: dt.datetime) -> None:
    """Takes a top-up from the saved method."""
    top_up = _top_up(message)
    if top_up.status != TopUpStatus.STARTED:
        return  # it failed, or was paid: nobody is charged by a message that comes again
    provider = provider_named(top_up.provider, providers)
    try:
        payment = provider.charge_saved(_document(top_up, provider), idempotency_key=message.idempotency_key)
    except ProviderRefused as refused:
        topup_state.fail(top_up, reason=str(refused))
        raise
    topup_state.apply(payment, provider=provider.name, now=now)


def refund(message: OutboxMessage, providers: Providers, now: dt.datetime) -> None:
    """Pays unused credit back."""
    ours = Refund.objects.select_related("top_up").get(pk=message.subject_id)
    if ours.status != RefundStatus.PENDING or ours.reference:
        return
    provider = provider_named(ours.provider, providers)
    theirs = provider.refund(
        RefundDocument(
            refund_id=ours.id,
            payment_reference=ours.top_up.payment_reference,
            currency=ours.currency,
            cents=ours.cents,
        ),
        idempotency_key=message.idempotency_key,
    )
    refunds.apply(theirs, provider=provider.name, now=now)


def provider_named(name: str, providers: Providers) -> PaymentProvider:
    """The provider with this name. Raises ProviderUnavailable where this instance is not set up for it."""
    found = providers.get(name)
    if found is None:
        raise ProviderUnavailable(f"This instance is not set up for {name}.")
    return found


def _top_up(message: OutboxMessage) -> TopUp:
    return TopUp.objects.select_related("organization").get(pk=message.subject_id)


def _document(top_up: TopUp, provider: PaymentProvider) -> TopUpDocument:
    page = f"{settings.MOORAGE_CONSOLE_URL}/{top_up.organization.slug}/top-ups/{top_up.id}"
    return TopUpDocument(
        top_up_id=top_up.id,
        customer_reference=customers.reference_of(organization=top_up.organization, provider=provider),
        currency=top_up.currency,
        cents=top_up.cents,
        asked_at=top_up.created_at,
        return_url=page,
        cancel_url=f"{page}?cancelled=yes",
    )
