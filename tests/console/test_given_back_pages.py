"""Money that goes back past the usual way, on the administrator's pages: payouts, foreign refunds, booked refunds."""

from django.test import Client, override_settings

from moorage.accounts.models import AuditEntry
from moorage.billing import payouts
from moorage.billing.models import CreditNote, Invoice, ReconciliationRun, Refund, TopUp
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.reconciliation import runs
from moorage.billing.reconciliation.jobs import Job
from moorage.billing.reconciliation.payments import ON_ITS_WAY
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.billing.collected import collected, configured, metered
from tests.billing.paid_credit import heard, note_of_a_paid_invoice, paid, provider, spend, top_up
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of
from tests.stripe_twin.process import TwinProcess

__all__ = ["collected", "metered", "provider", "top_up"]


def test_a_payout_waits_on_the_review_page_until_it_is_recorded(cast: Cast, ada: Client) -> None:
    note = note_of_a_paid_invoice(cast)
    waiting = text_of(ada.get("/admin/review"))

    without = text_of(ada.post(f"/admin/payouts/{note.pk}", {"reason": " "}, follow=True))
    after = text_of(ada.post(f"/admin/payouts/{note.pk}", {"reason": "Line 9."}, follow=True))

    assert "C-000001" in waiting and "1.20 USD" in waiting and inline_code(waiting) == []
    assert "The payout is recorded." not in without
    assert "The payout is recorded." in after and 'id="payouts"' not in after
    assert payouts.is_paid_out(note)
    assert AuditEntry.objects.get(action="credit_note.paid_out").detail["reason"] == "Line 9."


@override_settings(MOORAGE_FOUR_EYES_PICO=PICO)
def test_a_large_payout_waits_for_another_administrator(cast: Cast, ada: Client) -> None:
    note = note_of_a_paid_invoice(cast)

    page = text_of(ada.post(f"/admin/payouts/{note.pk}", {"reason": "Line 9."}, follow=True))

    assert "it waits for them" in page and "Payout of a credit note" in page
    assert not payouts.is_paid_out(note)


def test_used_credit_that_was_paid_back_waits_until_the_loss_is_accepted(
    cast: Cast, ada: Client, top_up: TopUp, provider: MemoryProvider
) -> None:
    payment = paid(top_up, provider)
    spend(cast, 2000)
    provider.refund_by_hand(payment, 2500)
    heard(provider, payment)
    refund = Refund.objects.get()
    waiting = text_of(ada.get("/admin/review"))

    after = text_of(ada.post(f"/admin/refunds/{refund.pk}/loss", {"reason": "A favour."}, follow=True))
    again = ada.post(f"/admin/refunds/{refund.pk}/loss", {"reason": "A favour."})

    assert "25.00 USD" in waiting and "20.00 USD" in waiting and refund.reference in waiting
    assert "The loss is booked." in after and 'id="uncovered"' not in after
    assert again.status_code == 404


def test_nobody_else_says_what_was_done(cast: Cast, signed_in: SignIn) -> None:
    note = note_of_a_paid_invoice(cast)

    for person in (cast.alice, cast.bob, cast.charlie):
        client = signed_in(person.user)
        assert client.post(f"/admin/payouts/{note.pk}", {"reason": "x"}).status_code == 404
        assert client.post(f"/admin/invoices/{note.invoice_id}/book-refund", {"reason": "x"}).status_code == 404
    assert not payouts.is_paid_out(note)


def test_a_refund_in_the_dashboard_is_booked_from_its_finding(
    committed_cast: Cast, collected: Invoice, twin: TwinProcess, signed_in: SignIn
) -> None:
    ada = signed_in(committed_cast.ada)
    intent = twin.all("invoice_payment")[0]["payment"]["payment_intent"]
    twin.control("refund", payment_intent=intent, amount=30)
    found_by_r6()
    page = text_of(ada.get("/admin/reconciliation"))
    path = f"/admin/invoices/{collected.pk}/book-refund"

    sent = {"booked_as": "loss", "reason": "Support paid it back."}
    first, second = (text_of(ada.post(path, sent, follow=True)) for _ in range(2))

    assert f'action="{path}"' in page and "0.30 USD went back" in page and inline_code(page) == []
    assert "The refund is booked." in first
    assert "booked already" in second
    assert list(CreditNote.objects.values_list("refund_cents", flat=True)) == [25]
    assert AuditEntry.objects.get(action="invoice.refund_booked").detail["cents"] == 30
    assert ada.post(path, {"booked_as": "gift", "reason": "x"}).status_code == 404


def found_by_r6() -> ReconciliationRun:
    """A run in two hours, when nothing is on its way any more."""
    (run,) = runs.run_due(
        {Job.PAYMENTS: runs.jobs(providers=configured())[Job.PAYMENTS]}, now=clock.now() + 2 * ON_ITS_WAY
    )
    return run
