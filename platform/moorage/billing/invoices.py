"""From a frozen statement to an invoice, and on to paid or void. Amounts are settled here once; statuses change
through states.py; what the provider has to hear goes into the outbox in the same transaction.

An invoice of zero cents is finalized with a number, paid at once, and never sent to a provider.
"""

import datetime as dt
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from moorage.billing import ledger, locks, prices, providers, rounding, states
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Invoice, InvoiceLine, InvoiceStatus, OutboxMessage, Statement
from moorage.billing.policy import ReviewPolicy, review_reasons
from moorage.billing.statement import Line, parse
from moorage.kernel.money import PICO_PER_CENT

ISSUE: Final = "invoice.issue"
VOID: Final = "invoice.void"
_OPEN_AT_CUSTOMER: Final = frozenset({InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE})


def review_policy() -> ReviewPolicy:
    """The policy of this instance."""
    return ReviewPolicy(
        above_cents=settings.MOORAGE_REVIEW_ABOVE_CENTS,
        first_invoice=settings.MOORAGE_REVIEW_FIRST_INVOICE,
    )


@transaction.atomic
def draft(*, statement: Statement, now: dt.datetime, policy: ReviewPolicy | None = None) -> Invoice:
    """The invoice of a frozen statement: in review where policy asks, else finalized at once."""
    frozen = parse(statement.document)
    lines = frozen.lines
    total_cents, shares = rounding.to_cents([line.amount_pico for line in lines])
    is_first = not (
        Invoice.objects.filter(organization_id=statement.organization_id, total_cents__gt=0)
        .exclude(status=InvoiceStatus.VOID)
        .exists()
    )
    invoice = Invoice.objects.create(
        organization_id=statement.organization_id,
        statement=statement,
        currency=statement.currency,
        total_cents=total_cents,
        provider=providers.chosen(),
        created_at=now,
    )
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=invoice,
            position=position,
            description=describe(line, str(frozen.period)),
            deployment_id=line.deployment_id,
            meter=line.meter,
            quantity=line.quantity,
            amount_pico=line.amount_pico,
            amount_cents=cents,
        )
        for position, (line, cents) in enumerate(zip(lines, shares, strict=True))
    )
    reasons = review_reasons(policy or review_policy(), total_cents=total_cents, is_first=is_first)
    if reasons:
        states.move(invoice, to=InvoiceStatus.IN_REVIEW, reason=" ".join(reasons))
    else:
        finalize(invoice=invoice, now=now, reason="No review was asked for.")
    return invoice


def describe(line: Line, period: str) -> str:
    """A line as the customer reads it."""
    meter = line.meter.replace("_", " ")
    price = f"{prices.text(line.meter, line.pico_per_unit)} per {prices.unit(line.meter)}"
    late = f" (used in {line.usage_month})" if line.usage_month != period else ""
    return f"{line.served_name}: {line.quantity:,} {meter} at {price}{late}"[:300]


@transaction.atomic
def finalize(*, invoice: Invoice, now: dt.datetime, reason: str, reviewed_by: str = "") -> None:
    """Gives the invoice its number, posts what rounding did, and asks the outbox to send it. Raises InvoiceChanged."""
    locks.number_invoices()
    number = (Invoice.objects.aggregate(last=Max("number"))["last"] or 0) + 1
    states.move(
        invoice,
        to=InvoiceStatus.FINALIZED,
        reason=reason,
        number=number,
        finalized_at=now,
        reviewed_by=reviewed_by[:80],
    )
    rounded = invoice.total_cents * PICO_PER_CENT - _exact(invoice)
    if rounded:
        _post(invoice, "rounding", now, (Account.RECEIVABLE, rounded), (Account.ROUNDING, -rounded))
    if invoice.total_cents == 0:
        states.move(invoice, to=InvoiceStatus.PAID, reason="There is nothing to pay.", paid_at=now)
    else:
        _tell_provider(invoice, ISSUE, now)


@transaction.atomic
def settle_paid(*, invoice: Invoice, now: dt.datetime, reason: str) -> None:
    """The provider has the money. Raises InvoiceChanged."""
    was_given_up = invoice.status == InvoiceStatus.UNCOLLECTIBLE
    states.move(invoice, to=InvoiceStatus.PAID, reason=reason, paid_at=now)
    pico = invoice.total_cents * PICO_PER_CENT
    clearing = Account(f"{invoice.provider}_clearing")
    _post(invoice, "payment", now, (clearing, pico), (Account.BAD_DEBT if was_given_up else Account.RECEIVABLE, -pico))


@transaction.atomic
def give_up(*, invoice: Invoice, now: dt.datetime, reason: str) -> None:
    """Nobody expects the money any more; a payment that comes after all is still taken. Raises InvoiceChanged."""
    states.move(invoice, to=InvoiceStatus.UNCOLLECTIBLE, reason=reason)
    pico = invoice.total_cents * PICO_PER_CENT
    _post(invoice, "uncollectible", now, (Account.BAD_DEBT, pico), (Account.RECEIVABLE, -pico))


@transaction.atomic
def void(*, invoice: Invoice, now: dt.datetime, reason: str, is_void_at_provider: bool = False) -> None:
    """The invoice is not owed. Its statement stays as it is. Raises InvoiceChanged."""
    was = InvoiceStatus(invoice.status)
    states.move(invoice, to=InvoiceStatus.VOID, reason=reason)
    # Before a number was given nothing was rounded: what is taken back is the exact sum of the statement.
    pico = invoice.total_cents * PICO_PER_CENT if was in _OPEN_AT_CUSTOMER else _exact(invoice)
    given_up = was is InvoiceStatus.UNCOLLECTIBLE
    if pico:
        _post(
            invoice,
            "void",
            now,
            (Account.ADJUSTMENT, pico),
            (Account.BAD_DEBT if given_up else Account.RECEIVABLE, -pico),
        )
    if was in _OPEN_AT_CUSTOMER and not is_void_at_provider:
        _tell_provider(invoice, VOID, now)


def number_text(invoice: Invoice) -> str:
    """The number as it is printed: ``M-000042``; empty before it is finalized."""
    return f"M-{invoice.number:06d}" if invoice.number is not None else ""


def _exact(invoice: Invoice) -> int:
    return int(Statement.objects.values_list("total_pico", flat=True).get(pk=invoice.statement_id))


def _post(
    invoice: Invoice, kind: str, now: dt.datetime, debit: tuple[Account, int], credit: tuple[Account, int]
) -> None:
    ledger.post(
        kind=kind,
        idempotency_key=f"invoice:{invoice.id}:{kind}",
        entries=[
            Entry(account=account, organization_id=invoice.organization_id, pico=pico)
            for account, pico in (debit, credit)
        ],
        effective_at=now,
        currency=invoice.currency,
    )


def _tell_provider(invoice: Invoice, topic: str, now: dt.datetime) -> None:
    OutboxMessage.objects.create(
        topic=topic,
        subject_id=invoice.id,
        idempotency_key=f"{topic}:{invoice.id}",
        created_at=now,
        next_attempt_at=now,
    )
