"""Credit that was bought, for administrators: transfers that came, credit paid back, usage pushes that are stuck."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.api import examples, examples_credit, paging
from moorage.api.administrator_review import WAITS
from moorage.api.doors import AdministratorView
from moorage.api.examples_payment import TOP_UP
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import ReasonFields
from moorage.api.serializers_credit import (
    BookRefundFields,
    PushesFields,
    RefundFields,
    RefundsSerializer,
    ResolveFields,
    UsagePushSerializer,
)
from moorage.api.serializers_payment import TopUpSerializer
from moorage.api.serializers_review import ApprovalSerializer
from moorage.api.serializers_trouble import PayoutSerializer
from moorage.api.serializers_wallet import cents_of
from moorage.billing import invoice_refunds, meter_export, payouts, review, topups
from moorage.billing import services as verbs
from moorage.billing.errors import (
    ApprovalPending,
    CreditNoteNotFound,
    InvalidCredit,
    InvoiceChanged,
    InvoiceNotFound,
    NothingToBook,
    NothingToCredit,
    NothingToPayOut,
    NothingToRefund,
    ProviderAway,
    ReasonMissing,
    ReviewItemNotFound,
    TopUpChanged,
    TopUpNotFound,
)

TAG: Final = "Administrator"


class OrganizationTopUpsView(AdministratorView):
    """What an organization bought."""

    @operation(
        id="adminListTopUps",
        tag=TAG,
        summary="List an organization's top-ups",
        path=["slug"],
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The newest first.", kind=paging.page_of(TopUpSerializer), example=examples.page(TOP_UP)
            )
        },
        raises=[OrganizationNotFound, paging.InvalidCursor],
    )
    def get(self, _request: Request, slug: str) -> Response:
        """Credit that was asked for, paid or not. A bank transfer is found by its `transfer_reference`."""
        rows = topups.of(accounts.organization(slug=slug))
        return paging.page(rows, order="-id", query=self.query).answer(TopUpSerializer)


class TopUpReceivedView(AdministratorView):
    """The money is there."""

    @operation(
        id="adminRecordTransfer",
        tag=TAG,
        summary="Record the bank transfer of a top-up",
        path=["top_up_id"],
        body=ReasonFields,
        body_example={"reason": "Line 7 of the bank's list of 2026-11-22."},
        answers={200: Answer(description="The top-up now.", kind=TopUpSerializer, example=TOP_UP)},
        raises=[TopUpNotFound, TopUpChanged, ReasonMissing],
    )
    def post(self, _request: Request, top_up_id: str) -> Response:
        """The transfer has come, and the credit is there. A second call gives nothing more. What is paid at the payment
        provider is not recorded by hand."""
        topups.record_transfer(top_up=topups.any_top_up(top_up_id), by=self.actor, reason=self.body["reason"])
        return Response(TopUpSerializer(topups.any_top_up(top_up_id)).data)


class RefundsView(AdministratorView):
    """Back to where it came from."""

    @operation(
        id="adminRefundCredit",
        tag=TAG,
        summary="Pay unused credit back",
        path=["slug"],
        body=RefundFields,
        body_example={"amount": "12.50", "reason": "They leave, and asked for it.", "key": "refund-2026-11-1"},
        answers={
            201: Answer(
                description="What is being paid back.", kind=RefundsSerializer, example=examples_credit.REFUNDS
            ),
            202: WAITS,
        },
        raises=[OrganizationNotFound, NothingToRefund, ApprovalPending, ReasonMissing],
    )
    def post(self, _request: Request, slug: str) -> Response:
        """Pays up to `amount` of unused paid credit back, the newest top-up first; the answer says how much that is.
        The credit is gone at once and comes back if the payment provider cannot pay. A second call with the same `key`
        pays nothing and answers like the first."""
        organization = accounts.organization(slug=slug)
        outcome = verbs.refund_credit(
            organization=organization,
            cents=cents_of(self.body["amount"]),
            reason=self.body["reason"],
            key=self.body["key"],
            by=self.actor,
        )
        if outcome.request is not None:
            return Response(ApprovalSerializer(outcome.request).data, status=202)
        document = {
            "amount": sum(one.cents for one in outcome.refunds),
            "currency": organization.currency,
            "refunds": outcome.refunds,
        }
        return Response(RefundsSerializer(document).data, status=201)


class PayoutsView(AdministratorView):
    """Money to give back by hand."""

    @operation(
        id="adminListPayouts",
        tag=TAG,
        summary="List credit notes to pay out by bank transfer",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By id.",
                kind=paging.page_of(PayoutSerializer),
                example=examples.page(examples_credit.PAYOUT),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Credit notes of invoices that were paid by bank transfer, and whose money nobody has sent back yet."""
        return paging.page(payouts.waiting(), order="id", query=self.query).answer(PayoutSerializer)


class PaidOutView(AdministratorView):
    """It was sent."""

    @operation(
        id="adminRecordPayout",
        tag=TAG,
        summary="Record that a credit note was paid out by bank transfer",
        path=["credit_note_id"],
        body=ReasonFields,
        body_example={"reason": "Line 9 of the bank's list of 2026-11-22."},
        answers={204: Answer(description="It is recorded."), 202: WAITS},
        raises=[CreditNoteNotFound, NothingToPayOut, ApprovalPending, ReasonMissing],
    )
    def post(self, _request: Request, credit_note_id: str) -> Response:
        """The transfer is made, and the money leaves the clearing account. A second call changes nothing."""
        outcome = verbs.pay_out(note=payouts.one(credit_note_id), by=self.actor, reason=self.body["reason"])
        if outcome.request is not None:
            return Response(ApprovalSerializer(outcome.request).data, status=202)
        return Response(status=204)


class BookRefundView(AdministratorView):
    """Paid back past us, of an invoice."""

    @operation(
        id="adminBookRefund",
        tag=TAG,
        summary="Book a refund of an invoice's payment that was made at the provider",
        path=["invoice_id"],
        body=BookRefundFields,
        body_example={"booked_as": "credit_note", "reason": "Support paid it back in the dashboard."},
        answers={204: Answer(description="It is booked."), 202: WAITS},
        raises=[
            InvoiceNotFound,
            NothingToBook,
            NothingToCredit,
            InvalidCredit,
            ApprovalPending,
            ProviderAway,
            ReasonMissing,
        ],
    )
    def post(self, _request: Request, invoice_id: str) -> Response:
        """Reconciliation (R6) finds such refunds as `refund_unbooked`. The provider is asked what it has paid back of
        the invoice; what of it is booked nowhere is booked, and a second call finds nothing more. As a credit note the
        charge is taken back with its tax; as a loss the bill stands, and we bear it."""
        outcome = invoice_refunds.book(
            invoice=review.any_invoice(invoice_id),
            booked_as=invoice_refunds.BookedAs(self.body["booked_as"]),
            by=self.actor,
            reason=self.body["reason"],
        )
        if outcome.request is not None:
            return Response(ApprovalSerializer(outcome.request).data, status=202)
        return Response(status=204)


class UsagePushesView(AdministratorView):
    """What nobody knows."""

    @operation(
        id="adminListUsagePushes",
        tag=TAG,
        summary="List usage that may not be with the provider's meter",
        query=PushesFields,
        answers={
            200: Answer(
                description="The oldest first.",
                kind=paging.page_of(UsagePushSerializer),
                example=examples.page(examples_credit.PUSH),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Pushes of usage that the meter refused, or of which nobody knows whether they arrived. Nothing more of the
        organization's usage is pushed before somebody decides."""
        rows = meter_export.stuck(self.query.get("state"))
        return paging.page(rows, order="id", query=self.query).answer(UsagePushSerializer)


class ResolveUsagePushView(AdministratorView):
    """It is there, or not."""

    @operation(
        id="adminResolveUsagePush",
        tag=TAG,
        summary="Say whether pushed usage arrived",
        path=["push_id"],
        body=ResolveFields,
        body_example={"is_received": False, "reason": "Not in the meter's sums of 2026-11-22."},
        answers={204: Answer(description="It is decided.")},
        raises=[ReviewItemNotFound, InvoiceChanged, ReasonMissing],
    )
    def post(self, _request: Request, push_id: str) -> Response:
        """Look for the push in the provider's sums first. What was not received is in the next push."""
        meter_export.resolve(
            push=meter_export.find(push_id),
            is_received=self.body["is_received"],
            reason=self.body["reason"],
            by=self.actor,
        )
        return Response(status=204)
