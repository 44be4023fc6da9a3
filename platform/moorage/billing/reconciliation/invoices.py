"""R5: the provider asks for exactly what the frozen statement comes to, and its status is ours.

The provider is read through its port, outside any transaction. What happened within the last hour may be on its way.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from django.db.models import Q, Sum

from moorage.billing import invoices as billing_invoices
from moorage.billing import settlement
from moorage.billing.models import Invoice, InvoiceStatus
from moorage.billing.payments import PaymentProvider, ProviderInvoice, ProviderStatus, ReferenceUnknown
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.kernel.money import PICO_PER_CENT, Money

#: A webhook may be on its way.
ON_ITS_WAY: Final = dt.timedelta(hours=1)
#: Invoices that are looked at in one run.
INVOICES_MOST: Final = 500


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One of our invoices with what the provider has of it."""

    invoice_id: str
    organization_id: str
    number: str
    status: InvoiceStatus
    currency: str
    total_cents: int
    tax_cents: int
    #: What the frozen statement leaves to pay, rounded to cents by the published rule.
    statement_cents: int
    line_cents: int
    statement_sha256: str
    settled_at: dt.datetime
    #: None: the provider has no such invoice.
    theirs: ProviderInvoice | None
    #: The organization's credit has paid it: it was taken back at the provider.
    is_from_credit: bool = False


def compare_invoices(asked: Iterable[Asked], *, now: dt.datetime) -> tuple[Finding, ...]:
    """Invoices that do not ask for what the statement comes to."""
    found = []
    for one in asked:
        for code, sentence in _judge_invoice(one, now):
            found.append(
                Finding(
                    code=code,
                    sentence=sentence,
                    subject=one.number or one.invoice_id,
                    organization_id=one.organization_id,
                    invoice_id=one.invoice_id,
                )
            )
    return tuple(found)


_THEIRS: Final = {
    InvoiceStatus.FINALIZED: {ProviderStatus.OPEN},
    InvoiceStatus.PAID: {ProviderStatus.PAID},
    InvoiceStatus.VOID: {ProviderStatus.VOID},
    InvoiceStatus.UNCOLLECTIBLE: {ProviderStatus.OPEN, ProviderStatus.UNCOLLECTIBLE},
}


def _judge_invoice(one: Asked, now: dt.datetime) -> Iterator[tuple[str, str]]:
    if one.statement_cents + one.tax_cents != one.total_cents:
        yield (
            "statement_differs",
            f"The frozen statement comes to {_text(one.statement_cents, one)}, the invoice without tax to"
            f" {_text(one.total_cents - one.tax_cents, one)}.",
        )
    if one.line_cents + one.tax_cents != one.total_cents:
        yield "lines_differ", f"Its lines come to {_text(one.line_cents, one)} before tax, its total says otherwise."
    theirs = one.theirs
    if theirs is None:
        yield "invoice_missing", "The provider has no such invoice."
        return
    if theirs.total_cents != one.total_cents or theirs.currency != one.currency:
        yield (
            "total_differs",
            f"The provider asks for {_text(theirs.total_cents, theirs)}, we for {_text(one.total_cents, one)}.",
        )
    if theirs.statement_sha256 != one.statement_sha256:
        yield "statement_hash_differs", "The provider's invoice names another statement."
    is_old = now - one.settled_at > ON_ITS_WAY
    fitting = {ProviderStatus.VOID} if one.is_from_credit else _THEIRS.get(one.status, set(ProviderStatus))
    if is_old and theirs.status not in fitting:
        yield "status_differs", f"It is {theirs.status} at the provider, and {one.status.label.lower()} here."


def invoices(window: Window, *, providers: Mapping[str, PaymentProvider]) -> Result:
    """R5 over what is open or has changed since the last run. Raises ProviderUnavailable."""
    lately = window.since - ON_ITS_WAY
    rows = (
        Invoice.objects.exclude(provider_reference="")
        .filter(Q(status=InvoiceStatus.FINALIZED) | Q(finalized_at__gte=lately) | Q(paid_at__gte=lately))
        .select_related("statement", "organization")
        .annotate(line_sum=Sum("lines__amount_cents"))
        .order_by("-finalized_at")[:INVOICES_MOST]
    )
    facts, unasked = [], 0
    for invoice in rows:
        provider = providers.get(invoice.provider)
        if provider is None:
            unasked += 1
            continue
        facts.append(_asked(invoice, int(invoice.line_sum or 0), provider))
    findings = compare_invoices(facts, now=window.now)
    note = f"{unasked} invoices are with a provider that this instance is not set up for." if unasked else ""
    return Result(compared=len(facts), findings=findings[:KEPT_MOST], finding_count=len(findings), note=note)


def _asked(invoice: Invoice, line_cents: int, provider: PaymentProvider) -> Asked:
    theirs: ProviderInvoice | None
    try:
        theirs = provider.fetch_invoice(invoice.provider_reference)
    except ReferenceUnknown:
        theirs = None
    assert invoice.finalized_at is not None, "only what has a number is at a provider"
    return Asked(
        invoice_id=invoice.pk,
        organization_id=invoice.organization_id,
        number=billing_invoices.number_text(invoice),
        status=InvoiceStatus(invoice.status),
        currency=invoice.currency,
        total_cents=invoice.total_cents,
        tax_cents=invoice.tax_cents,
        statement_cents=Money(invoice.statement.due_pico).to_cents(),
        line_cents=line_cents,
        statement_sha256=invoice.statement.sha256,
        settled_at=max(at for at in (invoice.finalized_at, invoice.paid_at) if at is not None),
        theirs=theirs,
        is_from_credit=settlement.is_from_credit(invoice.pk),
    )


def _text(cents: int, one: Asked | ProviderInvoice) -> str:
    return str(Money(cents * PICO_PER_CENT, one.currency))
