"""Stripe behind the port. Only this module imports stripe: it makes the client and gives its errors their meaning.

Measured on stripe 16.1.0: a client retries only when told to, sends telemetry unless told not to, waits 80 s, and
overriding one base address leaves the other three on the real hosts.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import stripe

from moorage.billing import stripe_objects as objects
from moorage.billing.payments import (
    Capability,
    Customer,
    Page,
    ProviderEvent,
    ProviderFailed,
    ProviderRefused,
    ProviderUnavailable,
    ReferenceUnknown,
    SavedMethod,
    UsageReport,
)
from moorage.billing.stripe_invoices import StripeInvoices
from moorage.billing.stripe_payments import StripePayments

API_VERSION: Final = "2026-10-28.endive"
_TIMEOUT: Final = (5, 20)
_RETRIES: Final = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StripeSettings:
    """How to reach Stripe. ``base_url`` replaces all of its hosts (for a stand-in); None: the real ones."""

    api_key: str = dataclasses.field(repr=False)
    base_url: str | None = None
    #: The event name of the meter that takes micro-dollars; empty: usage is not exported.
    meter: str = ""


class StripeProvider(StripeInvoices, StripePayments):
    """Collects through Stripe Invoicing, Checkout and PaymentIntents."""

    name = "stripe"
    _declined = stripe.CardError
    _refused = stripe.InvalidRequestError

    def __init__(self, settings: StripeSettings) -> None:
        self._settings = settings
        self._client: Any = _client(settings)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """See the port: everything, the meter where one is named."""
        return frozenset(Capability) - (frozenset() if self._settings.meter else {Capability.METER})

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:
        """See the port."""
        params: dict[str, Any] = {
            "name": customer.name,
            "metadata": {objects.ORGANIZATION: customer.organization_id},
            **({"email": customer.email} if customer.email else {}),
        }
        with self._translated():
            if customer.email:
                listed = self._client.v1.customers.list({"email": customer.email, "limit": 100})
                for known in listed.auto_paging_iter():
                    if objects.metadata(known, objects.ORGANIZATION) == customer.organization_id:
                        return str(known.id)
            return str(self._client.v1.customers.create(params, {"idempotency_key": idempotency_key}).id)

    def start_setup(
        self, customer_reference: str, *, currency: str, return_url: str, cancel_url: str, idempotency_key: str
    ) -> Page:
        """See the port: a Checkout session in setup mode. Stripe writes its id in place of the braces."""
        joint = "&" if "?" in return_url else "?"
        with self._translated():
            made = self._client.v1.checkout.sessions.create(
                {
                    "mode": "setup",
                    "customer": customer_reference,
                    "currency": currency.lower(),
                    "success_url": f"{return_url}{joint}page={{CHECKOUT_SESSION_ID}}",
                    "cancel_url": cancel_url,
                },
                {"idempotency_key": idempotency_key},
            )
            return Page(reference=str(made.id), url=made.url or "")

    def finish_setup(self, reference: str, *, customer_reference: str) -> SavedMethod | None:
        """See the port."""
        with self._translated():
            session = self._client.v1.checkout.sessions.retrieve(
                reference, {"expand": ["setup_intent", "setup_intent.payment_method"]}
            )
            intent = session.setup_intent
            if session.mode != "setup" or session.status != "complete" or intent is None:
                return None
            method, customer = intent.payment_method, objects.reference(session.customer)
            if method is None or customer != customer_reference:
                return None
            self._client.v1.customers.update(
                customer, {"invoice_settings": {"default_payment_method": objects.reference(method)}}
            )
            return objects.saved_method(method, customer)

    def saved_method(self, customer_reference: str) -> SavedMethod | None:
        """See the port: the customer's default for invoices."""
        with self._translated():
            found = self._client.v1.customers.retrieve(
                customer_reference, {"expand": ["invoice_settings.default_payment_method"]}
            )
            if getattr(found, "deleted", False):
                raise ReferenceUnknown(f"The customer {customer_reference} was deleted at Stripe.")
            method = found.invoice_settings.default_payment_method
            return None if method is None else objects.saved_method(method, customer_reference)

    def open_portal(self, customer_reference: str, *, return_url: str) -> str:
        """See the port."""
        with self._translated():
            made = self._client.v1.billing_portal.sessions.create(
                {"customer": customer_reference, "return_url": return_url}
            )
            return str(made.url)

    def events_since(self, since: dt.datetime) -> Iterator[ProviderEvent]:
        """See the port."""
        with self._translated():
            listed = self._client.v1.events.list({"created": {"gte": objects.seconds(since)}, "limit": 100})
            for found in listed.auto_paging_iter():
                thing: Any = found.data.object
                yield ProviderEvent(
                    id=str(found.id),
                    kind=str(found.type),
                    object_id=str(getattr(thing, "id", "") or ""),
                    created_at=objects.moment(found.created),
                )

    def push_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        """See the port."""
        try:
            with self._translated():
                self._client.v1.billing.meter_events.create(
                    {
                        "event_name": self._settings.meter,
                        "identifier": report.identifier,
                        "timestamp": objects.seconds(report.at),
                        "payload": {
                            "stripe_customer_id": report.customer_reference,
                            "value": str(report.value_micro),
                        },
                    },
                    {"idempotency_key": idempotency_key},
                )
        except ProviderRefused as refused:
            # An earlier attempt whose answer was lost: that is what the identifier is for.
            if "already exists" in str(refused) and report.identifier in str(refused):
                return
            raise

    def usage_total(self, customer_reference: str, *, start: dt.datetime, end: dt.datetime) -> int:
        """See the port."""
        with self._translated():
            for meter in self._client.v1.billing.meters.list({"limit": 100}).auto_paging_iter():
                if meter.event_name == self._settings.meter:
                    break
            else:
                raise ReferenceUnknown(f"Stripe has no meter {self._settings.meter}.")
            listed = self._client.v1.billing.meters.event_summaries.list(
                meter.id,
                {
                    "customer": customer_reference,
                    "start_time": objects.seconds(start),
                    "end_time": objects.seconds(end),
                    "value_grouping_window": "hour",
                    "limit": 100,
                },
            )
            return sum(int(one.aggregated_value) for one in listed.auto_paging_iter())

    def _translated(self) -> AbstractContextManager[None]:
        return _translated()


def _client(settings: StripeSettings) -> stripe.StripeClient:
    stripe.enable_telemetry = False
    base = settings.base_url
    addresses: Any = {"api": base, "connect": base, "files": base, "meter_events": base} if base else {}
    return stripe.StripeClient(
        settings.api_key,
        stripe_version=API_VERSION,
        max_network_retries=_RETRIES,
        base_addresses=addresses,
        http_client=stripe.RequestsClient(timeout=_TIMEOUT),
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Stripe's exceptions end here."""
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise ProviderUnavailable(_sentence(error)) from error
    except stripe.StripeError as error:
        if error.code == "resource_missing":
            raise ReferenceUnknown(_sentence(error)) from error
        # 409: another call with this key is still running; 424 and 5xx: Stripe's own trouble.
        if error.http_status is not None and error.http_status >= 500:
            raise ProviderFailed(_sentence(error)) from error
        # An APIError with another status is an answer that was cut off or is no JSON: the work may well be done.
        if isinstance(error, stripe.APIError) or error.http_status is None or error.http_status in {409, 424, 429}:
            raise ProviderUnavailable(_sentence(error)) from error
        raise ProviderRefused(_sentence(error)) from error


def _sentence(error: stripe.StripeError) -> str:
    return f"{type(error).__name__}: {error.user_message or str(error)}"[:500]
