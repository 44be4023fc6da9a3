"""Messages that the payment provider refused, and events of it that could not be applied: tried again or put away."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, examples_credit, examples_review, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import ReasonFields
from moorage.api.serializers_trouble import EventSerializer, MessageSerializer, UncoveredRefundSerializer
from moorage.billing import foreign_refunds, trouble
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound

TAG: Final = "Administrator"


class OutboxView(AdministratorView):
    """What the provider refused."""

    @operation(
        id="adminListParkedMessages",
        tag=TAG,
        summary="List messages that the payment provider refused",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The oldest first.",
                kind=paging.page_of(MessageSerializer),
                example=examples.page(examples_review.MESSAGE),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Messages that were refused for good and wait for a person."""
        return paging.page(trouble.parked_messages(), order="id", query=self.query).answer(MessageSerializer)


class RetryMessageView(AdministratorView):
    """Once more."""

    @operation(
        id="adminRetryMessage",
        tag=TAG,
        summary="Send a refused message again",
        path=["message_id"],
        answers={204: Answer(description="It is on its way.")},
        raises=[ReviewItemNotFound],
    )
    def post(self, _request: Request, message_id: str) -> Response:
        """Sends the message again, with its idempotency key, once its cause is gone."""
        message = trouble.parked_messages().filter(pk=message_id).first()
        if message is None:
            raise ReviewItemNotFound
        trouble.retry_message(message=message, by=self.actor)
        return Response(status=204)


class GiveUpMessageView(AdministratorView):
    """Never."""

    @operation(
        id="adminGiveUpMessage",
        tag=TAG,
        summary="Put a refused message away",
        path=["message_id"],
        body=ReasonFields,
        body_example={"reason": "Settled by hand."},
        answers={204: Answer(description="It is put away.")},
        raises=[ReviewItemNotFound, ReasonMissing],
    )
    def post(self, _request: Request, message_id: str) -> Response:
        """The message is never sent. The reason says how what it was about was settled instead."""
        trouble.give_up_message(message_id=message_id, by=self.actor, reason=self.body["reason"])
        return Response(status=204)


class WebhooksView(AdministratorView):
    """What the provider said."""

    @operation(
        id="adminListFailingWebhooks",
        tag=TAG,
        summary="List events that could not be applied",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By id.",
                kind=paging.page_of(EventSerializer),
                example=examples.page(examples_review.EVENT),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Events of the payment provider that could not be applied yet, with the reason."""
        return paging.page(trouble.failing_webhooks(), order="id", query=self.query).answer(EventSerializer)


class RetryWebhookView(AdministratorView):
    """Once more."""

    @operation(
        id="adminRetryWebhook",
        tag=TAG,
        summary="Apply an event again",
        path=["event_id"],
        answers={204: Answer(description="It is looked at within half a minute.")},
        raises=[ReviewItemNotFound],
    )
    def post(self, _request: Request, event_id: str) -> Response:
        """The event is looked at again at once instead of after its pause."""
        trouble.retry_webhook(event_id=event_id, by=self.actor)
        return Response(status=204)


class GiveUpWebhookView(AdministratorView):
    """Never."""

    @operation(
        id="adminGiveUpWebhook",
        tag=TAG,
        summary="Put an event away",
        path=["event_id"],
        body=ReasonFields,
        body_example={"reason": "A test of the provider's."},
        answers={204: Answer(description="It is put away.")},
        raises=[ReviewItemNotFound, ReasonMissing],
    )
    def post(self, _request: Request, event_id: str) -> Response:
        """The event is nobody's worry any more. The reason is in the audit log."""
        trouble.give_up_webhook(event_id=event_id, by=self.actor, reason=self.body["reason"])
        return Response(status=204)


class UncoveredRefundsView(AdministratorView):
    """Paid back past us."""

    @operation(
        id="adminListUncoveredRefunds",
        tag=TAG,
        summary="List refunds of credit that was used",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By id.",
                kind=paging.page_of(UncoveredRefundSerializer),
                example=examples.page(examples_credit.UNCOVERED),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Refunds that somebody made at the payment provider, of which no credit was left for a part."""
        return paging.page(foreign_refunds.uncovered(), order="id", query=self.query).answer(UncoveredRefundSerializer)


class AcceptLossView(AdministratorView):
    """It is gone."""

    @operation(
        id="adminAcceptRefundLoss",
        tag=TAG,
        summary="Accept the loss of a refund of used credit",
        path=["refund_id"],
        body=ReasonFields,
        body_example={"reason": "Paid back as a favour by support."},
        answers={204: Answer(description="It is booked.")},
        raises=[ReviewItemNotFound, ReasonMissing],
    )
    def post(self, _request: Request, refund_id: str) -> Response:
        """What was paid back of used credit is booked against revenue. Charging it again is a matter between people."""
        foreign_refunds.accept_loss(refund_id=refund_id, by=self.actor, reason=self.body["reason"])
        return Response(status=204)
