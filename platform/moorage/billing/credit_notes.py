"""Credit notes: what an organization need not pay after all, or gets back. An invoice never changes; a note with a
number of its own says what is taken back of it, and the ledger mirrors what the invoice had posted.

What was still owed is owed no more. What was paid already goes back the way it came, or becomes credit in the wallet.

The provider hears of it through the outbox, topic ``credit_note``, ``subject_id`` the note's id, with this body (cents
are whole, above or equal to zero, and ``total_cents = owed_cents + refund_cents + wallet_cents``)::

    {"credit_note_id": "cn_…", "number": "C-000001",
     "invoice_id": "inv_…", "invoice_number": "M-000042", "currency": "USD",
     "subtotal_cents": 1000, "tax_cents": 190, "total_cents": 1190,
     "owed_cents": 1190,    # comes off what is still to be paid of the invoice
     "refund_cents": 0,     # was paid through the provider, which has to give it back: DR customer_receivable /
                            # CR <provider>_clearing is posted when it has
     "wallet_cents": 0,     # was paid and is credit in the wallet now: nothing moves at the provider
     "reason": "…",
     "lines": [{"description": "…", "amount_cents": 1000}, …]}    # tax lines included: add up to total_cents

Where the provider keeps it goes into ``CreditNote.provider_reference``, the only column that may be written later.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.db.models import Max, QuerySet, Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import credit_rules, invoices, ledger, locks, owed, settlement, states, wallets
from moorage.billing.credit_rules import Credit, LineLeft, Part, TaxLeft
from moorage.billing.errors import CreditNoteNotFound, NothingToCredit, ReasonMissing
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import (
    CreditNote,
    CreditNoteLine,
    CreditNoteTaxLine,
    GrantKind,
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    InvoiceTaxLine,
    OutboxMessage,
)
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT

TOPIC: Final = "credit_note"
_CREDITABLE: Final = frozenset({InvoiceStatus.FINALIZED, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE})


@transaction.atomic
def issue(
    *,
    invoice: Invoice,
    reason: str,
    by: Actor,
    parts: Sequence[Part] | None = None,
    amount_cents: int | None = None,
    total_cents: int | None = None,
    is_to_wallet: bool = False,
    is_paid_back: bool = False,
    now: dt.datetime | None = None,
) -> CreditNote:
    """Takes back ``parts`` of the invoice, or ``amount_cents`` before tax or ``total_cents`` with tax, spread over its
    lines, or (none of them) all that is left of it. ``is_to_wallet``: what was paid already becomes credit of the
    organization instead of a refund. ``is_paid_back``: it went back at the provider before, which is told nothing.

    Raises ReasonMissing, NothingToCredit, InvalidCredit. An invoice of which nothing is owed any more is paid.
    """
    said = reason.strip()[:2000]
    if not said:
        raise ReasonMissing(param="reason")
    moment = now or clock.now()
    locked = Invoice.objects.select_for_update(of=("self",)).select_related("organization").get(pk=invoice.pk)
    if InvoiceStatus(locked.status) not in _CREDITABLE:
        raise NothingToCredit
    # What credit has paid, no provider can give back.
    is_to_wallet = is_to_wallet or settlement.is_from_credit(locked.pk)
    credit = _planned(locked, parts, amount_cents, total_cents)
    note = _kept(locked, credit, reason=said, by=by, moment=moment, is_to_wallet=is_to_wallet)
    _post(note, locked, credit)
    if note.is_to_wallet:
        wallets.grant(
            organization=locked.organization,
            kind=GrantKind.PAID,
            pico=note.refund_cents * PICO_PER_CENT,
            source=f"credit_note:{note.pk}",
            funded_by=Account.RECEIVABLE,
            by=by,
        )
    if not is_paid_back:
        _tell_provider(note, locked, moment)
    if note.owed_cents and owed.cents(locked) == 0:
        states.move(
            locked, to=InvoiceStatus.PAID, reason=f"{number_text(note)} credits all that was owed.", paid_at=moment
        )
    invoice.refresh_from_db(fields=["status", "reason", "paid_at"])
    audit.record(
        organization=locked.organization,
        by=by,
        action="credit_note.issued",
        subject=note.pk,
        detail={"reason": said, "invoice": locked.pk, "number": number_text(note), "cents": note.total_cents},
    )
    return note


def number_text(note: CreditNote) -> str:
    """The number as it is printed: ``C-000042``."""
    return f"C-{note.number:06d}"


def invoice_number(note: CreditNote) -> str:
    """The printed number of its invoice."""
    return invoices.number_text(note.invoice)


def printed_tax(note: CreditNote) -> tuple[tuple[str, int], ...]:
    """Each tax that goes back, as it is printed, in whole cents."""
    return tuple(
        (invoices.tax_text(tax.name, tax.basis_points), tax.amount_cents) for tax in note.tax_lines.order_by("position")
    )


def of_organization(organization: Organization) -> QuerySet[CreditNote]:
    """The organization's credit notes, newest first."""
    return CreditNote.objects.for_organization(organization).select_related("invoice").order_by("-issued_at", "-id")


def one_of(*, organization: Organization, credit_note_id: str) -> CreditNote:
    """One credit note of ``organization``. Raises CreditNoteNotFound, for a stranger's too."""
    found = of_organization(organization).filter(pk=credit_note_id).first()
    if found is None:
        raise CreditNoteNotFound
    return found


def of_invoice(invoice: Invoice) -> QuerySet[CreditNote]:
    """The credit notes of one invoice, as they came."""
    return CreditNote.objects.filter(invoice_id=invoice.pk).order_by("number")


def lines_left(invoice: Invoice) -> tuple[LineLeft, ...]:
    """The invoice's lines with what is left to credit of each: what a form offers."""
    rows = CreditNoteLine.objects.filter(credit_note__invoice_id=invoice.pk).order_by().values_list("position")
    credited = {
        position: (int(pico), int(cents))
        for position, pico, cents in rows.annotate(pico=Sum("amount_pico"), cents=Sum("amount_cents"))
    }
    left = []
    for line in InvoiceLine.objects.filter(invoice_id=invoice.pk).order_by("position"):
        pico, cents = credited.get(line.position, (0, 0))
        left.append(
            LineLeft(
                position=line.position,
                description=line.description,
                pico=int(line.amount_pico) - pico,
                cents=line.amount_cents - cents,
            )
        )
    return tuple(left)


def _planned(
    invoice: Invoice, wanted: Sequence[Part] | None, amount_cents: int | None, total_cents: int | None
) -> Credit:
    lines, left = lines_left(invoice), owed.left_of(invoice)
    credited = dict(
        CreditNoteTaxLine.objects.filter(credit_note__invoice_id=invoice.pk)
        .order_by()
        .values_list("position")
        .annotate(Sum("amount_cents"))
    )
    tax = tuple(
        TaxLeft(
            position=line.position,
            name=line.name,
            basis_points=line.basis_points,
            cents=line.amount_cents,
            credited_cents=int(credited.get(line.position, 0)),
        )
        for line in InvoiceTaxLine.objects.filter(invoice_id=invoice.pk).order_by("position")
    )
    if total_cents is not None and total_cents != left.total_cents:
        amount_cents = credit_rules.before_tax(
            total_cents, lines=lines, tax=tax, left=left, subtotal_cents=invoice.subtotal_cents
        )
    if amount_cents is not None and wanted is None:
        wanted = credit_rules.spread(amount_cents, lines=lines)
    if wanted is None:
        return credit_rules.whole(lines=lines, tax=tax, left=left)
    return credit_rules.parts(wanted, lines=lines, tax=tax, left=left, subtotal_cents=invoice.subtotal_cents)


def _kept(
    invoice: Invoice, credit: Credit, *, reason: str, by: Actor, moment: dt.datetime, is_to_wallet: bool
) -> CreditNote:
    locks.wallet(invoice.organization_id)
    locks.number_credit_notes()
    number = (CreditNote.objects.aggregate(last=Max("number"))["last"] or 0) + 1
    is_paid = invoice.status == InvoiceStatus.PAID
    total = credit.amounts.total_cents
    note = CreditNote.objects.create(
        number=number,
        organization_id=invoice.organization_id,
        invoice=invoice,
        currency=invoice.currency,
        subtotal_cents=credit.amounts.subtotal_cents,
        tax_cents=credit.amounts.tax_cents,
        total_cents=total,
        exact_pico=credit.amounts.exact_pico,
        owed_cents=0 if is_paid else total,
        refund_cents=total if is_paid else 0,
        is_to_wallet=is_to_wallet and is_paid,
        reason=reason,
        issued_by=by.label[:80],
        issued_at=moment,
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(
            credit_note=note,
            position=line.position,
            description=line.description,
            amount_pico=line.pico,
            amount_cents=line.cents,
        )
        for line in credit.lines
    )
    CreditNoteTaxLine.objects.bulk_create(
        CreditNoteTaxLine(
            credit_note=note,
            position=tax.position,
            name=tax.name,
            basis_points=tax.basis_points,
            amount_cents=cents,
        )
        for tax, cents in credit.tax
    )
    return note


def _post(note: CreditNote, invoice: Invoice, credit: Credit) -> None:
    claimed_by = Account.BAD_DEBT if invoice.status == InvoiceStatus.UNCOLLECTIBLE else Account.RECEIVABLE
    ledger.post(
        kind="credit_note",
        idempotency_key=f"credit_note:{note.pk}",
        entries=[
            Entry(account=account, organization_id=note.organization_id, pico=pico)
            for account, pico in owed.undone(credit.amounts, claimed_by=claimed_by).items()
            if pico
        ],
        effective_at=note.issued_at,
        currency=note.currency,
    )


def _tell_provider(note: CreditNote, invoice: Invoice, moment: dt.datetime) -> None:
    lines = [
        *note.lines.order_by("position").values_list("description", "amount_cents"),
        *printed_tax(note),
    ]
    OutboxMessage.objects.create(
        topic=TOPIC,
        subject_id=note.pk,
        idempotency_key=f"{TOPIC}:{note.pk}",
        body={
            "credit_note_id": note.pk,
            "number": number_text(note),
            "invoice_id": invoice.pk,
            "invoice_number": invoices.number_text(invoice),
            "currency": note.currency,
            "subtotal_cents": note.subtotal_cents,
            "tax_cents": note.tax_cents,
            "total_cents": note.total_cents,
            "owed_cents": note.owed_cents,
            "refund_cents": 0 if note.is_to_wallet else note.refund_cents,
            "wallet_cents": note.refund_cents if note.is_to_wallet else 0,
            "reason": note.reason,
            "lines": [{"description": text, "amount_cents": cents} for text, cents in lines],
        },
        created_at=moment,
        next_attempt_at=moment,
    )
