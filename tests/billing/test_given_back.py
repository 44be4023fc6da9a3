"""Money that goes back past the usual way: refunds made at the provider, payouts by transfer, and whom they ask."""

import pytest
from django.test import override_settings

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import (
    credit_notes,
    foreign_refunds,
    ledger,
    payouts,
    provider_events,
    refunds,
    services,
)
from moorage.billing.approvals import needs_another
from moorage.billing.errors import ApprovalPending, NothingToPayOut, ReasonMissing, ReviewItemNotFound
from moorage.billing.ledger import Account
from moorage.billing.models import ApprovalRequest, MoneyDeed, Refund, RefundStatus, TopUp
from moorage.billing.payments import ProviderRefundStatus
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.provider_state import StateMismatch
from moorage.kernel.money import PICO, PICO_PER_CENT
from tests.billing.bills import invoiced
from tests.billing.paid_credit import NOW, cents_of, heard, note_of_a_paid_invoice, paid, spend
from tests.billing.test_wallets import pay
from tests.cast import Cast


def books(cast: Cast) -> tuple[int, int, int]:
    """Credit, clearing, adjustment in cents."""
    return (
        -cents_of(cast, Account.WALLET),
        cents_of(cast, Account.MEMORY_CLEARING),
        cents_of(cast, Account.ADJUSTMENT),
    )


def test_a_refund_made_at_the_provider_takes_the_unused_credit_once(
    cast: Cast, top_up: TopUp, provider: MemoryProvider
) -> None:
    payment = paid(top_up, provider)
    provider.refund_by_hand(payment, 1000)

    heard(provider, payment)

    assert books(cast) == (1500, 1500, 0)
    made = Refund.objects.get()
    assert (made.cents, made.uncovered_cents, made.status) == (1000, 0, RefundStatus.SUCCEEDED)
    assert AuditEntry.objects.filter(action="credit.refunded_at_provider").count() == 1
    assert not foreign_refunds.uncovered().exists()
    assert refunds.refunded_cents(top_up) == 1000
    assert list(ledger.prove().differences()) == []


def test_what_was_used_waits_for_a_person_who_accepts_the_loss_once(
    cast: Cast, top_up: TopUp, provider: MemoryProvider
) -> None:
    payment = paid(top_up, provider)
    spend(cast, 2000)
    provider.refund_by_hand(payment, 2500)

    heard(provider, payment)

    made = foreign_refunds.uncovered().get()
    assert (made.cents, made.uncovered_cents) == (2500, 2000)
    assert books(cast) == (0, 2000, 0)
    with pytest.raises(ReasonMissing):
        foreign_refunds.accept_loss(refund_id=made.pk, by=Actor.person(cast.ada), reason=" ")
    foreign_refunds.accept_loss(refund_id=made.pk, by=Actor.person(cast.ada), reason="A favour by support.")
    assert books(cast) == (0, 0, 2000)
    with pytest.raises(ReviewItemNotFound):
        foreign_refunds.accept_loss(refund_id=made.pk, by=Actor.person(cast.ada), reason="again")


def test_a_refund_made_there_that_fails_gives_back_what_was_taken(
    cast: Cast, top_up: TopUp, provider: MemoryProvider
) -> None:
    payment = paid(top_up, provider)
    spend(cast, 2000)
    theirs = provider.refund_by_hand(payment, 2500)
    heard(provider, payment)
    foreign_refunds.accept_loss(refund_id=Refund.objects.get().pk, by=Actor.person(cast.ada), reason="A favour.")

    provider._refunds[theirs.reference] = type(theirs)(
        **{name: getattr(theirs, name) for name in theirs.__slots__} | {"status": ProviderRefundStatus.FAILED}
    )
    heard(provider, payment)

    assert books(cast) == (500, 2500, 0)


def test_more_than_was_paid_changes_nothing(cast: Cast, top_up: TopUp, provider: MemoryProvider) -> None:
    payment = paid(top_up, provider)
    provider.refund_by_hand(payment, 2501)

    with pytest.raises(StateMismatch, match="of 2500 cents"):
        provider_events.apply("charge.refunded", payment, provider=provider, now=NOW)

    assert books(cast) == (2500, 2500, 0)


def test_a_refund_of_somebody_elses_payment_is_nobodys(provider: MemoryProvider, cast: Cast) -> None:
    provider_events.apply("charge.refunded", "ch_stranger", provider=provider, now=NOW)

    assert not Refund.objects.exists()


def clearing(cast: Cast) -> int:
    return cents_of(cast, Account.TRANSFER_CLEARING)


def test_a_credit_note_is_paid_out_by_transfer_once(cast: Cast) -> None:
    note = note_of_a_paid_invoice(cast)
    assert [one.pk for one in payouts.waiting()] == [note.pk]

    for _ in range(2):
        services.pay_out(note=note, by=Actor.person(cast.ada), reason="Line 9 of the bank's list.")

    assert clearing(cast) == 0
    assert cents_of(cast, Account.RECEIVABLE) == 0
    assert not payouts.waiting().exists()
    assert AuditEntry.objects.filter(action="credit_note.paid_out").count() == 1
    assert list(ledger.prove().differences()) == []


def test_a_note_of_what_was_never_paid_is_not_paid_out(cast: Cast) -> None:
    note = credit_notes.issue(invoice=invoiced(cast.alice), reason="Ours.", by=Actor.person(cast.ada))

    with pytest.raises(NothingToPayOut):
        services.pay_out(note=note, by=Actor.person(cast.ada), reason="Line 9.")
    assert not payouts.waiting().exists()


@override_settings(MOORAGE_FOUR_EYES_PICO=PICO)
def test_a_large_payout_waits_for_another_administrator(cast: Cast) -> None:
    note = note_of_a_paid_invoice(cast)
    bea = Actor.person(cast.bob.user)

    waits = services.pay_out(note=note, by=Actor.person(cast.ada), reason="Line 9.").request

    assert waits is not None and clearing(cast) == 120
    with pytest.raises(ApprovalPending):
        services.pay_out(note=note, by=Actor.person(cast.ada), reason="Line 9.")
    services.approve_request(request_id=waits.pk, by=bea)
    assert clearing(cast) == 0


@override_settings(MOORAGE_FOUR_EYES_PICO=10 * PICO)
def test_a_large_refund_waits_for_another_and_is_paid_once(cast: Cast, top_up: TopUp, provider: MemoryProvider) -> None:
    paid(top_up, provider)
    ada, bea = Actor.person(cast.ada), Actor.person(cast.bob.user)
    organization, available = cast.alice.organization, {"memory": provider}

    waits = services.refund_credit(
        organization=organization, cents=1000, by=ada, reason="Asked for.", key="1", available=available
    ).request

    assert waits is not None and not Refund.objects.exists()
    with override_settings(STRIPE_API_KEY=None):
        services.refuse_request(request_id=waits.pk, by=bea, reason="Not yet.")
    again = services.refund_credit(
        organization=organization, cents=1000, by=ada, reason="Asked for.", key="1", available=available
    ).request
    assert again is not None and again.pk != waits.pk


@override_settings(MOORAGE_FOUR_EYES_PICO=10 * PICO)
def test_small_refunds_within_a_day_add_up(cast: Cast, top_up: TopUp, provider: MemoryProvider) -> None:
    paid(top_up, provider)

    outcomes = [
        services.refund_credit(
            organization=cast.alice.organization,
            cents=400,
            by=Actor.person(cast.ada),
            reason="In parts.",
            key=f"part {number}",
            available={"memory": provider},
        )
        for number in (1, 2, 2, 3)
    ]

    assert [one.is_done for one in outcomes] == [True, True, True, False]
    assert Refund.objects.count() == 2
    assert ApprovalRequest.objects.get().amount_pico == 400 * PICO_PER_CENT
    assert MoneyDeed.objects.count() == 2


@override_settings(MOORAGE_FOUR_EYES_PICO=10 * PICO)
def test_small_credits_within_a_day_add_up_for_each_organization_and_verb(cast: Cast) -> None:
    def give(organization: object, key: str) -> bool:
        return services.give_credit(
            organization=organization,  # type: ignore[arg-type]
            pico=6 * PICO,
            by=Actor.person(cast.ada),
            reason="For the outage.",
            key=key,
        ).is_done

    harbour, island = cast.alice.organization, cast.charlie.organization
    pay(harbour, 100 * PICO)

    assert [give(harbour, "1"), give(island, "1"), give(harbour, "2")] == [True, True, False]


def test_parts_of_a_day_are_added_before_the_threshold_is_asked() -> None:
    assert not needs_another(4, threshold_pico=10, lately_pico=5)
    assert needs_another(5, threshold_pico=10, lately_pico=5)
    assert needs_another(10, threshold_pico=10)
    assert not needs_another(10, threshold_pico=0, lately_pico=100)
