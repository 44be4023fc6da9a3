"""The mails that dunning sends, through the outbox: once each, tried again while the mail server is away."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from django.conf import settings
from django.core.mail import send_mail

from moorage.accounts.models import Membership, Role
from moorage.billing import invoices
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage
from moorage.billing.payments import PaymentProvider, ProviderUnavailable
from moorage.kernel.money import PICO_PER_CENT, Money

REMINDER: Final = "reminder"


def key_of(*, invoice_id: str, stage: int) -> str:
    """The message's idempotency key: a stage of an invoice is written once."""
    return f"{REMINDER}:{invoice_id}:{stage}"


def remind(message: OutboxMessage, providers: Mapping[str, PaymentProvider], now: dt.datetime) -> None:  # noqa: ARG001
    """Mails whoever pays, unless it was paid meanwhile."""
    invoice = Invoice.objects.select_related("organization").get(pk=message.subject_id)
    if invoice.status != InvoiceStatus.FINALIZED:
        return
    payers = Membership.objects.filter(organization=invoice.organization, role__in=[Role.OWNER, Role.BILLING])
    number, total = invoices.number_text(invoice), Money(invoice.total_cents * PICO_PER_CENT, invoice.currency)
    page = f"{settings.MOORAGE_CONSOLE_URL}/{invoice.organization.slug}/invoices/{invoice.id}"
    try:
        send_mail(
            subject=f"Invoice {number} of {total} waits for payment",
            message=(
                f"Invoice {number} of {invoice.organization.name}, {total}, is not paid yet.\n\n"
                f"Pay it here: {invoice.payment_url or page}\n\n"
                "An organization whose invoices stay unpaid is suspended: its endpoints stop answering until it pays.\n"
                "If you have paid in the last days, there is nothing to do.\n"
            ),
            from_email=None,
            recipient_list=sorted(payers.filter(user__is_active=True).values_list("user__email", flat=True)),
        )
    except OSError as error:  # smtplib's errors are OSErrors
        raise ProviderUnavailable(f"The mail server did not take it: {type(error).__name__}") from error
