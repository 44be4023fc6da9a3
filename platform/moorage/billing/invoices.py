"""From a frozen statement to an invoice, and on to paid or void. Amounts are settled here once; statuses change
through states.py; what the provider has to hear goes into the outbox in the same transaction.

The subtotal is the statement's due amount, rounded once; tax is a part of the subtotal. An invoice of zero cents is
finalized with a number, paid at once, and never sent to a provider.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from moorage.accounts.models import Organization
from moorage.billing import billing_details, ledger, locks, owed, providers, rounding, states, taxes
from moorage.billing.errors import InvoiceChanged
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Invoice, InvoiceLine, InvoiceStatus, InvoiceTaxLine, OutboxMessage
from moorage.billing.models import Statement as FrozenStatement
from moorage.billing.policy import ReviewPolicy, SanityBounds, parking_reasons, review_reasons
from moorage.billing.statement import MINIMUM, Line, Statement, parse
from moorage.billing.tax import Taxed, TaxLine
from moorage.kernel.money import PICO_PER_CENT

ISSUE: Final = "invoice.issue"
VOID: Final = "invoice.void"
#: The meter of the line that takes off what credit has paid.
CREDIT: Final = "credit"
#: How long after its number an invoice is due.
DUE: Final = dt.timedelta(days=14)
_TRAILING: Final = dt.timedelta(days=366)
_OPEN_AT_CUSTOMER: Final = frozenset({InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE})


def review_policy() -> ReviewPolicy:
    """The policy of this instance."""
    return ReviewPolicy(
        above_cents=settings.MOORAGE_REVIEW_ABOVE_CENTS,
        first_invoice=settings.MOORAGE_REVIEW_FIRST_INVOICE,
    )


def sanity_bounds() -> SanityBounds:
    """What this instance takes for sane."""
    return SanityBounds(
        times=settings.MOORAGE_PARK_TIMES,
        floor_cents=settings.MOORAGE_PARK_FLOOR_CENTS,
        lines_most=settings.MOORAGE_PARK_LINES,
    )


@transaction.atomic
def draft(*, statement: FrozenStatement, now: dt.datetime, policy: ReviewPolicy | None = None) -> Invoice:
    """The invoice of a frozen statement: parked where it is strange, in review where policy asks, else finalized."""
    frozen = parse(statement.document)
    amounts = [line.amount_pico for line in frozen.lines]
    if frozen.credit_applied_pico:
        amounts.append(-frozen.credit_applied_pico)
    subtotal_cents, shares = rounding.to_cents(amounts)
    tax = _tax(statement.organization, subtotal_cents, statement.currency)
    is_first = not (
        Invoice.objects.filter(organization_id=statement.organization_id, total_cents__gt=0)
        .exclude(status=InvoiceStatus.VOID)
        .exists()
    )
    tax_cents = sum(line.cents for line in tax)
    invoice = Invoice.objects.create(
        organization_id=statement.organization_id,
        statement=statement,
        currency=statement.currency,
        subtotal_cents=subtotal_cents,
        tax_cents=tax_cents,
        total_cents=subtotal_cents + tax_cents,
        provider=providers.chosen(),
        created_at=now,
    )
    InvoiceLine.objects.bulk_create(_lines(invoice, frozen, shares))
    reasons = [
        *parking_reasons(
            sanity_bounds(),
            total_pico=frozen.total_pico,
            due_pico=frozen.due_pico,
            highest_before_pico=_highest_before(statement),
            line_count=len(frozen.lines),
            unpriced_count=len(frozen.unpriced),
            currency=invoice.currency,
        ),
        *review_reasons(
            policy or review_policy(), total_cents=invoice.total_cents, is_first=is_first, currency=invoice.currency
        ),
    ]
    if reasons:
        states.move(invoice, to=InvoiceStatus.IN_REVIEW, reason=" ".join(reasons))
    else:
        finalize(invoice=invoice, now=now, reason="No review was asked for.")
    return invoice


def describe(line: Line, period: str) -> str:
    """A line as the customer reads it."""
    if line.meter == MINIMUM:
        return f"Minimum commitment for {line.usage_month}, {line.scope}"
    meter = line.meter.replace("_", " ")
    of_what = f" ({line.scope})" if line.scope else ""
    tier = f" (tier {line.tier + 1})" if line.tiers else ""
    late = f" (used in {line.usage_month})" if line.usage_month != period else ""
    price = f"{line.price_text} per {line.price_unit}"
    return f"{line.served_name}: {line.quantity:,} {meter}{of_what} at {price}{tier}{late}"[:300]


@transaction.atomic
def finalize(*, invoice: Invoice, now: dt.datetime, reason: str, reviewed_by: str = "") -> None:
    """Gives the invoice its number, its tax, its buyer and its seller for good, posts tax and what rounding did, and
    asks the outbox to send it. Raises InvoiceChanged, also for an invoice below zero."""
    if invoice.subtotal_cents < 0:
        raise InvoiceChanged("An invoice of less than nothing cannot go out. Void it, and look at why it is so.")
    tax = _tax(invoice.organization, invoice.subtotal_cents, invoice.currency)
    tax_cents = sum(line.cents for line in tax)
    Invoice.objects.select_for_update().get(pk=invoice.pk)
    locks.wallet(invoice.organization_id)
    locks.number_invoices()
    number = (Invoice.objects.aggregate(last=Max("number"))["last"] or 0) + 1
    states.move(
        invoice,
        to=InvoiceStatus.FINALIZED,
        reason=reason,
        number=number,
        tax_cents=tax_cents,
        total_cents=invoice.subtotal_cents + tax_cents,
        buyer=billing_details.kept(billing_details.buyer_of(invoice.organization)),
        seller=billing_details.kept(billing_details.seller()),
        finalized_at=now,
        due_at=now + DUE,
        reviewed_by=reviewed_by[:80],
    )
    InvoiceTaxLine.objects.bulk_create(
        InvoiceTaxLine(
            invoice=invoice,
            position=position,
            name=line.name,
            basis_points=line.basis_points,
            amount_cents=line.cents,
        )
        for position, line in enumerate(tax)
    )
    rounded = invoice.subtotal_cents * PICO_PER_CENT - owed.exact_pico(invoice)
    _post(invoice, "rounding", now, {Account.RECEIVABLE: rounded, Account.ROUNDING: -rounded})
    taxed = tax_cents * PICO_PER_CENT
    _post(invoice, "tax", now, {Account.RECEIVABLE: taxed, Account.TAX: -taxed})
    if invoice.total_cents == 0:
        states.move(invoice, to=InvoiceStatus.PAID, reason="There is nothing to pay.", paid_at=now)
    else:
        _tell_provider(invoice, ISSUE, now)


@transaction.atomic
def settle_paid(*, invoice: Invoice, now: dt.datetime, reason: str) -> None:
    """The provider has the money: what was owed after credit notes. Raises InvoiceChanged."""
    was_given_up = invoice.status == InvoiceStatus.UNCOLLECTIBLE
    pico = owed.cents(invoice) * PICO_PER_CENT
    states.move(invoice, to=InvoiceStatus.PAID, reason=reason, paid_at=now)
    clearing = Account(f"{invoice.provider}_clearing")
    _post(invoice, "payment", now, {clearing: pico, Account.BAD_DEBT if was_given_up else Account.RECEIVABLE: -pico})


@transaction.atomic
def settle_from_credit(*, invoice: Invoice, now: dt.datetime) -> None:
    """The organization's credit has paid all that was owed; whoever calls has posted it. What went out is taken back
    at the provider, so that nobody pays it again. Raises InvoiceChanged."""
    states.move(invoice, to=InvoiceStatus.PAID, reason="Paid from credit.", paid_at=now)
    _tell_provider(invoice, VOID, now)


@transaction.atomic
def give_up(*, invoice: Invoice, now: dt.datetime, reason: str) -> None:
    """Nobody expects the money any more; a payment that comes after all is still taken. Raises InvoiceChanged."""
    pico = owed.cents(invoice) * PICO_PER_CENT
    states.move(invoice, to=InvoiceStatus.UNCOLLECTIBLE, reason=reason)
    _post(invoice, "uncollectible", now, {Account.BAD_DEBT: pico, Account.RECEIVABLE: -pico})


@transaction.atomic
def void(*, invoice: Invoice, now: dt.datetime, reason: str, is_void_at_provider: bool = False) -> None:
    """The invoice is not owed, as far as it was not credited before. Its statement stays as it is, and so does what
    credit has paid of it. Raises InvoiceChanged."""
    was = InvoiceStatus(invoice.status)
    states.move(invoice, to=InvoiceStatus.VOID, reason=reason)
    if was in _OPEN_AT_CUSTOMER:
        claimed_by = Account.BAD_DEBT if was is InvoiceStatus.UNCOLLECTIBLE else Account.RECEIVABLE
        _post(invoice, "void", now, owed.undone(owed.left_of(invoice), claimed_by=claimed_by))
        if not is_void_at_provider:
            _tell_provider(invoice, VOID, now)
    else:
        # Before a number was given nothing was rounded or taxed: what is taken back is the exact sum.
        pico = owed.exact_pico(invoice)
        _post(invoice, "void", now, {Account.ADJUSTMENT: pico, Account.RECEIVABLE: -pico})


def number_text(invoice: Invoice) -> str:
    """The number as it is printed: ``M-000042``; empty before it is finalized."""
    return f"M-{invoice.number:06d}" if invoice.number is not None else ""


def tax_text(name: str, basis_points: int) -> str:
    """``VAT 19%``, ``VAT 7.75%``."""
    whole, fraction = divmod(basis_points, 100)
    return f"{name} {whole}{f'.{fraction:02d}'.rstrip('0') if fraction else ''}%"


def _lines(invoice: Invoice, frozen: Statement, shares: Sequence[int]) -> list[InvoiceLine]:
    made = [
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
        for position, (line, cents) in enumerate(zip(frozen.lines, shares, strict=False))
    ]
    if frozen.credit_applied_pico:
        made.append(
            InvoiceLine(
                invoice=invoice,
                position=len(made),
                description="Credit applied",
                meter=CREDIT,
                quantity=1,
                amount_pico=-frozen.credit_applied_pico,
                amount_cents=shares[-1],
            )
        )
    return made


def _tax(organization: Organization, due_cents: int, currency: str) -> tuple[TaxLine, ...]:
    buyer = billing_details.buyer_of(organization)
    return taxes.chosen().lines(
        Taxed(
            organization_id=organization.pk,
            due_cents=due_cents,
            currency=currency,
            country=buyer.country,
            tax_id=buyer.tax_id,
        )
    )


def _highest_before(statement: FrozenStatement) -> int | None:
    earlier = FrozenStatement.objects.filter(
        organization_id=statement.organization_id,
        period_start__lt=statement.period_start,
        period_start__gte=statement.period_start - _TRAILING,
    )
    highest = earlier.aggregate(highest=Max("total_pico"))["highest"]
    return None if highest is None else int(highest)


def _post(invoice: Invoice, kind: str, now: dt.datetime, entries: Mapping[Account, int]) -> None:
    """One ledger transaction of the invoice; nothing where nothing moves."""
    moved = {account: pico for account, pico in entries.items() if pico}
    if not moved:
        return
    ledger.post(
        kind=kind,
        idempotency_key=f"invoice:{invoice.id}:{kind}",
        entries=[
            Entry(account=account, organization_id=invoice.organization_id, pico=pico)
            for account, pico in moved.items()
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
