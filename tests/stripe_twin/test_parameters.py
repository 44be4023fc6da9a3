"""What our adapter sends is what the installed SDK knows, field by field."""

import datetime as dt
import typing

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
from tests.stripe_twin.parameters import fields_of
from tests.stripe_twin.process import API_KEY, TwinProcess
from tests.stripe_twin.routes import ROUTES

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
    ("GET", "/v1/invoice_payments"): {"payment", "invoice", "limit"},
    ("POST", "/v1/refunds"): {"payment_intent", "amount", "reason", "metadata"},
    ("GET", "/v1/refunds"): {"payment_intent", "charge", "limit", "created"},
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
    setup = provider.start_setup(
        customer, currency="EUR", return_url="https://a", cancel_url="https://b", idempotency_key="s"
    )
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
    for reference in (disputed["charge"], disputed["payment_intent"]):
        list(provider.refunds_of(reference))
    assert list(provider.refunds_of_invoice(settled["invoice"]))
    for read in (provider.payments_since, provider.refunds_since, provider.disputes_since, provider.invoices_since):
        assert list(read(now - dt.timedelta(hours=1)))
    assert list(provider.events_since(now - dt.timedelta(hours=1)))
    report = UsageReport(identifier="u1", customer_reference=customer, value_micro=5, at=now)
    provider.push_usage(report, idempotency_key="p")
    hour = now.replace(minute=0, second=0, microsecond=0)
    provider.usage_total(customer, start=hour, end=hour + dt.timedelta(hours=1))
