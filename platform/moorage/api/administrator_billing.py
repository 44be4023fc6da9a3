"""The administrator's deeds: prices, and invoices in review. Needs a key with the scope `admin`."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, examples_statements, paging
from moorage.api.administrator_review import deeds, told
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import (
    ApproveFields,
    InvoicesFields,
    OrganizationInvoiceSerializer,
    PaidFields,
    ReasonFields,
)
from moorage.billing import queries as billing
from moorage.billing import review
from moorage.billing import services as verbs
from moorage.billing.errors import (
    ApprovalPending,
    InvalidPeriod,
    InvoiceChanged,
    InvoiceNotFound,
    PaidElsewhere,
    ReasonMissing,
)
from moorage.billing.models import InvoiceStatus

TAG: Final = "Administrator"


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
                example=examples.page(examples_statements.ORGANIZATION_INVOICE),
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
        answers=_changed(examples_statements.ORGANIZATION_INVOICE),
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
        answers=deeds({**examples_statements.ORGANIZATION_INVOICE, "status": "void"}),
        raises=[InvoiceNotFound, InvoiceChanged, ApprovalPending, ReasonMissing],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """The invoice is not owed; the payment provider is told. Its statement stays as it is."""
        found = review.any_invoice(invoice_id)
        return told(verbs.void_invoice(invoice=found, by=self.actor, reason=self.body["reason"]), invoice_id)


class MarkPaidView(_InvoiceVerbView):
    """The transfer has come."""

    @operation(
        id="adminMarkInvoicePaid",
        tag=TAG,
        summary="Record a bank transfer",
        path=["invoice_id"],
        body=PaidFields,
        body_example={"reason": "Line 17 of the bank's list of 2026-12-03."},
        answers=_changed({**examples_statements.ORGANIZATION_INVOICE, "status": "paid"}),
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
