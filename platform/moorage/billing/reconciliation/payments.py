"""R6: the money that the provider has for us is what its clearing account says.

The provider is read through its port, outside any transaction. What happened within the last hour may be on its way, in
either direction, and is neither expected nor missed.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from django.db.models import Sum

from moorage.billing import invoice_refunds
from moorage.billing import invoices as billing_invoices
from moorage.billing.ledger import Account
from moorage.billing.models import LedgerEntry, ProviderCustomer
from moorage.billing.payments import (
    Capability,
    PaymentProvider,
    PaymentStatus,
    ProviderDisputeStatus,
    ProviderRefundStatus,
)
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.kernel.currencies import USD
from moorage.kernel.money import PICO_PER_CENT, Money

#: A webhook may be on its way.
ON_ITS_WAY: Final = dt.timedelta(hours=1)
#: An administrator books it from the finding.
REFUND_UNBOOKED: Final = "refund_unbooked"
#: All that ever moved.
_EVER: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Money that moved at the provider: a payment above zero, a refund or a disputed payment below."""

    customer_reference: str
    reference: str
    cents: int
    at: dt.datetime
    #: False: it may yet be undone, and either side may count it.
    is_settled: bool = True
    currency: str = USD


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What the clearing account of one organization has, and who that is at the provider."""

    organization_id: str
    customer_reference: str
    pico: int
    #: What the organization pays in.
    currency: str = USD


def compare_payments(
    moved: Iterable[Moved], cleared: Iterable[Cleared], *, now: dt.datetime
) -> tuple[tuple[Finding, ...], int]:
    """Organizations whose clearing account is not what the provider has for us; and how many movements are of
    customers that are not ours (several businesses may share one account)."""
    ours = {one.customer_reference: one for one in cleared}
    settled = dict.fromkeys(ours, 0)
    least, most = dict.fromkeys(ours, 0), dict.fromkeys(ours, 0)
    strangers = 0
    found = []
    for one in moved:
        if one.customer_reference not in ours:
            strangers += 1
        elif one.currency != ours[one.customer_reference].currency:
            found.append(_of_another_currency(one, ours[one.customer_reference]))
        elif one.is_settled and now - one.at > ON_ITS_WAY:
            settled[one.customer_reference] += one.cents
        elif one.cents < 0:
            least[one.customer_reference] += one.cents
        else:
            most[one.customer_reference] += one.cents
    for customer, account in ours.items():
        low, high = settled[customer] + least[customer], settled[customer] + most[customer]
        if not low * PICO_PER_CENT <= account.pico <= high * PICO_PER_CENT:
            found.append(
                Finding(
                    code="clearing_differs",
                    sentence=f"The provider has {_text(settled[customer], account.currency)} for us, the ledger"
                    f" {Money(account.pico, account.currency)}.",
                    subject=account.customer_reference,
                    organization_id=account.organization_id,
                )
            )
    return tuple(found), strangers


def payments(window: Window, *, providers: Mapping[str, PaymentProvider]) -> Result:
    """R6 over all that ever moved. Raises ProviderError."""
    findings: list[Finding] = []
    compared = strangers = 0
    explained: list[Finding] = []
    for provider in providers.values():
        cleared = _cleared(provider.name)
        if not cleared:
            continue
        moved = list(_moved(provider))
        found, foreign = compare_payments(moved, cleared, now=window.now)
        findings += found
        for organization_id in dict.fromkeys(one.organization_id for one in found):
            explained += _refunds(organization_id, provider)
        compared += len(moved) + len(cleared)
        strangers += foreign
    note = f"{strangers} payments, refunds or disputes are of customers that are not ours." if strangers else ""
    findings = [*explained, *findings]
    return Result(compared=compared, findings=tuple(findings[:KEPT_MOST]), finding_count=len(findings), note=note)


def _refunds(organization_id: str, provider: PaymentProvider) -> Iterator[Finding]:
    """Refunds of invoices' payments that nobody has booked: why a clearing account may have more than there is."""
    if Capability.REFUND not in provider.capabilities:
        return
    for one in invoice_refunds.unbooked_of(organization_id=organization_id, provider=provider):
        number = billing_invoices.number_text(one.invoice)
        gone = _text(one.cents, one.invoice.currency)
        yield Finding(
            code=REFUND_UNBOOKED,
            sentence=f"Of invoice {number}, {gone} went back at the provider, and nobody has booked it.",
            subject=", ".join(one.references)[:200],
            organization_id=one.invoice.organization_id,
            invoice_id=one.invoice.pk,
        )


def _moved(provider: PaymentProvider) -> Iterator[Moved]:
    customers: dict[str, str] = {}
    for payment in provider.payments_since(_EVER):
        customers[payment.reference] = payment.customer_reference
        if payment.status is PaymentStatus.PAID:
            yield Moved(
                customer_reference=payment.customer_reference,
                reference=payment.reference,
                cents=payment.paid_cents,
                at=payment.created_at,
                currency=payment.currency,
            )
    if Capability.REFUND in provider.capabilities:
        for refund in provider.refunds_since(_EVER):
            if refund.status is not ProviderRefundStatus.FAILED:
                yield Moved(
                    customer_reference=customers.get(refund.payment_reference, ""),
                    reference=refund.reference,
                    cents=-refund.cents,
                    at=refund.created_at,
                    is_settled=refund.status is ProviderRefundStatus.SUCCEEDED,
                    currency=refund.currency,
                )
    if Capability.DISPUTE in provider.capabilities:
        for dispute in provider.disputes_since(_EVER):
            if dispute.status is not ProviderDisputeStatus.WON:
                yield Moved(
                    customer_reference=customers.get(dispute.payment_reference, ""),
                    reference=dispute.reference,
                    cents=-dispute.cents,
                    at=dispute.created_at,
                    is_settled=dispute.status is ProviderDisputeStatus.LOST,
                    currency=dispute.currency,
                )


def _cleared(provider: str) -> list[Cleared]:
    kind = f"{provider}_clearing"
    if kind not in set(Account):
        return []
    sums = dict(
        LedgerEntry.objects.filter(account__kind=kind)
        .order_by()
        .values_list("account__organization_id")
        .annotate(pico=Sum("amount_pico"))
    )
    customers = (
        ProviderCustomer.objects.filter(provider=provider).select_related("organization").order_by("organization_id")
    )
    return [
        Cleared(
            organization_id=customer.organization_id,
            customer_reference=customer.reference,
            pico=int(sums.get(customer.organization_id) or 0),
            currency=customer.organization.currency,
        )
        for customer in customers
    ]


def _of_another_currency(one: Moved, account: Cleared) -> Finding:
    return Finding(
        code="currency_differs",
        sentence=f"{_text(one.cents, one.currency)} moved for whoever pays in {account.currency}.",
        subject=one.reference,
        organization_id=account.organization_id,
    )


def _text(cents: int, currency: str) -> str:
    return str(Money(cents * PICO_PER_CENT, currency))
