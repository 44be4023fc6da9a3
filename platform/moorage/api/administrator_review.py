"""The administrator's review over REST: the queue, deeds on invoices, credit, and where figures come from."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.api import examples, examples_review, examples_statements, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import OrganizationInvoiceSerializer, ReasonFields
from moorage.api.serializers_review import (
    AdjustFields,
    ApprovalSerializer,
    CreditFields,
    ProvenanceSerializer,
    WaitingSerializer,
    cents_of,
    pico_of,
)
from moorage.billing import review, review_queue
from moorage.billing import services as verbs
from moorage.billing.approvals import Outcome
from moorage.billing.errors import (
    ApprovalPending,
    InvalidAmount,
    InvalidCredit,
    InvoiceChanged,
    InvoiceNotFound,
    NothingToCredit,
    ReasonMissing,
)
from moorage.billing.provenance import provenance
from moorage.metering import queries as metering
from moorage.metering.errors import RequestNotFound

TAG: Final = "Administrator"
#: A deed that is done, or that waits for another administrator.
WAITS: Final = Answer(
    description="So much asks for another administrator: nothing is done before they approve.",
    kind=ApprovalSerializer,
    example=examples_review.APPROVAL,
)


def deeds(example: dict[str, Any]) -> dict[int, Answer]:
    """The invoice now, or what waits."""
    done = Answer(description="The invoice now.", kind=OrganizationInvoiceSerializer, example=example)
    return {200: done, 202: WAITS}


def told(outcome: Outcome, invoice_id: str) -> Response:
    """As :func:`deeds` says."""
    if outcome.request is not None:
        return Response(ApprovalSerializer(outcome.request).data, status=202)
    return Response(OrganizationInvoiceSerializer(review.any_invoice(invoice_id)).data)


class QueueView(AdministratorView):
    """What waits."""

    @operation(
        id="adminReviewQueue",
        tag=TAG,
        summary="List invoices that wait for an administrator",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By the invoice's id.",
                kind=paging.page_of(WaitingSerializer),
                example=examples.page(examples_review.WAITING),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Invoices in review or disputed: why, since when, and what changed against the month before."""
        rows = review_queue.queue()
        page = paging.page_in_memory(rows, name="id", key=lambda one: one.invoice.pk, query=self.query)
        return page.answer(WaitingSerializer)


class SendBackView(AdministratorView):
    """Not yet."""

    @operation(
        id="adminSendBackInvoice",
        tag=TAG,
        summary="Send an invoice back",
        path=["invoice_id"],
        body=ReasonFields,
        body_example={"reason": "Ask them about the peak of the 14th."},
        answers={
            200: Answer(
                description="The invoice now.",
                kind=OrganizationInvoiceSerializer,
                example={**examples_statements.ORGANIZATION_INVOICE, "status": "in_review"},
            )
        },
        raises=[InvoiceNotFound, InvoiceChanged, ReasonMissing],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """The invoice stays in review and says what has to be cleared first."""
        verbs.send_back(invoice=review.any_invoice(invoice_id), by=self.actor, reason=self.body["reason"])
        return Response(OrganizationInvoiceSerializer(review.any_invoice(invoice_id)).data)


class AdjustView(AdministratorView):
    """A credit note."""

    @operation(
        id="adminAdjustInvoice",
        tag=TAG,
        summary="Take back a part of an invoice",
        path=["invoice_id"],
        body=AdjustFields,
        body_example={"amount": "12.50", "reason": "Charged for our own test."},
        answers=deeds(examples_statements.ORGANIZATION_INVOICE),
        raises=[InvoiceNotFound, NothingToCredit, InvalidCredit, ApprovalPending, ReasonMissing],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """A credit note takes back an amount before tax, or all that is left. The invoice stays as it is."""
        amount = self.body["amount"]
        outcome = verbs.adjust_invoice(
            invoice=review.any_invoice(invoice_id),
            by=self.actor,
            reason=self.body["reason"],
            amount_cents=None if amount is None else cents_of(amount),
            is_to_wallet=self.body["is_to_wallet"],
        )
        return told(outcome, invoice_id)


class UncollectibleView(AdministratorView):
    """Given up."""

    @operation(
        id="adminMarkInvoiceUncollectible",
        tag=TAG,
        summary="Give an invoice up",
        path=["invoice_id"],
        body=ReasonFields,
        body_example={"reason": "The company is gone."},
        answers=deeds({**examples_statements.ORGANIZATION_INVOICE, "status": "uncollectible"}),
        raises=[InvoiceNotFound, InvoiceChanged, ApprovalPending, ReasonMissing],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """Nobody expects the money any more. Should it come, it is still taken."""
        found = review.any_invoice(invoice_id)
        return told(verbs.mark_uncollectible(invoice=found, by=self.actor, reason=self.body["reason"]), invoice_id)


class CreditView(AdministratorView):
    """Credit at our expense."""

    @operation(
        id="adminGiveCredit",
        tag=TAG,
        summary="Give an organization credit",
        path=["slug"],
        body=CreditFields,
        body_example={"amount": "12.50", "reason": "For the outage.", "key": "outage-2026-11-20-harbour"},
        answers={204: Answer(description="The credit is given."), 202: WAITS},
        raises=[OrganizationNotFound, InvalidAmount, ApprovalPending, ReasonMissing],
    )
    def post(self, _request: Request, slug: str) -> Response:
        """Promotional credit, once for each `key`. It pays for usage and is never paid out."""
        outcome = verbs.give_credit(
            organization=accounts.organization(slug=slug),
            pico=pico_of(self.body["amount"]),
            by=self.actor,
            reason=self.body["reason"],
            key=self.body["key"],
            expires_at=self.body["expires_at"],
        )
        if outcome.request is not None:
            return Response(ApprovalSerializer(outcome.request).data, status=202)
        return Response(status=204)


class ProvenanceView(AdministratorView):
    """Down to the journal."""

    @operation(
        id="adminGetRequestSource",
        tag=TAG,
        summary="Where a request's figures come from",
        path=["request_id"],
        answers={
            200: Answer(
                description="Who counted, and which journal brought it.",
                kind=ProvenanceSerializer,
                example=examples_review.PROVENANCE,
            )
        },
        raises=[RequestNotFound],
    )
    def get(self, _request: Request, request_id: str) -> Response:
        """Who counted the tokens of any request, the gateway worker that metered it, and its journal segments."""
        return Response(ProvenanceSerializer(provenance(metering.any_request(request_id))).data)
