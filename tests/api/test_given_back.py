"""Money that goes back past the usual way, over REST: payouts by transfer, refunds that were made at the provider."""

import pytest
from django.test import override_settings

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry, Scope
from moorage.billing import credit_notes, ledger, payouts
from moorage.billing.models import CreditNote, Invoice, Refund, TopUp
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.reconciliation import payments
from moorage.kernel.money import PICO
from tests.api.conftest import Caller, calling, error_of
from tests.billing.bills import invoiced
from tests.billing.collected import collected, configured, later, metered
from tests.billing.paid_credit import heard, note_of_a_paid_invoice, paid, provider, spend, top_up
from tests.cast import Cast
from tests.stripe_twin.fixtures import started, twin
from tests.stripe_twin.process import TwinProcess

__all__ = ["collected", "metered", "provider", "started", "top_up", "twin"]
WHY = {"reason": "Line 9 of the bank's list."}


@pytest.fixture
def uncovered(cast: Cast, top_up: TopUp, provider: MemoryProvider) -> Refund:
    """25 USD were paid back at the provider, and 20 of them were used."""
    payment = paid(top_up, provider)
    spend(cast, 2000)
    provider.refund_by_hand(payment, 2500)
    heard(provider, payment)
    return Refund.objects.get()


def test_a_payout_is_listed_until_it_is_recorded_and_recorded_once(cast: Cast, ada: Caller) -> None:
    note = note_of_a_paid_invoice(cast)
    (waiting,) = ada.get("admin/payouts")["data"]

    answers = [ada("POST", f"admin/payouts/{note.pk}", WHY) for _ in range(2)]

    assert (waiting["id"], waiting["organization"]["slug"]) == (note.pk, "harbour")
    assert (waiting["amount"]["amount"], waiting["invoice_id"]) == ("1.20", note.invoice_id)
    assert [one.status_code for one in answers] == [204, 204]
    assert ada.get("admin/payouts")["data"] == []
    (entry,) = AuditEntry.objects.filter(action="credit_note.paid_out", subject=note.pk)
    assert entry.detail["reason"] == WHY["reason"]


def test_a_payout_needs_a_reason_a_note_and_something_to_pay_out(cast: Cast, ada: Caller) -> None:
    unpaid = credit_notes.issue(invoice=invoiced(cast.alice), reason="Ours.", by=Actor.person(cast.ada))

    for body in ({}, {"reason": " "}):
        assert error_of(ada("POST", f"admin/payouts/{unpaid.pk}", body), 422)["param"] == "reason"
    assert error_of(ada("POST", f"admin/payouts/{unpaid.pk}", WHY), 409)["code"] == "nothing_to_pay_out"
    assert error_of(ada("POST", "admin/payouts/cn_x", WHY), 404)["code"] == "credit_note_not_found"


@override_settings(MOORAGE_FOUR_EYES_PICO=PICO)
def test_a_large_payout_is_done_when_another_administrator_agrees(cast: Cast, ada: Caller) -> None:
    note, bea = note_of_a_paid_invoice(cast), calling(cast.bob, Scope.ADMIN)

    asked = ada("POST", f"admin/payouts/{note.pk}", WHY)

    assert (asked.status_code, asked.json()["kind"]) == (202, "payout")
    assert error_of(ada("POST", f"admin/payouts/{note.pk}", WHY), 409)["code"] == "approval_pending"
    own = ada("POST", f"admin/approvals/{asked.json()['id']}/approve", {})
    assert error_of(own, 409)["code"] == "own_request"
    assert not payouts.is_paid_out(note)
    assert bea("POST", f"admin/approvals/{asked.json()['id']}/approve", {}).status_code == 200
    assert payouts.is_paid_out(note)


def test_used_credit_that_was_paid_back_is_listed_until_the_loss_is_accepted(
    cast: Cast, uncovered: Refund, ada: Caller
) -> None:
    (waiting,) = ada.get("admin/refunds/uncovered")["data"]

    first = ada("POST", f"admin/refunds/{uncovered.pk}/accept-loss", WHY)
    second = ada("POST", f"admin/refunds/{uncovered.pk}/accept-loss", WHY)

    assert (waiting["id"], waiting["amount"]["amount"], waiting["uncovered"]["amount"]) == (
        uncovered.pk,
        "25.00",
        "20.00",
    )
    assert first.status_code == 204
    assert error_of(second, 404)["code"] == "review_item_not_found"
    assert ada.get("admin/refunds/uncovered")["data"] == []
    assert AuditEntry.objects.filter(action="refund.loss_accepted", subject=uncovered.pk).count() == 1


def test_a_loss_needs_a_reason(cast: Cast, uncovered: Refund, ada: Caller) -> None:
    error_of(ada("POST", f"admin/refunds/{uncovered.pk}/accept-loss", {"reason": " "}), 422)

    assert len(ada.get("admin/refunds/uncovered")["data"]) == 1


def test_neither_a_member_nor_a_stranger_reaches_what_goes_back(cast: Cast, uncovered: Refund) -> None:
    note = note_of_a_paid_invoice(cast)
    for person in (cast.alice, cast.bob, cast.charlie):
        caller = calling(person, Scope.MANAGE)
        for method, path in (
            ("GET", "admin/payouts"),
            ("POST", f"admin/payouts/{note.pk}"),
            ("GET", "admin/refunds/uncovered"),
            ("POST", f"admin/refunds/{uncovered.pk}/accept-loss"),
            ("POST", f"admin/invoices/{note.invoice_id}/book-refund"),
        ):
            assert error_of(caller(method, path, WHY if method == "POST" else None), 403)["code"] == "scope_missing"
    uncovered.refresh_from_db()
    assert uncovered.uncovered_settled_at is None and not payouts.is_paid_out(note)


def test_a_refund_in_the_dashboard_is_found_by_reconciliation_and_booked_once(
    committed_cast: Cast, collected: Invoice, twin: TwinProcess
) -> None:
    ada = calling(committed_cast.charlie, Scope.ADMIN)
    intent = twin.all("invoice_payment")[0]["payment"]["payment_intent"]
    theirs = twin.control("refund", payment_intent=intent, amount=30)
    (finding, _whole) = payments.payments(later(), providers=configured()).findings
    path = f"admin/invoices/{finding.invoice_id}/book-refund"

    first = ada("POST", path, {"booked_as": "credit_note", "reason": "Support paid it back."})
    second = ada("POST", path, {"booked_as": "credit_note", "reason": "Support paid it back."})

    assert finding.code == "refund_unbooked" and theirs["id"] in finding.subject
    assert first.status_code == 204
    assert error_of(second, 409)["code"] == "nothing_to_book"
    assert sorted(CreditNote.objects.values_list("refund_cents", flat=True)) == [25, 30]
    assert payments.payments(later(), providers=configured()).findings == ()
    assert list(ledger.prove().differences()) == []


def test_what_the_provider_has_not_paid_back_is_not_booked(cast: Cast, ada: Caller) -> None:
    path = f"admin/invoices/{invoiced(cast.alice).pk}/book-refund"

    assert error_of(ada("POST", path, {"booked_as": "loss", **WHY}), 409)["code"] == "nothing_to_book"
    assert error_of(ada("POST", path, {"booked_as": "gift", **WHY}), 422)["param"] == "booked_as"
    assert error_of(ada("POST", path, {"booked_as": "loss"}), 422)["param"] == "reason"
    unknown = ada("POST", "admin/invoices/inv_x/book-refund", {"booked_as": "loss", **WHY})
    assert error_of(unknown, 404)["code"] == "invoice_not_found"
