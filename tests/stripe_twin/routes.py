"""Every address that the twin answers, with the SDK's type of its parameters."""

import re
import typing

from stripe import params as sdk
from stripe.params import billing, billing_portal
from stripe.params import checkout as checkout_params

from tests.stripe_twin import checkout, customers, giving_back, invoices, meters, payments
from tests.stripe_twin.account import Account, Json, Refusal
from tests.stripe_twin.parameters import check

Answer = typing.Callable[..., Json]


def portal(account: Account, given: Json) -> Json:
    """``POST /v1/billing_portal/sessions``."""
    customer = account.find(given.get("customer"), "customer")
    made = account.add("bps", "billing_portal.session", customer=customer["id"], return_url=given.get("return_url"))
    made["url"] = f"{account.base}/portal/{made['id']}"
    return made


def events(account: Account, given: Json) -> Json:
    """``GET /v1/events``."""
    checkout.expire_old(account)
    return account.page(account.events, given)


ROUTES: tuple[tuple[str, str, type, Answer], ...] = (
    ("POST", "/v1/customers", sdk.CustomerCreateParams, customers.create),
    ("GET", "/v1/customers", sdk.CustomerListParams, customers.listing),
    ("GET", "/v1/customers/{id}", sdk.CustomerRetrieveParams, customers.retrieve),
    ("POST", "/v1/customers/{id}", sdk.CustomerUpdateParams, customers.update),
    ("GET", "/v1/payment_methods", sdk.PaymentMethodListParams, customers.methods),
    ("GET", "/v1/payment_methods/{id}", sdk.PaymentMethodRetrieveParams, customers.method),
    ("POST", "/v1/payment_methods/{id}/detach", sdk.PaymentMethodDetachParams, customers.detach),
    ("POST", "/v1/setup_intents", sdk.SetupIntentCreateParams, payments.create_setup),
    ("GET", "/v1/setup_intents/{id}", sdk.SetupIntentRetrieveParams, payments.retrieve_setup),
    ("POST", "/v1/payment_intents", sdk.PaymentIntentCreateParams, payments.create),
    ("GET", "/v1/payment_intents", sdk.PaymentIntentListParams, payments.listing),
    ("GET", "/v1/payment_intents/{id}", sdk.PaymentIntentRetrieveParams, payments.retrieve),
    ("POST", "/v1/checkout/sessions", checkout_params.SessionCreateParams, checkout.create),
    ("GET", "/v1/checkout/sessions", checkout_params.SessionListParams, checkout.listing),
    ("GET", "/v1/checkout/sessions/{id}", checkout_params.SessionRetrieveParams, checkout.retrieve),
    ("POST", "/v1/checkout/sessions/{id}/expire", checkout_params.SessionExpireParams, checkout.expire),
    ("POST", "/v1/billing_portal/sessions", billing_portal.SessionCreateParams, portal),
    ("POST", "/v1/invoices", sdk.InvoiceCreateParams, invoices.create),
    ("GET", "/v1/invoices", sdk.InvoiceListParams, invoices.listing),
    ("GET", "/v1/invoices/{id}", sdk.InvoiceRetrieveParams, invoices.retrieve),
    ("POST", "/v1/invoices/{id}/finalize", sdk.InvoiceFinalizeInvoiceParams, invoices.finalize),
    ("POST", "/v1/invoices/{id}/send", sdk.InvoiceSendInvoiceParams, invoices.send),
    ("POST", "/v1/invoices/{id}/pay", sdk.InvoicePayParams, invoices.pay),
    ("POST", "/v1/invoices/{id}/void", sdk.InvoiceVoidInvoiceParams, invoices.void),
    ("POST", "/v1/invoices/{id}/mark_uncollectible", sdk.InvoiceMarkUncollectibleParams, invoices.give_up),
    ("POST", "/v1/invoiceitems", sdk.InvoiceItemCreateParams, invoices.add_item),
    ("GET", "/v1/invoiceitems", sdk.InvoiceItemListParams, invoices.items),
    ("GET", "/v1/invoice_payments", sdk.InvoicePaymentListParams, invoices.settled),
    ("POST", "/v1/refunds", sdk.RefundCreateParams, giving_back.refund),
    ("GET", "/v1/refunds", sdk.RefundListParams, giving_back.refunds),
    ("GET", "/v1/refunds/{id}", sdk.RefundRetrieveParams, giving_back.retrieve_refund),
    ("POST", "/v1/credit_notes", sdk.CreditNoteCreateParams, giving_back.credit_note),
    ("GET", "/v1/credit_notes", sdk.CreditNoteListParams, giving_back.credit_notes),
    ("GET", "/v1/disputes", sdk.DisputeListParams, giving_back.disputes),
    ("GET", "/v1/disputes/{id}", sdk.DisputeRetrieveParams, giving_back.retrieve_dispute),
    ("POST", "/v1/billing/meters", billing.MeterCreateParams, meters.create),
    ("GET", "/v1/billing/meters", billing.MeterListParams, meters.listing),
    ("GET", "/v1/billing/meters/{id}/event_summaries", billing.MeterEventSummaryListParams, meters.summaries),
    ("POST", "/v1/billing/meter_events", billing.MeterEventCreateParams, meters.take),
    ("GET", "/v1/events", sdk.EventListParams, events),
)
_COMPILED = tuple(
    (method, re.compile(f"^{path.replace('{id}', '([A-Za-z0-9_]+)')}$"), params, answer)
    for method, path, params, answer in ROUTES
)


def call(account: Account, method: str, path: str, given: Json) -> Json:
    """Answers one request. Raises Refusal."""
    for known, pattern, params, answer in _COMPILED:
        found = pattern.match(path)
        if known == method and found:
            check(given, params)
            paths = given.get("expand", [])
            made = account.expanded(answer(account, given, *found.groups()), paths if isinstance(paths, list) else [])
            # A client asks for the next page of a list at the list's own address.
            return {**made, "url": path} if made["object"] == "list" else made
    raise Refusal(404, f"Unrecognized request URL ({method}: {path}).")
