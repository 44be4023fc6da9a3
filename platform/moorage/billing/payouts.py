"""Credit notes whose money goes back by bank transfer: somebody makes the transfer, and it is recorded here, once.

A provider with credit notes of its own gives the money back itself (invoice_messages.py); what became credit in the
wallet is given back already.
"""

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Concat

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.billing import credit_notes, invoice_messages
from moorage.billing.errors import CreditNoteNotFound, NothingToPayOut
from moorage.billing.models import CreditNote, LedgerTransaction
from moorage.billing.payments_transfer import TransferProvider
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT


def waiting() -> QuerySet[CreditNote]:
    """Notes whose money nobody has given back yet, the oldest first. For administrators alone."""
    key = Concat(Value("credit_note:"), OuterRef("pk"), Value(":refund"))
    by_transfer = CreditNote.objects.filter(
        refund_cents__gt=0, is_to_wallet=False, invoice__provider=TransferProvider.name
    )
    open_ones = by_transfer.exclude(Exists(LedgerTransaction.objects.filter(idempotency_key=key)))
    return open_ones.select_related("invoice", "organization").order_by("issued_at", "id")


def one(credit_note_id: str) -> CreditNote:
    """Any credit note. For administrators alone. Raises CreditNoteNotFound."""
    found = CreditNote.objects.select_related("invoice", "organization").filter(pk=credit_note_id).first()
    if found is None:
        raise CreditNoteNotFound
    return found


def require(note: CreditNote) -> None:
    """Raises NothingToPayOut for a note that is not given back by bank transfer."""
    if note.refund_cents == 0 or note.is_to_wallet or note.invoice.provider != TransferProvider.name:
        raise NothingToPayOut


def is_paid_out(note: CreditNote) -> bool:
    """Whether its money was given back."""
    return LedgerTransaction.objects.filter(idempotency_key=f"credit_note:{note.pk}:refund").exists()


@transaction.atomic
def record(*, note: CreditNote, by: Actor, reason: str) -> None:
    """The transfer is made: the money leaves the clearing account. A second call changes nothing. Raises
    NothingToPayOut."""
    require(note)
    CreditNote.objects.select_for_update(of=("self",)).get(pk=note.pk)
    if is_paid_out(note):
        return
    invoice_messages.given_back(note, note.refund_cents * PICO_PER_CENT, clock.now())
    audit.record(
        organization=note.organization,
        by=by,
        action="credit_note.paid_out",
        subject=note.pk,
        detail={"reason": reason, "number": credit_notes.number_text(note), "cents": note.refund_cents},
    )
