"""The twin behaves as Stripe does where we lean on it, and it knows what the installed SDK knows."""

import datetime as dt
import threading
import typing
import urllib.error
from collections.abc import Iterator

import pytest
import stripe

from moorage.billing.payments import (
    CreditNoteDocument,
    Customer,
    DocumentLine,
    InvoiceDocument,
    RefundDocument,
    TopUpDocument,
    UsageReport,
)
from moorage.billing.payments_stripe import StripeProvider, StripeSettings
from moorage.kernel import clock
from tests.stripe_twin import forms
from tests.stripe_twin.parameters import fields_of
from tests.stripe_twin.process import API_KEY, DECLINED_CARD, TwinProcess, running
from tests.stripe_twin.routes import ROUTES
from tests.waiting import wait_until

#: Every field that our adapter sends, by address. The walk below must send these and no others; each must be one that
#: the installed SDK's types know. A new SDK that drops or renames one fails here.
SENT: dict[tuple[str, str], set[str]] = {
    ("POST", "/v1/customers"): {"name", "metadata", "email"},
    ("GET", "/v1/customers"): {"email", "limit"},
    ("GET", "/v1/customers/{id}"): {"expand"},
    ("POST", "/v1/customers/{id}"): {"invoice_settings"},
    ("POST", "/v1/checkout/sessions"): {
        "mode",
        "customer",
        "currency",
        "success_url",
        "cancel_url",
        "client_reference_id",
        "line_items",
        "metadata",
        "payment_intent_data",
    },
    ("GET", "/v1/checkout/sessions"): {"customer", "created", "limit"},
    ("GET", "/v1/checkout/sessions/{id}"): {"expand"},
    ("POST", "/v1/billing_portal/sessions"): {"customer", "return_url"},
    ("POST", "/v1/billing/meters"): {"display_name", "event_name", "default_aggregation"},
    ("POST", "/v1/payment_intents"): {
        "amount",
        "currency",
        "customer",
        "payment_method",
        "confirm",
        "off_session",
        "description",
        "metadata",
        "expand",
    },
    ("GET", "/v1/payment_intents"): {"customer", "created", "limit", "expand"},
    ("GET", "/v1/payment_intents/{id}"): {"expand"},
    ("POST", "/v1/invoices"): {
        "customer",
        "currency",
        "auto_advance",
        "collection_method",
        "pending_invoice_items_behavior",
        "description",
        "footer",
        "metadata",
        "days_until_due",
    },
    ("GET", "/v1/invoices"): {"customer", "limit", "created"},
    ("GET", "/v1/invoices/{id}"): set(),
    ("POST", "/v1/invoices/{id}/finalize"): {"auto_advance"},
    ("POST", "/v1/invoices/{id}/send"): set(),
    ("POST", "/v1/invoices/{id}/pay"): {"off_session"},
    ("POST", "/v1/invoices/{id}/void"): set(),
    ("POST", "/v1/invoiceitems"): {"customer", "invoice", "currency", "amount", "description", "metadata"},
    ("GET", "/v1/invoiceitems"): {"invoice", "limit"},
    ("GET", "/v1/invoice_payments"): {"payment", "limit"},
    ("POST", "/v1/refunds"): {"payment_intent", "amount", "reason", "metadata"},
    ("GET", "/v1/refunds"): {"payment_intent", "limit", "created"},
    ("GET", "/v1/refunds/{id}"): set(),
    ("POST", "/v1/credit_notes"): {"invoice", "amount", "memo", "metadata", "refund_amount"},
    ("GET", "/v1/credit_notes"): {"invoice", "limit"},
    ("GET", "/v1/disputes"): {"created", "limit", "expand"},
    ("GET", "/v1/disputes/{id}"): {"expand"},
    ("GET", "/v1/billing/meters"): {"limit"},
    ("GET", "/v1/billing/meters/{id}/event_summaries"): {
        "customer",
        "start_time",
        "end_time",
        "value_grouping_window",
        "limit",
    },
    ("POST", "/v1/billing/meter_events"): {"event_name", "identifier", "timestamp", "payload"},
    ("GET", "/v1/events"): {"created", "limit"},
}


@pytest.fixture(scope="module")
def started() -> Iterator[TwinProcess]:
    with running() as twin:
        yield twin


@pytest.fixture
def twin(started: TwinProcess) -> TwinProcess:
    started.control("forget")
    return started


@pytest.fixture
def client(twin: TwinProcess) -> stripe.StripeClient:
    stripe.enable_telemetry = False
    hosts: typing.Any = dict.fromkeys(("api", "connect", "files", "meter_events"), twin.url)
    return stripe.StripeClient(API_KEY, base_addresses=hosts, max_network_retries=0)


def test_the_installed_sdk_knows_every_field_we_send() -> None:
    types = {(method, path): params for method, path, params, _ in ROUTES}

    unknown = {
        f"{method} {path}": fields - set(fields_of(types[method, path])) for (method, path), fields in SENT.items()
    }

    assert {address: fields for address, fields in unknown.items() if fields} == {}


def test_the_adapter_sends_the_fields_that_are_written_down_here_and_no_others(twin: TwinProcess) -> None:
    _walk(twin)

    sent: dict[tuple[str, str], set[str]] = {}
    for call in twin.control("journal"):
        address = (call["method"], _pattern(call["path"]))
        sent[address] = sent.get(address, set()) | set(call["given"])
    assert {address: fields for address, fields in sent.items() if fields != SENT[address]} == {}
    assert sent.keys() == SENT.keys()


def _pattern(path: str) -> str:
    return "/".join("{id}" if "_twin" in part else part for part in path.split("/"))


def _walk(twin: TwinProcess) -> None:
    """Everything that the adapter can do, once."""
    meter, now = "moorage_usage_microusd", clock.now()
    params: typing.Any = {"display_name": "Usage", "event_name": meter, "default_aggregation": {"formula": "sum"}}
    hosts: typing.Any = dict.fromkeys(("api", "connect", "files", "meter_events"), twin.url)
    stripe.StripeClient(API_KEY, base_addresses=hosts).v1.billing.meters.create(params)
    provider = StripeProvider(StripeSettings(api_key=API_KEY, base_url=twin.url, meter=meter))
    whom = Customer(organization_id="org_a", name="Harbour", email="alice@example.com")
    customer = provider.ensure_customer(whom, idempotency_key="c")
    setup = provider.start_setup(customer, return_url="https://a", cancel_url="https://b", idempotency_key="s")
    twin.pay(setup.reference)
    provider.finish_setup(setup.reference, customer_reference=customer)
    provider.saved_method(customer)
    provider.open_portal(customer, return_url="https://a")
    top_ups = [
        TopUpDocument(
            top_up_id=f"top_{number}",
            customer_reference=customer,
            currency="USD",
            cents=500,
            asked_at=now,
            return_url="https://a",
            cancel_url="https://b",
        )
        for number in range(2)
    ]
    page = provider.start_top_up(top_ups[0], idempotency_key="t")
    twin.pay(page.reference)
    provider.fetch_payment(page.reference)
    paid = provider.fetch_payment(provider.charge_saved(top_ups[1], idempotency_key="u").reference)
    back = RefundDocument(refund_id="ref_1", payment_reference=paid.reference, currency="USD", cents=100)
    provider.fetch_refund(provider.refund(back, idempotency_key="r").reference)
    documents = [
        InvoiceDocument(
            invoice_id=f"inv_{number}",
            number=f"M-{number}",
            customer_reference=customer,
            currency="USD",
            total_cents=100,
            lines=(DocumentLine(description="usage", amount_cents=100),),
            statement_sha256="ab" * 32,
            period="2026-11",
            due_days=14,
            is_charged_automatically=number == 1,
        )
        for number in range(3)
    ]
    issued = [provider.issue_invoice(one, idempotency_key=one.invoice_id).reference for one in documents]
    provider.void_invoice(issued[2], idempotency_key="v")
    for reference, owed in ((issued[0], 10), (issued[1], 0)):
        note = CreditNoteDocument(
            credit_note_id=f"cn_{reference}",
            number="C-1",
            invoice_reference=reference,
            currency="USD",
            owed_cents=owed,
            refund_cents=10 - owed,
            reason="A mistake.",
        )
        provider.issue_credit_note(note, idempotency_key=note.credit_note_id)
    (settled,) = twin.all("invoice_payment")
    disputed = twin.control("dispute", payment_intent=settled["payment"]["payment_intent"])
    provider.fetch_dispute(disputed["id"])
    for read in (provider.payments_since, provider.refunds_since, provider.disputes_since, provider.invoices_since):
        assert list(read(now - dt.timedelta(hours=1)))
    assert list(provider.events_since(now - dt.timedelta(hours=1)))
    report = UsageReport(identifier="u1", customer_reference=customer, value_micro=5, at=now)
    provider.push_usage(report, idempotency_key="p")
    hour = now.replace(minute=0, second=0, microsecond=0)
    provider.usage_total(customer, start=hour, end=hour + dt.timedelta(hours=1))


def test_an_unknown_parameter_is_refused_at_any_depth(client: stripe.StripeClient) -> None:
    wrong: list[typing.Any] = [
        {"nmae": "Harbour"},
        {"invoice_settings": {"default_payment_metod": "pm_1"}},
    ]

    for params in wrong:
        with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
            client.v1.customers.create(params)
    line: typing.Any = {"quantity": 1, "price_data": {"currency": "usd", "unit_amonut": 100}}
    with pytest.raises(stripe.InvalidRequestError, match="unit_amonut"):
        client.v1.checkout.sessions.create({"mode": "payment", "success_url": "https://a", "line_items": [line]})


def test_a_missing_parameter_is_refused(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: currency"):
        client.v1.payment_intents.create(typing.cast(typing.Any, {"amount": 100}))


def test_a_key_gives_the_same_answer_for_a_day_a_500_too(client: stripe.StripeClient, twin: TwinProcess) -> None:
    twin.fault("500", "/v1/customers", method="POST")
    options: typing.Any = {"idempotency_key": "k"}

    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.create({"name": "Harbour"}, options)
    twin.control("clock", seconds=24 * 3600 + 1)
    made = client.v1.customers.create({"name": "Harbour"}, options)
    again = client.v1.customers.create({"name": "Harbour"}, options)

    assert made.id == again.id
    assert len(twin.all("customer")) == 1


def test_other_parameters_under_a_known_key_are_an_error(client: stripe.StripeClient) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    client.v1.customers.create({"name": "Harbour"}, options)

    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Island"}, options)


def test_a_validation_failure_is_not_kept_for_its_key(client: stripe.StripeClient) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create(typing.cast(typing.Any, {"nmae": "Harbour"}), options)

    assert client.v1.customers.create({"name": "Harbour"}, options).name == "Harbour"


def test_a_second_call_while_the_first_still_runs_is_a_conflict(client: stripe.StripeClient, twin: TwinProcess) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    twin.fault("latency", "/v1/customers", method="POST", seconds=2)
    first = threading.Thread(target=lambda: client.v1.customers.create({"name": "Harbour"}, options))
    first.start()
    wait_until(lambda: twin.calls("POST", "/v1/customers") != [], seconds=10)

    with pytest.raises(stripe.StripeError) as conflict:
        client.v1.customers.create({"name": "Harbour"}, options)

    first.join()
    assert conflict.value.http_status == 409
    assert len(twin.all("customer")) == 1


def test_a_lost_answer_was_work_that_was_done(client: stripe.StripeClient, twin: TwinProcess) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    twin.fault("drop", "/v1/customers", method="POST")
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.create({"name": "Harbour"}, options)

    made = client.v1.customers.create({"name": "Harbour"}, options)

    assert [one["id"] for one in twin.all("customer")] == [made.id]


def test_an_answer_that_is_cut_off_is_an_error_of_the_connection(
    client: stripe.StripeClient, twin: TwinProcess
) -> None:
    twin.fault("truncated", "/v1/customers", method="POST")

    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"name": "Harbour"})


def test_too_many_requests_say_when_to_come_back(client: stripe.StripeClient, twin: TwinProcess) -> None:
    twin.fault("429", "/v1/customers")

    with pytest.raises(stripe.RateLimitError) as refused:
        client.v1.customers.create({"name": "Harbour"})

    headers: typing.Any = refused.value.headers
    assert headers["Retry-After"] == "1"


def test_a_page_is_paid_once_and_sends_the_customer_back(client: stripe.StripeClient, twin: TwinProcess) -> None:
    customer = client.v1.customers.create({"name": "Harbour"})
    params: typing.Any = {
        "mode": "setup",
        "currency": "usd",
        "customer": customer.id,
        "success_url": "https://a.example/back?page={CHECKOUT_SESSION_ID}",
    }
    session = client.v1.checkout.sessions.create(params)

    back = twin.pay(session.id)

    assert back == f"https://a.example/back?page={session.id}"
    with pytest.raises(urllib.error.HTTPError):
        twin.pay(session.id)
    twin_methods = client.v1.payment_methods.list({"customer": customer.id}).data
    assert [method.card.last4 for method in twin_methods if method.card] == ["4242"]


def test_a_declined_card_leaves_the_page_open(client: stripe.StripeClient, twin: TwinProcess) -> None:
    customer = client.v1.customers.create({"name": "Harbour"})
    line: typing.Any = {
        "quantity": 1,
        "price_data": {"currency": "usd", "unit_amount": 100, "product_data": {"name": "Credit"}},
    }
    session = client.v1.checkout.sessions.create(
        {"mode": "payment", "customer": customer.id, "success_url": "https://a", "line_items": [line]}
    )

    with pytest.raises(urllib.error.HTTPError):
        twin.pay(session.id, card=DECLINED_CARD)
    twin.pay(session.id)

    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_pages_expire_after_a_day(client: stripe.StripeClient, twin: TwinProcess) -> None:
    session = client.v1.checkout.sessions.create({"mode": "setup", "currency": "usd", "success_url": "https://a"})

    twin.control("clock", seconds=24 * 3600)

    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"


def test_lists_come_in_pages(client: stripe.StripeClient) -> None:
    for number in range(5):
        client.v1.customers.create({"name": f"Quay {number}"})

    listed = client.v1.customers.list({"limit": 2})

    assert [one.name for one in listed.auto_paging_iter()] == [f"Quay {number}" for number in (4, 3, 2, 1, 0)]


def test_events_are_delivered_twice_out_of_order_and_not_at_all_by_script(
    client: stripe.StripeClient, twin: TwinProcess
) -> None:
    for number in range(20):
        client.v1.customers.create({"name": f"Quay {number}"})

    plain = twin.planned()
    shuffled = twin.planned(copies=2, lost=30, seed=7)

    assert len(plain) == 20
    assert 20 < len(shuffled) < 40
    assert [payload for payload, _ in shuffled] != sorted(payload for payload, _ in shuffled)
    stripe.Webhook.construct_event(plain[0][0], plain[0][1], "whsec_the_twin_signs_with_this")


def test_nested_forms_are_read_as_they_are_written() -> None:
    assert forms.decoded("a[b][0][c]=1&a[b][1][c]=2&d[]=x&d[]=y&e=") == {
        "a": {"b": [{"c": "1"}, {"c": "2"}]},
        "d": ["x", "y"],
        "e": "",
    }
