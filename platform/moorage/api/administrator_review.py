"""The administrator's review over REST: the queue, deeds on invoices, credit, and second pairs of eyes."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.api import examples, examples_review, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import OrganizationInvoiceSerializer, ReasonFields
from moorage.api.serializers_review import (
    AdjustFields,
    ApprovalSerializer,
    ApprovalsFields,
    CreditFields,
    OptionalReasonFields,
    ProvenanceSerializer,
    WaitingSerializer,
    cents_of,
    pico_of,
)
from moorage.billing import approvals, review, review_queue
from moorage.billing import services as verbs
from moorage.billing.approvals import Outcome
from moorage.billing.errors import (
    ApprovalChanged,
    ApprovalNotFound,
    ApprovalPending,
    InvalidAmount,
    InvalidCredit,
    InvoiceChanged,
    InvoiceNotFound,
    NothingToCredit,
    OwnRequest,
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
                example={**examples.ORGANIZATION_INVOICE, "status": "in_review"},
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
        answers=deeds(examples.ORGANIZATION_INVOICE),
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
        answers=deeds({**examples.ORGANIZATION_INVOICE, "status": "uncollectible"}),
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


class ApprovalsView(AdministratorView):
    """Requests for a second pair of eyes."""

    @operation(
        id="adminListApprovals",
        tag=TAG,
        summary="List requests for approval",
        query=ApprovalsFields,
        answers={
            200: Answer(
                description="Newest first.",
                kind=paging.page_of(ApprovalSerializer),
                example=examples.page(examples_review.APPROVAL),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Deeds that move much money and wait, or waited, for another administrator."""
        rows = approvals.requests()
        if "status" in self.query:
            rows = rows.filter(status=self.query["status"])
        return paging.page(rows, order="-id", query=self.query).answer(ApprovalSerializer)


_DECIDED: Final = {
    200: Answer(
        description="The request now.",
        kind=ApprovalSerializer,
        example={
            **examples_review.APPROVAL,
            "status": "approved",
            "decided_by": "bea@example.com",
            "decided_at": "2026-11-22T09:00:00Z",
            "decided_because": "Agreed.",
        },
    )
}
_DECIDING: Final = (ApprovalNotFound, ApprovalChanged, OwnRequest)


class ApproveRequestView(AdministratorView):
    """Yes."""

    @operation(
        id="adminApproveRequest",
        tag=TAG,
        summary="Agree to what another administrator asked for",
        path=["approval_id"],
        body=OptionalReasonFields,
        body_example={"reason": "Agreed."},
        answers=_DECIDED,
        raises=[*_DECIDING, InvoiceChanged, NothingToCredit, InvalidCredit],
    )
    def post(self, _request: Request, approval_id: str) -> Response:
        """The deed is done, once. Whoever asked cannot agree; a deed that cannot be done leaves the request waiting."""
        found = verbs.approve_request(request_id=approval_id, by=self.actor, reason=self.body["reason"])
        return Response(ApprovalSerializer(found).data)


class RefuseRequestView(AdministratorView):
    """No."""

    @operation(
        id="adminRefuseRequest",
        tag=TAG,
        summary="Refuse what another administrator asked for",
        path=["approval_id"],
        body=ReasonFields,
        body_example={"reason": "They have answered."},
        answers=_DECIDED,
        raises=[*_DECIDING, ReasonMissing],
    )
    def post(self, _request: Request, approval_id: str) -> Response:
        """Nothing is done. The reason is kept with the request."""
        found = verbs.refuse_request(request_id=approval_id, by=self.actor, reason=self.body["reason"])
        return Response(ApprovalSerializer(found).data)


class WithdrawRequestView(AdministratorView):
    """Never mind."""

    @operation(
        id="adminWithdrawRequest",
        tag=TAG,
        summary="Take back what you asked for",
        path=["approval_id"],
        body=OptionalReasonFields,
        body_example={"reason": ""},
        answers=_DECIDED,
        raises=[*_DECIDING],
    )
    def post(self, _request: Request, approval_id: str) -> Response:
        """Nothing is done. Only whoever asked can take a request back."""
        found = verbs.withdraw_request(request_id=approval_id, by=self.actor, reason=self.body["reason"])
        return Response(ApprovalSerializer(found).data)


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
