"""Tells the payment provider what was decided, until it has understood.

A message is written beside the change it follows from and carries the idempotency key of every attempt. Each attempt
is committed before the call, so that a crash in the middle is one attempt that is made again, with the same key; the
call itself is outside any transaction. What the provider refuses for good is parked for a person.
"""

import dataclasses
import datetime as dt
import logging
from collections.abc import Mapping
from typing import Final

from django.db import connection, transaction

from moorage.accounts.models import Membership, Role
from moorage.billing import invoices
from moorage.billing.models import Invoice, InvoiceLine, InvoiceStatus, OutboxMessage, ProviderCustomer
from moorage.billing.payments import (
    Customer,
    DocumentLine,
    InvoiceDocument,
    Issued,
    PaymentProvider,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
)
from moorage.kernel.clock import Period

logger = logging.getLogger(__name__)

DUE_DAYS: Final = 14
#: Longer than any attempt takes: nobody else takes the message meanwhile.
_LEASE: Final = dt.timedelta(minutes=10)
_FIRST_PAUSE: Final = dt.timedelta(seconds=30)
_LONGEST_PAUSE: Final = dt.timedelta(hours=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How many messages were understood, put off, and parked."""

    sent: int = 0
    later: int = 0
    parked: int = 0


class _NotYet(Exception):
    """Another message has to be sent before."""


def send_due(*, providers: Mapping[str, PaymentProvider], now: dt.datetime, limit: int = 50) -> Sent:
    """One attempt for every message that is due. Never call it inside a transaction."""
    assert not connection.in_atomic_block, "a network call holds no locks"
    sent = later = parked = 0
    for message in _claim(now, limit):
        try:
            _send(message, providers)
        except (ProviderUnavailable, _NotYet) as error:
            later += 1
            _put_off(message, now, str(error))
        except ProviderError as error:
            parked += 1
            _park(message, now, str(error))
        else:
            sent += 1
            OutboxMessage.objects.filter(pk=message.pk, sent_at=None).update(sent_at=now, last_error="")
    return Sent(sent=sent, later=later, parked=parked)


def pause_after(attempts: int) -> dt.timedelta:
    """How long to wait after the attempt with this number: 30 s, doubled each time, at most an hour. Pure."""
    return min(_FIRST_PAUSE * 2 ** min(max(attempts - 1, 0), 20), _LONGEST_PAUSE)


@transaction.atomic
def _claim(now: dt.datetime, limit: int) -> list[OutboxMessage]:
    due = OutboxMessage.objects.select_for_update(skip_locked=True).filter(
        sent_at=None, parked_at=None, next_attempt_at__lte=now
    )
    found = list(due.order_by("created_at", "id")[:limit])
    for message in found:
        message.attempts += 1
        message.next_attempt_at = now + _LEASE
        message.save(update_fields=["attempts", "next_attempt_at"])
    return found


def _send(message: OutboxMessage, providers: Mapping[str, PaymentProvider]) -> None:
    invoice = Invoice.objects.select_related("statement", "organization").get(pk=message.subject_id)
    provider = providers.get(invoice.provider)
    if provider is None:
        raise ProviderUnavailable(f"This instance is not set up for {invoice.provider}.")
    if message.topic == invoices.ISSUE:
        _issue(message, invoice, provider)
    elif message.topic == invoices.VOID:
        _void(message, invoice, provider)
    else:
        raise ProviderRefused(f"Nobody knows the topic {message.topic}.")


def _issue(message: OutboxMessage, invoice: Invoice, provider: PaymentProvider) -> None:
    if invoice.status != InvoiceStatus.FINALIZED:
        return  # it was voided before anybody outside heard of it
    issued: Issued = provider.issue_invoice(
        _document(invoice, _customer_reference(invoice, provider)), idempotency_key=message.idempotency_key
    )
    # A webhook may have been faster; what it has stored is the same.
    Invoice.objects.filter(pk=invoice.pk).update(
        provider_reference=issued.reference[:120], payment_url=issued.payment_url[:500]
    )


def _void(message: OutboxMessage, invoice: Invoice, provider: PaymentProvider) -> None:
    if not invoice.provider_reference:
        issuing = OutboxMessage.objects.filter(topic=invoices.ISSUE, subject_id=invoice.pk, sent_at=None)
        if issuing.exists():
            raise _NotYet("The invoice is still being issued.")
        return
    provider.void_invoice(invoice.provider_reference, idempotency_key=message.idempotency_key)


def _customer_reference(invoice: Invoice, provider: PaymentProvider) -> str:
    known = ProviderCustomer.objects.filter(organization_id=invoice.organization_id, provider=invoice.provider)
    reference = known.values_list("reference", flat=True).first()
    if reference is None:
        owners = Membership.objects.filter(organization_id=invoice.organization_id, role=Role.OWNER)
        email = owners.order_by("created_at", "id").values_list("user__email", flat=True).first() or ""
        made = provider.ensure_customer(
            Customer(organization_id=invoice.organization_id, name=invoice.organization.name, email=email),
            idempotency_key=f"customer:{invoice.organization_id}",
        )
        ProviderCustomer.objects.bulk_create(
            [ProviderCustomer(organization_id=invoice.organization_id, provider=invoice.provider, reference=made)],
            ignore_conflicts=True,
        )
        reference = known.values_list("reference", flat=True).get()
    return reference


def _document(invoice: Invoice, customer_reference: str) -> InvoiceDocument:
    lines = InvoiceLine.objects.filter(invoice=invoice).order_by("position")
    return InvoiceDocument(
        invoice_id=invoice.id,
        number=invoices.number_text(invoice),
        customer_reference=customer_reference,
        currency=invoice.currency,
        total_cents=invoice.total_cents,
        lines=tuple(DocumentLine(description=line.description, amount_cents=line.amount_cents) for line in lines),
        statement_sha256=invoice.statement.sha256,
        period=str(Period.containing(invoice.statement.period_start)),
        due_days=DUE_DAYS,
    )


def _put_off(message: OutboxMessage, now: dt.datetime, error: str) -> None:
    logger.warning("outbox_put_off message=%s attempts=%d error=%s", message.id, message.attempts, error)
    OutboxMessage.objects.filter(pk=message.pk, sent_at=None).update(
        next_attempt_at=now + pause_after(message.attempts), last_error=error[:2000]
    )


def _park(message: OutboxMessage, now: dt.datetime, error: str) -> None:
    logger.error("outbox_parked message=%s topic=%s error=%s", message.id, message.topic, error)
    OutboxMessage.objects.filter(pk=message.pk, sent_at=None).update(parked_at=now, last_error=error[:2000])
