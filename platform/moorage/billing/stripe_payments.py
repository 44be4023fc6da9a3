"""Top-ups, refunds and disputes at Stripe. What is made is looked up by our metadata first, since Stripe forgets an
idempotency key after a day."""

import datetime as dt
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from moorage.billing import stripe_objects as objects
from moorage.billing.payments import (
    Page,
    Payment,
    ProviderDispute,
    ProviderRefund,
    ProviderRefused,
    RefundDocument,
    TopUpDocument,
)

_INTENT: Final = ["latest_charge"]
_SESSION: Final = ["payment_intent", "payment_intent.latest_charge"]
#: Between our clock and Stripe's.
_SLACK: Final = dt.timedelta(hours=1)


class StripePayments:
    """The part of the adapter that is about single payments. The adapter gives the client and its errors' meaning."""

    _client: Any
    _declined: type[Exception]

    def _translated(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def start_top_up(self, document: TopUpDocument, *, idempotency_key: str) -> Page:
        """See the port: a Checkout session in payment mode."""
        names = {objects.TOP_UP: document.top_up_id}
        with self._translated():
            listed = self._client.v1.checkout.sessions.list(
                {"customer": document.customer_reference, "created": _since(document.asked_at - _SLACK), "limit": 100}
            )
            for known in listed.auto_paging_iter():
                if objects.metadata(known, objects.TOP_UP) == document.top_up_id and known.status != "expired":
                    return Page(reference=str(known.id), url=known.url or "")
            made = self._client.v1.checkout.sessions.create(
                {
                    "mode": "payment",
                    "customer": document.customer_reference,
                    "client_reference_id": document.top_up_id,
                    "success_url": document.return_url,
                    "cancel_url": document.cancel_url,
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": document.currency.lower(),
                                "unit_amount": document.cents,
                                "product_data": {"name": "Moorage credit"},
                            },
                        }
                    ],
                    "metadata": names,
                    "payment_intent_data": {"metadata": names},
                },
                {"idempotency_key": idempotency_key},
            )
            return Page(reference=str(made.id), url=made.url or "")

    def charge_saved(self, document: TopUpDocument, *, idempotency_key: str) -> Payment:
        """See the port: a PaymentIntent, confirmed off session with the customer's default method."""
        with self._translated():
            known = self._find_payment(document)
            if known is not None:
                return objects.payment(known)
            customer = self._client.v1.customers.retrieve(document.customer_reference)
            method = objects.reference(customer.invoice_settings.default_payment_method)
            if not method:
                raise ProviderRefused("There is no saved payment method.")
            try:
                made = self._client.v1.payment_intents.create(
                    {
                        "amount": document.cents,
                        "currency": document.currency.lower(),
                        "customer": document.customer_reference,
                        "payment_method": method,
                        "confirm": True,
                        "off_session": True,
                        "description": "Moorage credit",
                        "metadata": {objects.TOP_UP: document.top_up_id, objects.OFF_SESSION: "yes"},
                        "expand": _INTENT,
                    },
                    {"idempotency_key": idempotency_key},
                )
            except self._declined:
                made = self._find_payment(document)
                if made is None:
                    raise
            return objects.payment(made)

    def fetch_payment(self, reference: str) -> Payment:
        """See the port."""
        with self._translated():
            if reference.startswith("cs_"):
                return objects.checkout(self._client.v1.checkout.sessions.retrieve(reference, {"expand": _SESSION}))
            return objects.payment(self._client.v1.payment_intents.retrieve(reference, {"expand": _INTENT}))

    def refund(self, document: RefundDocument, *, idempotency_key: str) -> ProviderRefund:
        """See the port."""
        with self._translated():
            listed = self._client.v1.refunds.list({"payment_intent": document.payment_reference, "limit": 100})
            for known in listed.auto_paging_iter():
                if objects.metadata(known, objects.REFUND) == document.refund_id:
                    return objects.refund(known)
            made = self._client.v1.refunds.create(
                {
                    "payment_intent": document.payment_reference,
                    "amount": document.cents,
                    "reason": "requested_by_customer",
                    "metadata": {objects.REFUND: document.refund_id},
                },
                {"idempotency_key": idempotency_key},
            )
            return objects.refund(made)

    def fetch_refund(self, reference: str) -> ProviderRefund:
        """See the port."""
        with self._translated():
            return objects.refund(self._client.v1.refunds.retrieve(reference))

    def refunds_of(self, reference: str) -> Iterator[ProviderRefund]:
        """See the port."""
        of = "charge" if reference.startswith(("ch_", "py_")) else "payment_intent"
        with self._translated():
            for found in self._client.v1.refunds.list({of: reference, "limit": 100}).auto_paging_iter():
                yield objects.refund(found)

    def refunds_of_invoice(self, reference: str) -> Iterator[ProviderRefund]:
        """See the port."""
        with self._translated():
            paid = self._client.v1.invoice_payments.list({"invoice": reference, "limit": 100})
            for one in paid.auto_paging_iter():
                intent = objects.reference(one.payment.payment_intent) if one.payment.type == "payment_intent" else ""
                if intent:
                    yield from self.refunds_of(intent)

    def fetch_dispute(self, reference: str) -> ProviderDispute:
        """See the port."""
        with self._translated():
            return self._dispute(self._client.v1.disputes.retrieve(reference, {"expand": ["payment_intent"]}))

    def payments_since(self, since: dt.datetime) -> Iterator[Payment]:
        """See the port."""
        with self._translated():
            listed = self._client.v1.payment_intents.list(
                {"created": _since(since), "limit": 100, "expand": ["data.latest_charge"]}
            )
            for found in listed.auto_paging_iter():
                yield objects.payment(found)

    def refunds_since(self, since: dt.datetime) -> Iterator[ProviderRefund]:
        """See the port."""
        with self._translated():
            listed = self._client.v1.refunds.list({"created": _since(since), "limit": 100})
            for found in listed.auto_paging_iter():
                yield objects.refund(found)

    def disputes_since(self, since: dt.datetime) -> Iterator[ProviderDispute]:
        """See the port."""
        with self._translated():
            listed = self._client.v1.disputes.list(
                {"created": _since(since), "limit": 100, "expand": ["data.payment_intent"]}
            )
            for found in listed.auto_paging_iter():
                yield self._dispute(found)

    def _find_payment(self, document: TopUpDocument) -> Any:
        listed = self._client.v1.payment_intents.list(
            {
                "customer": document.customer_reference,
                "created": _since(document.asked_at - _SLACK),
                "limit": 100,
                "expand": ["data.latest_charge"],
            }
        )
        for known in listed.auto_paging_iter():
            if objects.metadata(known, objects.TOP_UP) == document.top_up_id:
                return known
        return None

    def _dispute(self, found: Any) -> ProviderDispute:
        """With the invoice that the payment was for, if it was for one."""
        about = objects.dispute(found, invoice_id="")
        if about.top_up_id or not about.payment_reference:
            return about
        paid = {"type": "payment_intent", "payment_intent": about.payment_reference}
        for one in self._client.v1.invoice_payments.list({"payment": paid, "limit": 10}).data:
            invoice = self._client.v1.invoices.retrieve(objects.reference(one.invoice))
            return objects.dispute(found, invoice_id=objects.metadata(invoice, objects.INVOICE))
        return about


def _since(moment: dt.datetime) -> dict[str, int]:
    return {"gte": objects.seconds(moment)}
