"""Second pairs of eyes over REST: what waits for another administrator is approved, refused, or taken back."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, examples_review, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import ReasonFields
from moorage.api.serializers_review import ApprovalSerializer, ApprovalsFields, OptionalReasonFields
from moorage.billing import approvals
from moorage.billing import services as verbs
from moorage.billing.errors import (
    ApprovalChanged,
    ApprovalNotFound,
    InvalidCredit,
    InvoiceChanged,
    NothingToCredit,
    NothingToPayOut,
    NothingToRefund,
    OwnRequest,
    ReasonMissing,
)

TAG: Final = "Administrator"


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
        raises=[*_DECIDING, InvoiceChanged, NothingToCredit, InvalidCredit, NothingToPayOut, NothingToRefund],
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
