"""What the twin holds and which of its rules we lean on: customers, invoices and their items, events.

Accepted parameters are read from the SDK's own types: one that Stripe does not know is refused here too.
"""

import dataclasses
import time
import typing

from stripe import params as sdk

Json = dict[str, typing.Any]


class Refusal(Exception):
    """A 4xx answer."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **({"code": code} if code else {})}}


def accepted(params_type: type) -> frozenset[str]:
    """The parameters that the SDK's type for a call knows."""
    return frozenset(params_type.__annotations__)


KNOWN = {
    "customer.create": accepted(sdk.CustomerCreateParams),
    "customer.list": accepted(sdk.CustomerListParams),
    "invoice.create": accepted(sdk.InvoiceCreateParams),
    "invoice.list": accepted(sdk.InvoiceListParams),
    "invoice.finalize": accepted(sdk.InvoiceFinalizeInvoiceParams),
    "invoice.send": accepted(sdk.InvoiceSendInvoiceParams),
    "invoice.pay": accepted(sdk.InvoicePayParams),
    "invoice.void": accepted(sdk.InvoiceVoidInvoiceParams),
    "invoice.mark_uncollectible": accepted(sdk.InvoiceMarkUncollectibleParams),
    "item.create": accepted(sdk.InvoiceItemCreateParams),
    "item.list": accepted(sdk.InvoiceItemListParams),
    "event.list": accepted(sdk.EventListParams),
}


@dataclasses.dataclass
class Account:
    """One Stripe account in test mode."""

    clock_offset: int = 0
    customers: dict[str, Json] = dataclasses.field(default_factory=dict)
    invoices: dict[str, Json] = dataclasses.field(default_factory=dict)
    items: dict[str, Json] = dataclasses.field(default_factory=dict)
    events: list[Json] = dataclasses.field(default_factory=list)
    made: int = 0

    def now(self) -> int:
        """Unix seconds on the twin's own clock."""
        return int(time.time()) + self.clock_offset

    def call(self, method: str, path: str, given: Json, base: str) -> Json:
        """Answers one request. Raises Refusal."""
        match (method, path.strip("/").split("/")[1:]):
            case ("POST", ["customers"]):
                return self._create_customer(_checked("customer.create", given))
            case ("GET", ["customers"]):
                wanted = _checked("customer.list", given)
                return _listed(path, [one for one in self.customers.values() if one["email"] == wanted.get("email")])
            case ("GET", ["customers", reference]):
                return _find(self.customers, reference, "customer")
            case ("POST", ["invoices"]):
                return self._create_invoice(_checked("invoice.create", given), base)
            case ("GET", ["invoices"]):
                wanted = _checked("invoice.list", given)
                return _listed(
                    path, [one for one in self.invoices.values() if one["customer"] == wanted.get("customer")]
                )
            case ("GET", ["invoices", reference]):
                return _find(self.invoices, reference, "invoice")
            case ("POST", ["invoices", reference, verb]) if f"invoice.{verb}" in KNOWN:
                _checked(f"invoice.{verb}", given)
                return self._move(_find(self.invoices, reference, "invoice"), verb)
            case ("POST", ["invoiceitems"]):
                return self._create_item(_checked("item.create", given))
            case ("GET", ["invoiceitems"]):
                wanted = _checked("item.list", given)
                return _listed(path, [one for one in self.items.values() if one["invoice"] == wanted.get("invoice")])
            case ("GET", ["events"]):
                _checked("event.list", given)
                return _listed(path, list(reversed(self.events)))
        raise Refusal(404, f"Unrecognized request URL ({method}: {path}).")

    def _create_customer(self, given: Json) -> Json:
        made = {
            "id": self._id("cus"),
            "object": "customer",
            "name": given.get("name"),
            "email": given.get("email"),
            "metadata": given.get("metadata", {}),
            "created": self.now(),
            "livemode": False,
        }
        self.customers[made["id"]] = made
        self._event("customer.created", made)
        return made

    def _create_invoice(self, given: Json, base: str) -> Json:
        customer = _find(self.customers, given.get("customer", ""), "customer")
        if given.get("collection_method") == "send_invoice":
            if not customer["email"]:
                raise Refusal(
                    400, "Missing email. The customer must have a valid email.", code="customer_missing_email"
                )
            if "days_until_due" not in given:
                raise Refusal(400, "Missing days_until_due.", code="parameter_missing")
        reference = self._id("in")
        made = {
            "id": reference,
            "object": "invoice",
            "status": "draft",
            "customer": customer["id"],
            "currency": given.get("currency", "usd"),
            "collection_method": given.get("collection_method", "charge_automatically"),
            "description": given.get("description"),
            "footer": given.get("footer"),
            "metadata": given.get("metadata", {}),
            "total": 0,
            "amount_due": 0,
            "amount_paid": 0,
            "hosted_invoice_url": None,
            "created": self.now(),
            "livemode": False,
            "_page": f"{base}/pay/{reference}",
        }
        self.invoices[reference] = made
        self._event("invoice.created", made)
        return made

    def _create_item(self, given: Json) -> Json:
        invoice = _find(self.invoices, given.get("invoice", ""), "invoice")
        if invoice["status"] != "draft":
            raise Refusal(400, "This invoice is no longer editable.", code="invoice_not_editable")
        if invoice["customer"] != given.get("customer") or invoice["currency"] != given.get("currency"):
            raise Refusal(400, "Customer and currency must be the invoice's.")
        amount = str(given.get("amount", ""))
        if not amount.lstrip("-").isdecimal():
            raise Refusal(400, f"Invalid integer: {amount}", code="parameter_invalid_integer")
        made = {
            "id": self._id("ii"),
            "object": "invoiceitem",
            "invoice": invoice["id"],
            "customer": invoice["customer"],
            "currency": invoice["currency"],
            "amount": int(amount),
            "description": given.get("description"),
            "metadata": given.get("metadata", {}),
            "date": self.now(),
            "livemode": False,
        }
        self.items[made["id"]] = made
        invoice["total"] += int(amount)
        invoice["amount_due"] = invoice["total"]
        return made

    def _move(self, invoice: Json, verb: str) -> Json:
        allowed, status, event = {
            "finalize": ({"draft"}, "open", "invoice.finalized"),
            "send": ({"open"}, "open", "invoice.sent"),
            "pay": ({"open", "uncollectible"}, "paid", "invoice.paid"),
            "void": ({"open", "uncollectible"}, "void", "invoice.voided"),
            "mark_uncollectible": ({"open"}, "uncollectible", "invoice.marked_uncollectible"),
        }[verb]
        if invoice["status"] not in allowed:
            raise Refusal(400, f"You cannot {verb} an invoice that is {invoice['status']}.")
        invoice["status"] = status
        if verb == "finalize":
            invoice["hosted_invoice_url"] = invoice["_page"]
        if verb == "pay":
            invoice["amount_paid"], invoice["amount_due"] = invoice["total"], 0
        self._event(event, invoice)
        return invoice

    def _event(self, kind: str, subject: Json) -> None:
        self.events.append(
            {
                "id": self._id("evt"),
                "object": "event",
                "type": kind,
                "created": self.now(),
                "livemode": False,
                "data": {"object": dict(subject)},
            }
        )

    def _id(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}_twin{self.made:06d}"


def _checked(call: str, given: Json) -> Json:
    unknown = sorted(set(given) - KNOWN[call])
    if unknown:
        raise Refusal(400, f"Received unknown parameter: {unknown[0]}", code="parameter_unknown")
    return given


def _find(found: dict[str, Json], reference: str, kind: str) -> Json:
    if reference not in found:
        raise Refusal(404, f"No such {kind}: '{reference}'", code="resource_missing")
    return found[reference]


def _listed(path: str, data: list[Json]) -> Json:
    return {"object": "list", "url": path, "has_more": False, "data": data}
