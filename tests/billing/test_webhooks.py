"""Webhooks: only our provider's bytes, each once; whatever order they come in, the present state is what counts."""

import datetime as dt
import hashlib
import hmac
import json
import random

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from moorage.billing import invoice_messages, ledger, provider_state, review, signatures, webhooks
from moorage.billing.errors import WebhookRefused, WebhookTooLarge
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, InvoiceStatus, ProviderCustomer, WebhookEvent
from moorage.billing.payments import Customer, ProviderInvoice, ProviderStatus
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.provider_state import Move, Ours, StateMismatch
from tests.billing.bills import invoiced
from tests.billing.measured import CLOSING
from tests.cast import Cast

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECRET = "whsec_one"
PAYLOAD = json.dumps(
    {"id": "evt_1", "type": "invoice.paid", "livemode": False, "data": {"object": {"id": "in_1", "status": "paid"}}}
).encode()


def _sign(payload: bytes = PAYLOAD, *, secret: str = SECRET, moment: dt.datetime = NOW) -> str:
    stamp = str(int(moment.timestamp()))
    return f"t={stamp},v1={hmac.new(secret.encode(), stamp.encode() + b'.' + payload, hashlib.sha256).hexdigest()}"


def _receive(payload: bytes = PAYLOAD, signature: str | None = None, secrets: tuple[str, ...] = (SECRET,)) -> bool:
    given_signature = _sign(payload) if signature is None else signature
    return webhooks.receive(payload, given_signature, secrets=secrets, now=NOW, is_live=False)


@pytest.mark.parametrize(
    "signature",
    [
        _sign(),
        _sign(moment=NOW - dt.timedelta(seconds=300)),
        _sign(moment=NOW + dt.timedelta(seconds=300)),
        _sign().replace(",v1=", ", v1="),
        _sign().replace(",v1=", ",v1=00,v1="),
        _sign() + ",v0=abc",
    ],
)
def test_what_we_can_trust_is_taken(signature: str) -> None:
    signatures.verify(PAYLOAD, signature, secrets=["whsec_other", SECRET], now=NOW)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "garbage",
        "t=,v1=",
        "t=1",
        f"t=99999999999999,{_sign().split(',')[1]}",
        _sign(secret="whsec_forged"),
        _sign(payload=PAYLOAD + b" "),
        _sign(moment=NOW - dt.timedelta(seconds=301)),
        _sign(moment=NOW + dt.timedelta(seconds=301)),
        _sign(moment=NOW + dt.timedelta(days=3 * 365)),
        _sign().replace("v1=", "v0="),
        _sign() + ",t=1",
        "t=٣,v1=é",
        _sign()[:-1],
        "x" * 5000,
    ],
)
def test_what_we_cannot_trust_is_refused(signature: str) -> None:
    with pytest.raises(WebhookRefused):
        signatures.verify(PAYLOAD, signature, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_everything_is_refused(secrets: list[str]) -> None:
    with pytest.raises(WebhookRefused):
        signatures.verify(PAYLOAD, _sign(secret=""), secrets=secrets, now=NOW)


@given(payload=st.binary(max_size=200), signature=st.text(max_size=100))
def test_no_bytes_do_anything_but_be_refused(payload: bytes, signature: str) -> None:
    with pytest.raises(WebhookRefused):
        signatures.verify(payload, signature, secrets=[SECRET], now=NOW)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe not utf-8",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"livemode": false}',
        b'{"livemode": false, "id": 1, "type": "x"}',
        b'{"livemode": true, "id": "evt_1", "type": "x"}',
        b'{"id": "evt_1", "type": "x"}',
        b'{"livemode": false, "id": "evt_1", "type": "x", "account": "acct_other"}',
    ],
)
def test_signed_bytes_that_are_no_event_of_ours_are_refused(db: None, payload: bytes) -> None:
    with pytest.raises(WebhookRefused):
        _receive(payload)
    assert not WebhookEvent.objects.exists()


def test_a_body_that_is_too_large_is_refused_before_it_is_looked_at(db: None) -> None:
    with pytest.raises(WebhookTooLarge):
        _receive(b" " * (256 * 1024 + 1), "whatever")


def test_an_event_is_kept_once(db: None) -> None:
    assert (_receive(), _receive()) == (True, False)

    assert WebhookEvent.objects.values_list("id", "kind", "object_id").get() == ("evt_1", "invoice.paid", "in_1")


@pytest.mark.urls("moorage.billing.urls")
def test_the_door_answers_with_a_status_and_a_sentence(db: None, settings: object) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = (SECRET,)  # type: ignore[attr-defined]
    client = Client(enforce_csrf_checks=True, headers={"host": "127.0.0.1"})
    signature = _sign(moment=dt.datetime.now(tz=dt.UTC))

    def post(payload: bytes, header: str) -> int:
        return client.post(
            "/webhooks/stripe", payload, content_type="application/json", headers={"stripe-signature": header}
        ).status_code

    assert post(PAYLOAD, signature) == 200
    assert post(PAYLOAD, "t=1,v1=00") == 400
    assert post(b" " * 300_000, signature) == 413
    assert client.get("/webhooks/stripe").status_code == 405
    assert WebhookEvent.objects.count() == 1


# What follows from the provider's state.

OURS = Ours(
    invoice_id="inv_1",
    status=InvoiceStatus.FINALIZED,
    currency="USD",
    total_cents=120,
    statement_sha256="aa",
    customer_reference="cus_1",
)


def _theirs(**changes: object) -> ProviderInvoice:
    given_values: dict[str, object] = {
        "reference": "in_1",
        "status": ProviderStatus.PAID,
        "currency": "USD",
        "total_cents": 120,
        "paid_cents": 120,
        "payment_url": "",
        "customer_reference": "cus_1",
        "invoice_id": "inv_1",
        "statement_sha256": "aa",
    }
    return ProviderInvoice(**{**given_values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "theirs", "move"),
    [
        ("finalized", "draft", Move.NOTHING),
        ("finalized", "open", Move.NOTHING),
        ("finalized", "paid", Move.PAID),
        ("finalized", "void", Move.VOID),
        ("finalized", "uncollectible", Move.UNCOLLECTIBLE),
        ("uncollectible", "paid", Move.PAID),
        ("uncollectible", "void", Move.VOID),
        ("uncollectible", "uncollectible", Move.NOTHING),
        ("paid", "paid", Move.NOTHING),
        ("paid", "open", Move.NOTHING),
        ("void", "void", Move.NOTHING),
        ("void", "open", Move.NOTHING),
        ("void", "paid", None),
        ("paid", "void", None),
        ("in_review", "paid", None),
    ],
)
def test_the_providers_state_decides_what_follows(ours: str, theirs: str, move: Move | None) -> None:
    mine = Ours(**{**_as_dict(OURS), "status": InvoiceStatus(ours)})  # type: ignore[arg-type]
    seen = _theirs(status=ProviderStatus(theirs))

    if move is None:
        with pytest.raises(StateMismatch):
            provider_state.decide(mine, seen)
    else:
        assert provider_state.decide(mine, seen) is move


def _as_dict(ours: Ours) -> dict[str, object]:
    return {name: getattr(ours, name) for name in ours.__slots__}


@pytest.mark.parametrize(
    "change",
    [
        {"total_cents": 119},
        {"paid_cents": 119},
        {"currency": "EUR"},
        {"customer_reference": "cus_2"},
        {"statement_sha256": "bb"},
        {"invoice_id": "inv_2"},
    ],
)
def test_another_amount_currency_or_owner_changes_nothing(change: dict[str, object]) -> None:
    with pytest.raises(StateMismatch):
        provider_state.decide(OURS, _theirs(**change))


@pytest.fixture
def issued(cast: Cast) -> tuple[Invoice, MemoryProvider]:
    """An invoice that a provider in memory has issued."""
    provider = MemoryProvider(name="transfer")
    invoice = invoiced(cast.alice)
    customer = Customer(organization_id=invoice.organization_id, name="Harbour", email="")
    ProviderCustomer.objects.create(
        organization=cast.alice.organization,
        provider="transfer",
        reference=provider.ensure_customer(customer, idempotency_key="x"),
    )
    document = invoice_messages.document(invoice, ProviderCustomer.objects.get().reference)
    reference = provider.issue_invoice(document, idempotency_key="y").reference
    Invoice.objects.filter(pk=invoice.pk).update(provider_reference=reference)
    invoice.refresh_from_db()
    return invoice, provider


KINDS = ("created", "finalized", "sent", "updated", "payment_failed", "payment_succeeded", "paid")


def test_any_order_with_duplicates_and_gaps_comes_to_the_same_end(issued: tuple[Invoice, MemoryProvider]) -> None:
    invoice, provider = issued
    provider.pay(invoice.provider_reference)
    shuffle = random.Random(20261122)

    for _ in range(60):
        kinds = [kind for kind in KINDS * 2 if shuffle.random() < 0.7] or ["paid"]
        shuffle.shuffle(kinds)
        with transaction.atomic():
            for number, kind in enumerate(kinds):
                WebhookEvent.objects.create(
                    id=f"evt_{number}",
                    provider="transfer",
                    kind=f"invoice.{kind}",
                    object_id=invoice.provider_reference,
                )
                if shuffle.random() < 0.5:
                    webhooks.apply_due(available={"transfer": provider}, now=CLOSING + dt.timedelta(days=30))
            webhooks.apply_due(available={"transfer": provider}, now=CLOSING + dt.timedelta(days=31))
            assert Invoice.objects.get().status == "paid"
            assert not WebhookEvent.objects.filter(applied_at=None).exists()
            assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0
            transaction.set_rollback(True)


def test_a_webhook_that_never_came_is_made_up_for_by_asking(issued: tuple[Invoice, MemoryProvider]) -> None:
    invoice, provider = issued
    provider.pay(invoice.provider_reference)

    asked = webhooks.ask_for_open(available={"transfer": provider}, now=CLOSING)
    again = webhooks.ask_for_open(available={"transfer": provider}, now=CLOSING + dt.timedelta(minutes=9))

    invoice.refresh_from_db()
    assert (asked, again, invoice.status) == (1, 0, "paid")


def test_an_event_that_does_not_fit_is_kept_for_a_person(issued: tuple[Invoice, MemoryProvider]) -> None:
    invoice, provider = issued
    Invoice.objects.filter(pk=invoice.pk).update(status="void")
    provider.pay(invoice.provider_reference)
    WebhookEvent.objects.create(
        id="evt_1", provider="transfer", kind="invoice.paid", object_id=invoice.provider_reference
    )

    webhooks.apply_due(available={"transfer": provider}, now=CLOSING + dt.timedelta(days=30))

    (failing,) = review.failing_webhooks()
    assert "is paid, but ours is void" in failing.last_error
    assert failing.applied_at is None


@pytest.mark.parametrize(("kind", "object_id"), [("charge.succeeded", "ch_1"), ("invoice.paid", "in_stranger")])
def test_events_about_something_else_are_done_with(
    issued: tuple[Invoice, MemoryProvider], kind: str, object_id: str
) -> None:
    WebhookEvent.objects.create(id="evt_1", provider="transfer", kind=kind, object_id=object_id)

    done = webhooks.apply_due(available={"transfer": issued[1]}, now=CLOSING + dt.timedelta(days=30))

    assert done == 1
