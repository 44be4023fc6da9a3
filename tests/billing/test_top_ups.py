"""Top-ups and refunds: credit is granted once for exactly what was paid, whoever says so first."""

import dataclasses
import datetime as dt

import pytest
from django.db import transaction

from moorage.billing import customers, ledger, outbox, refunds, topup_state, topups, wallets, webhooks
from moorage.billing.errors import (
    InvalidTopUp,
    NoSavedMethod,
    NothingToRefund,
    ReasonMissing,
    TopUpChanged,
    TopUpNotFound,
)
from moorage.billing.ledger import Account
from moorage.billing.models import (
    BankTransfer,
    Collection,
    Grant,
    OutboxMessage,
    ProviderCustomer,
    Refund,
    RefundStatus,
    TopUp,
    TopUpStatus,
    WebhookEvent,
)
from moorage.billing.payments import (
    Customer,
    Payment,
    PaymentStatus,
    ProviderRefund,
    ProviderRefundStatus,
    ProviderUnavailable,
    TopUpDocument,
)
from moorage.billing.payments_memory import DECLINED, MemoryProvider
from moorage.billing.provider_state import StateMismatch
from moorage.billing.topup_state import Ours
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.cast import Cast


class Shop(MemoryProvider):
    """A provider in memory under the name that new top-ups go to here, which fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__(name="transfer")
        self.failures = list(failures)

    def charge_saved(self, document: TopUpDocument, *, idempotency_key: str) -> Payment:
        made = super().charge_saved(document, idempotency_key=idempotency_key)
        if self.failures:
            raise self.failures.pop(0)
        return made


def _started(cast: Cast, cents: int = 2500) -> TopUp:
    topups.open_checkout(organization=cast.alice.organization, cents=cents, by=cast.alice.actor)
    return topups.of(cast.alice.organization).first()  # type: ignore[return-value]


def _send(provider: MemoryProvider, *, hours: int = 0) -> outbox.Sent:
    return outbox.send_due(providers={"transfer": provider}, now=clock.now() + dt.timedelta(hours=hours))


def _credit(cast: Cast) -> int:
    return -ledger.balance(organization=cast.alice.organization, kind=Account.WALLET) // PICO_PER_CENT


def _clearing(cast: Cast) -> int:
    return ledger.balance(organization=cast.alice.organization, kind=Account.TRANSFER_CLEARING) // PICO_PER_CENT


def _saved(cast: Cast, provider: MemoryProvider, last4: str = "4242") -> None:
    """Alice's organization has saved a card."""
    organization = cast.alice.organization
    reference = customers.reference_of(organization=organization, provider=provider)
    provider.save_card(reference, last4=last4)
    customers.keep_method(organization=organization, method=provider.saved_method(reference), provider="transfer")


@pytest.fixture
def paid(committed_cast: Cast) -> TopUp:
    """25 USD of Alice's organization, come by bank transfer."""
    top_up = _started(committed_cast)
    topups.record_transfer(top_up=top_up, by=committed_cast.alice.actor, reason="Line 7 of the bank's list.")
    top_up.refresh_from_db()
    return top_up


def test_a_transfer_that_came_is_credit_once(committed_cast: Cast, paid: TopUp) -> None:
    topups.record_transfer(top_up=paid, by=committed_cast.alice.actor, reason="The same line again.")

    assert paid.status == TopUpStatus.PAID
    assert (_credit(committed_cast), _clearing(committed_cast)) == (2500, 2500)
    assert Grant.objects.get().source == f"top_up:{paid.id}"


def test_a_transfer_is_not_recorded_without_saying_where_it_can_be_read(committed_cast: Cast) -> None:
    top_up = _started(committed_cast)

    with pytest.raises(ReasonMissing):
        topups.record_transfer(top_up=top_up, by=committed_cast.alice.actor, reason="  ")

    assert _credit(committed_cast) == 0


def test_without_a_page_of_the_provider_the_address_is_ours(committed_cast: Cast) -> None:
    url = topups.start_checkout(
        organization=committed_cast.alice.organization, cents=2500, by=committed_cast.alice.actor
    )

    top_up = TopUp.objects.get()
    assert url == topups.page_of(top_up)
    assert top_up.checkout_reference.startswith("TOP-")


@pytest.mark.parametrize("cents", [-1, 0, 99, 1_000_001])
def test_an_amount_that_makes_no_sense_is_refused(committed_cast: Cast, cents: int) -> None:
    with pytest.raises(InvalidTopUp):
        topups.start_checkout(
            organization=committed_cast.alice.organization, cents=cents, by=committed_cast.alice.actor
        )

    assert not TopUp.objects.exists()
    assert not OutboxMessage.objects.exists()


def test_a_strangers_top_up_is_not_there(committed_cast: Cast, paid: TopUp) -> None:
    with pytest.raises(TopUpNotFound):
        topups.one(organization=committed_cast.charlie.organization, top_up_id=paid.id)


def test_nothing_is_charged_without_a_saved_method(committed_cast: Cast) -> None:
    with pytest.raises(NoSavedMethod):
        topups.charge_saved(
            organization=committed_cast.alice.organization, cents=1000, by=committed_cast.alice.actor, source="a"
        )


def test_one_source_is_charged_once_however_often_it_is_asked_and_however_answers_are_lost(
    committed_cast: Cast,
) -> None:
    provider = Shop(ProviderUnavailable("answer lost"), ProviderUnavailable("answer lost"))
    _saved(committed_cast, provider)
    for _ in range(3):
        topups.charge_saved(
            organization=committed_cast.alice.organization, cents=1000, by=committed_cast.alice.actor, source="once"
        )

    results = [_send(provider, hours=hours) for hours in range(4)]

    assert [result.sent for result in results] == [0, 0, 1, 0]
    assert TopUp.objects.get().status == TopUpStatus.PAID
    assert (_credit(committed_cast), len(provider._payments)) == (1000, 1)


def test_a_declined_card_gives_no_credit_and_is_not_tried_again(committed_cast: Cast) -> None:
    provider = Shop()
    _saved(committed_cast, provider, last4=DECLINED)
    topups.charge_saved(
        organization=committed_cast.alice.organization, cents=1000, by=committed_cast.alice.actor, source="once"
    )

    _send(provider)
    provider.save_card("mem_customer_1")
    _send(provider, hours=5)

    top_up = TopUp.objects.get()
    assert (top_up.status, top_up.reason) == (TopUpStatus.FAILED, "Your card was declined.")
    assert _credit(committed_cast) == 0


def test_the_saved_method_of_another_customer_is_never_kept(committed_cast: Cast) -> None:
    provider = Shop()
    theirs = customers.reference_of(organization=committed_cast.charlie.organization, provider=provider)
    provider.save_card(theirs)

    with pytest.raises(StateMismatch):
        customers.keep_method(
            organization=committed_cast.alice.organization, method=provider.saved_method(theirs), provider="transfer"
        )

    assert not Collection.objects.exists()


def test_a_lost_webhook_is_made_up_for_by_asking(committed_cast: Cast) -> None:
    top_up = _started(committed_cast)
    provider = Shop()
    organization = committed_cast.alice.organization
    whom = Customer(organization_id=organization.pk, name="Harbour", email="")
    reference = provider.ensure_customer(whom, idempotency_key="c")
    ProviderCustomer.objects.update(reference=reference)
    page = provider.start_top_up(
        TopUpDocument(
            top_up_id=top_up.id, customer_reference=reference, currency="USD", cents=2500, asked_at=top_up.created_at
        ),
        idempotency_key="k",
    )
    TopUp.objects.update(checkout_reference=page.reference)
    provider.pay(page.reference)

    now = clock.now()
    asked = [webhooks.ask_for_open(available={"transfer": provider}, now=now) for _ in range(2)]

    assert asked == [1, 0]
    assert _credit(committed_cast) == 2500


OURS = Ours(
    top_up_id="top_1",
    status=TopUpStatus.STARTED,
    currency="USD",
    cents=2500,
    customer_reference="cus_1",
    payment_reference="",
)
THEIRS = Payment(
    reference="pi_1",
    checkout_reference="cs_1",
    status=PaymentStatus.PAID,
    currency="USD",
    cents=2500,
    paid_cents=2500,
    refunded_cents=0,
    customer_reference="cus_1",
    top_up_id="top_1",
    created_at=dt.datetime(2026, 11, 22, tzinfo=dt.UTC),
)


@pytest.mark.parametrize(
    "change",
    [
        {"cents": 2499},
        {"paid_cents": 2499},
        {"paid_cents": 2501},
        {"currency": "EUR"},
        {"customer_reference": "cus_2"},
        {"top_up_id": "top_2"},
    ],
)
def test_another_amount_currency_or_owner_gives_no_credit(change: dict[str, object]) -> None:
    with pytest.raises(StateMismatch):
        topup_state.decide(OURS, dataclasses.replace(THEIRS, **change))  # type: ignore[arg-type]


def test_a_second_payment_for_one_top_up_is_said_aloud() -> None:
    with pytest.raises(StateMismatch, match="pi_2"):
        topup_state.decide(
            dataclasses.replace(OURS, payment_reference="pi_1"), dataclasses.replace(THEIRS, reference="pi_2")
        )


@pytest.mark.parametrize(
    ("ours", "theirs", "move"),
    [
        ("started", "pending", None),
        ("started", "paid", "paid"),
        ("started", "failed", "failed"),
        ("started", "expired", "expired"),
        ("failed", "paid", "paid"),
        ("expired", "paid", "paid"),
        ("failed", "failed", None),
        ("failed", "pending", None),
        ("paid", "paid", None),
        ("paid", "pending", None),
        ("paid", "failed", None),
        ("paid", "expired", None),
    ],
)
def test_the_payments_state_decides_what_becomes_of_a_top_up(ours: str, theirs: str, move: str | None) -> None:
    found = topup_state.decide(
        dataclasses.replace(OURS, status=TopUpStatus(ours)),
        dataclasses.replace(THEIRS, status=PaymentStatus(theirs)),
    )

    assert found == move


def _bought(cast: Cast, provider: Shop, cents: int = 2500) -> TopUp:
    """Credit from the saved card, which can be refunded."""
    _saved(cast, provider)
    topups.charge_saved(
        organization=cast.alice.organization, cents=cents, by=cast.alice.actor, source=f"buy:{TopUp.objects.count()}"
    )
    _send(provider)
    return topups.of(cast.alice.organization).first()  # type: ignore[return-value]


def _refund(cast: Cast, provider: Shop, cents: int, key: str = "") -> tuple[Refund, ...]:
    return refunds.refund_credit(
        organization=cast.alice.organization,
        cents=cents,
        reason="Asked for.",
        key=key or f"refund:{Refund.objects.count()}",
        by=cast.alice.actor,
        available={"transfer": provider},
    )


@pytest.fixture
def shop() -> Shop:
    """The provider of this instance, able to refund."""
    return Shop()


def test_unused_credit_is_paid_back_and_gone_from_the_wallet_at_once(committed_cast: Cast, shop: Shop) -> None:
    _bought(committed_cast, shop)

    _refund(committed_cast, shop, 1000)
    before = _credit(committed_cast)
    _send(shop)
    _send(shop, hours=1)

    refund = Refund.objects.get()
    assert (before, _credit(committed_cast), _clearing(committed_cast)) == (1500, 1500, 1500)
    assert (refund.status, refund.cents) == (RefundStatus.SUCCEEDED, 1000)
    assert shop.fetch_payment(refund.top_up.payment_reference).refunded_cents == 1000


def test_a_refund_that_is_asked_for_twice_is_paid_once(committed_cast: Cast, shop: Shop) -> None:
    _bought(committed_cast, shop)

    first = _refund(committed_cast, shop, 1000, key="once")
    second = _refund(committed_cast, shop, 1000, key="once")

    assert [one.pk for one in second] == [one.pk for one in first]
    assert (Refund.objects.count(), _credit(committed_cast)) == (1, 1500)


def test_a_refund_goes_over_several_top_ups_and_never_beyond_what_is_unused(committed_cast: Cast, shop: Shop) -> None:
    _bought(committed_cast, shop, 1000)
    _bought(committed_cast, shop, 2000)
    # Half a cent less than 25 dollars is left.
    organization = committed_cast.alice.organization
    ledger.post(
        kind="usage",
        idempotency_key="u",
        entries=[
            ledger.Entry(account=Account.RECEIVABLE, organization_id=organization.pk, pico=505 * 10**10 - 5 * 10**9),
            ledger.Entry(account=Account.REVENUE, organization_id=organization.pk, pico=-505 * 10**10 + 5 * 10**9),
        ],
        effective_at=clock.now(),
    )
    with transaction.atomic():
        wallets.capture(
            organization_id=organization.pk,
            pico=505 * 10**10 - 5 * 10**9,
            period_start=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
            idempotency_key="capture:u",
            at=clock.now(),
        )

    made = _refund(committed_cast, shop, 3000)
    _send(shop)

    assert sorted(one.cents for one in made) == [495, 2000]
    assert all(one.status == RefundStatus.SUCCEEDED for one in Refund.objects.all())
    assert -ledger.balance(organization=organization, kind=Account.WALLET) == 5 * 10**9
    with pytest.raises(NothingToRefund):
        _refund(committed_cast, shop, 1)


def test_a_refund_that_fails_gives_the_credit_back_once(committed_cast: Cast, shop: Shop) -> None:
    top_up = _bought(committed_cast, shop)
    _refund(committed_cast, shop, 1000)
    _send(shop)
    refund = Refund.objects.get()
    failed = ProviderRefund(
        reference=refund.reference,
        status=ProviderRefundStatus.FAILED,
        currency="USD",
        cents=1000,
        payment_reference=top_up.payment_reference,
        refund_id=refund.id,
        created_at=clock.now(),
    )

    for _ in range(3):
        refunds.apply(failed, provider="transfer", now=clock.now())

    assert (_credit(committed_cast), _clearing(committed_cast)) == (2500, 2500)
    assert Refund.objects.get().status == RefundStatus.FAILED


def test_a_transfer_of_another_amount_is_a_sentence_and_no_credit(committed_cast: Cast) -> None:
    top_up = _started(committed_cast)
    BankTransfer.objects.filter(subject_id=top_up.id).update(total_cents=2400)

    with pytest.raises(TopUpChanged, match="not what was asked for"):
        topups.record_transfer(top_up=top_up, by=committed_cast.alice.actor, reason="Line 7.")

    assert _credit(committed_cast) == 0
    assert TopUpChanged.status_code == 409
    assert BankTransfer.objects.get().paid_at is None


def test_top_ups_by_transfer_are_not_paid_back_by_a_program(committed_cast: Cast, paid: TopUp) -> None:
    with pytest.raises(NothingToRefund):
        refunds.refund_credit(
            organization=committed_cast.alice.organization, cents=1, reason="x", key="1", by=committed_cast.alice.actor
        )

    assert _credit(committed_cast) == 2500
    assert not WebhookEvent.objects.exists()
