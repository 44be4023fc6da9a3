"""What the payment provider refused, and what it said that could not be applied: seen, tried again, or put away."""

from django.db import transaction
from django.db.models import QuerySet

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.models import OutboxMessage, PutAway, WebhookEvent
from moorage.kernel import clock


def parked_messages() -> QuerySet[OutboxMessage]:
    """What the provider refused for good and nobody has put away, the oldest first."""
    found = OutboxMessage.objects.filter(sent_at=None).exclude(parked_at=None)
    return found.exclude(pk__in=PutAway.objects.values("pk")).order_by("parked_at", "id")


def failing_webhooks() -> QuerySet[WebhookEvent]:
    """Events that could not be applied yet and nobody has put away, the oldest first."""
    found = WebhookEvent.objects.filter(applied_at=None).exclude(last_error="")
    return found.exclude(pk__in=PutAway.objects.values("pk")).order_by("received_at", "id")


@transaction.atomic
def retry_message(*, message: OutboxMessage, by: Actor) -> None:
    """Sends a parked message again, with its key, once its cause is gone. A second call changes nothing."""
    parked = OutboxMessage.objects.filter(pk=message.pk, sent_at=None, parked_at__isnull=False)
    if parked.update(parked_at=None, next_attempt_at=clock.now()):
        audit.record(
            organization=None,
            by=by,
            action="outbox.retried",
            subject=message.id,
            detail={"topic": message.topic, "about": message.subject_id, "error": message.last_error},
        )


@transaction.atomic
def give_up_message(*, message_id: str, by: Actor, reason: str) -> None:
    """A parked message is never sent; the reason says how what it was about was settled instead. Raises ReasonMissing,
    ReviewItemNotFound."""
    said = _said(reason)
    message = parked_messages().filter(pk=message_id).first()
    if message is None:
        raise ReviewItemNotFound
    detail: dict[str, object] = {"topic": message.topic, "about": message.subject_id, "error": message.last_error}
    _put_away(message.pk, by, said, "outbox.given_up", detail)


@transaction.atomic
def retry_webhook(*, event_id: str, by: Actor) -> None:
    """An event that could not be applied is looked at again at once. Raises ReviewItemNotFound."""
    if not failing_webhooks().filter(pk=event_id).update(next_attempt_at=clock.now()):
        raise ReviewItemNotFound
    audit.record(organization=None, by=by, action="webhook.retried", subject=event_id)


@transaction.atomic
def give_up_webhook(*, event_id: str, by: Actor, reason: str) -> None:
    """An event that cannot be applied is nobody's worry any more. Raises ReasonMissing, ReviewItemNotFound."""
    said = _said(reason)
    event = failing_webhooks().filter(pk=event_id).first()
    if event is None:
        raise ReviewItemNotFound
    detail: dict[str, object] = {"kind": event.kind, "about": event.object_id, "error": event.last_error}
    _put_away(event.pk, by, said, "webhook.given_up", detail)


def _put_away(subject_id: str, by: Actor, reason: str, action: str, detail: dict[str, object]) -> None:
    _, is_new = PutAway.objects.get_or_create(subject_id=subject_id, defaults={"by": by.label[:120], "because": reason})
    if not is_new:
        raise ReviewItemNotFound
    audit.record(organization=None, by=by, action=action, subject=subject_id, detail={**detail, "reason": reason})


def _said(reason: str) -> str:
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    return said[:2000]
