"""The administrator's deeds: prices, and invoices in review. Needs a key with the scope `admin`."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import (
    ApproveFields,
    InvoicesFields,
    NewPriceFields,
    OrganizationInvoiceSerializer,
    PaidFields,
    PriceEntrySerializer,
    ReasonFields,
)
from moorage.api.serializers_money import PriceSerializer
from moorage.billing import prices, review
from moorage.billing import queries as billing
from moorage.billing import services as verbs
from moorage.billing.errors import (
    InvalidPeriod,
    InvalidPrice,
    InvoiceChanged,
    InvoiceNotFound,
    PaidElsewhere,
    PriceExists,
    PriceInThePast,
    ReasonMissing,
)
from moorage.billing.models import InvoiceStatus, Meter
from moorage.kernel import clock

TAG: Final = "Administrator"


class PricesView(AdministratorView):
    """The price list."""

    @operation(
        id="adminListPrices",
        tag=TAG,
        summary="Read the price list",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By meter and model.",
                kind=paging.page_of(PriceEntrySerializer),
                example=examples.page(examples.PRICE_ENTRY),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every meter and model that has a price: the one in force, what follows, and what was before."""
        entries = review.price_list(now=clock.now())
        page = paging.page_in_memory(
            entries, name="price", key=lambda entry: f"{entry.meter} {entry.model}", query=self.query
        )
        return page.answer(PriceEntrySerializer)

    @operation(
        id="adminSetPrice",
        tag=TAG,
        summary="Set a price",
        body=NewPriceFields,
        body_example={"meter": "output_tokens", "model": "demo/*", "price": "0.60"},
        answers={201: Answer(description="The new price.", kind=PriceSerializer, example=examples.PRICE)},
        raises=[InvalidPrice, PriceInThePast, PriceExists],
    )
    def post(self, _request: Request) -> Response:
        """A new price from a moment on. No existing price changes, and no usage that is rated already."""
        meter = Meter(self.body["meter"])
        made = verbs.set_price(
            meter=meter,
            model=self.body["model"],
            pico_per_unit=prices.parse(meter, self.body["price"]),
            valid_from=self.body["valid_from"],
            note=self.body["note"],
            by=self.actor,
        )
        return Response(PriceSerializer(made).data, status=201)


class AllInvoicesView(AdministratorView):
    """The invoices of all organizations."""

    @operation(
        id="adminListInvoices",
        tag=TAG,
        summary="List invoices of all organizations",
        query=InvoicesFields,
        answers={
            200: Answer(
                description="The invoices, newest first.",
                kind=paging.page_of(OrganizationInvoiceSerializer),
                example=examples.page(examples.ORGANIZATION_INVOICE),
            )
        },
        raises=[InvalidPeriod, paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Invoices of all organizations, newest first; `status=in_review` are those that wait for you."""
        period, status = self.query.get("period"), self.query.get("status")
        rows = review.all_invoices(
            period=billing.period_of(period) if period else None, status=InvoiceStatus(status) if status else None
        )
        return paging.page(rows, order="-id", query=self.query).answer(OrganizationInvoiceSerializer)


def _changed(example: dict[str, Any]) -> dict[int, Answer]:
    return {200: Answer(description="The invoice now.", kind=OrganizationInvoiceSerializer, example=example)}


class _InvoiceVerbView(AdministratorView):
    def shown(self, invoice_id: str) -> Response:
        """The invoice as it is now."""
        return Response(OrganizationInvoiceSerializer(review.any_invoice(invoice_id)).data)


class ApproveView(_InvoiceVerbView):
    """Out of review."""

    @operation(
        id="adminApproveInvoice",
        tag=TAG,
        summary="Approve an invoice",
        path=["invoice_id"],
        body=ApproveFields,
        body_example={"reason": "Checked against the engine's counters."},
        answers=_changed(examples.ORGANIZATION_INVOICE),
        raises=[InvoiceNotFound, InvoiceChanged],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """Lets an invoice out of review: it gets its number and goes to the organization."""
        verbs.approve_invoice(invoice=review.any_invoice(invoice_id), by=self.actor, reason=self.body["reason"])
        return self.shown(invoice_id)


class VoidView(_InvoiceVerbView):
    """Not owed."""

    @operation(
        id="adminVoidInvoice",
        tag=TAG,
        summary="Void an invoice",
        path=["invoice_id"],
        body=ReasonFields,
        body_example={"reason": "The organization was charged for our test."},
        answers=_changed({**examples.ORGANIZATION_INVOICE, "status": "void"}),
        raises=[InvoiceNotFound, InvoiceChanged, ReasonMissing],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """The invoice is not owed; the payment provider is told. Its statement stays as it is."""
        verbs.void_invoice(invoice=review.any_invoice(invoice_id), by=self.actor, reason=self.body["reason"])
        return self.shown(invoice_id)


class MarkPaidView(_InvoiceVerbView):
    """The transfer has come."""

    @operation(
        id="adminMarkInvoicePaid",
        tag=TAG,
        summary="Record a bank transfer",
        path=["invoice_id"],
        body=PaidFields,
        body_example={"reason": "Line 17 of the bank's list of 2026-12-03."},
        answers=_changed({**examples.ORGANIZATION_INVOICE, "status": "paid"}),
        raises=[InvoiceNotFound, InvoiceChanged, PaidElsewhere, ReasonMissing],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """Records that the invoice was paid by bank transfer. One that a payment provider collects is refused."""
        verbs.mark_paid(
            invoice=review.any_invoice(invoice_id),
            by=self.actor,
            reason=self.body["reason"],
            received_at=self.body["received_at"],
        )
        return self.shown(invoice_id)
