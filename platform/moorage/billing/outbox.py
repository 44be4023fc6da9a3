"""Tells the payment provider what was decided, until it has understood.

A message is written beside the change it follows from and carries the idempotency key of every attempt. Each attempt
is committed before the call, so that a crash in the middle is one attempt that is made again, with the same key; the
call itself is outside any transaction. What the provider refuses for good is parked for a person.
"""

import dataclasses
import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Final

from django.db import connection, transaction

from moorage.billing import invoice_messages, reminder_messages, top_up_messages
from moorage.billing.models import OutboxMessage
from moorage.billing.payments import PaymentProvider, ProviderError, ProviderRefused, ProviderUnavailable
from moorage.billing.provider_state import StateMismatch

logger = logging.getLogger(__name__)

#: Longer than any attempt takes: nobody else takes the message meanwhile.
_LEASE: Final = dt.timedelta(minutes=10)
_FIRST_PAUSE: Final = dt.timedelta(seconds=30)
_LONGEST_PAUSE: Final = dt.timedelta(hours=1)

Sender = Callable[[OutboxMessage, Mapping[str, PaymentProvider], dt.datetime], None]
#: How a message of each topic is sent. A sender may be called again after any crash, with the same message.
SENDERS: Final[Mapping[str, Sender]] = {
    invoice_messages.ISSUE: invoice_messages.issue,
    invoice_messages.VOID: invoice_messages.void,
    invoice_messages.CREDIT_NOTE: invoice_messages.credit_note,
    top_up_messages.TOP_UP: top_up_messages.start,
    top_up_messages.CHARGE_SAVED: top_up_messages.charge,
    top_up_messages.REFUND: top_up_messages.refund,
    reminder_messages.REMINDER: reminder_messages.remind,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How many messages were understood, put off, and parked."""

    sent: int = 0
    later: int = 0
    parked: int = 0


def put(*, topic: str, subject_id: str, now: dt.datetime, key: str = "") -> OutboxMessage:
    """A message about ``subject_id``, in the transaction of the change it follows from. ``key`` is its idempotency key,
    by default ``<topic>:<subject_id>``; a second message with a key is the first one."""
    made, _ = OutboxMessage.objects.get_or_create(
        idempotency_key=key or f"{topic}:{subject_id}",
        defaults={"topic": topic, "subject_id": subject_id, "created_at": now, "next_attempt_at": now},
    )
    return made


def send_due(*, providers: Mapping[str, PaymentProvider], now: dt.datetime, limit: int = 50) -> Sent:
    """One attempt for every message that is due. Never call it inside a transaction."""
    assert not connection.in_atomic_block, "a network call holds no locks"
    return _attempt(_claim(now, limit), providers, now)


def send_now(message: OutboxMessage, *, providers: Mapping[str, PaymentProvider], now: dt.datetime) -> Sent:
    """One attempt for ``message``, if nobody else has it. Never call it inside a transaction."""
    assert not connection.in_atomic_block, "a network call holds no locks"
    return _attempt(_claim(now, 1, message.pk), providers, now)


def pause_after(attempts: int) -> dt.timedelta:
    """How long to wait after the attempt with this number: 30 s, doubled each time, at most an hour. Pure."""
    return min(_FIRST_PAUSE * 2 ** min(max(attempts - 1, 0), 20), _LONGEST_PAUSE)


def _attempt(messages: list[OutboxMessage], providers: Mapping[str, PaymentProvider], now: dt.datetime) -> Sent:
    sent = later = parked = 0
    for message in messages:
        try:
            _send(message, providers, now)
        except ProviderUnavailable as error:
            later += 1
            _put_off(message, now, str(error))
        except (ProviderError, StateMismatch) as error:
            parked += 1
            _park(message, now, str(error))
        else:
            sent += 1
            OutboxMessage.objects.filter(pk=message.pk, sent_at=None).update(sent_at=now, last_error="")
    return Sent(sent=sent, later=later, parked=parked)


@transaction.atomic
def _claim(now: dt.datetime, limit: int, pk: str = "") -> list[OutboxMessage]:
    due = OutboxMessage.objects.select_for_update(skip_locked=True).filter(
        sent_at=None, parked_at=None, next_attempt_at__lte=now
    )
    if pk:
        due = due.filter(pk=pk)
    found = list(due.order_by("created_at", "id")[:limit])
    for message in found:
        message.attempts += 1
        message.next_attempt_at = now + _LEASE
        message.save(update_fields=["attempts", "next_attempt_at"])
    return found


def _send(message: OutboxMessage, providers: Mapping[str, PaymentProvider], now: dt.datetime) -> None:
    sender = SENDERS.get(message.topic)
    if sender is None:
        raise ProviderRefused(f"Nobody knows the topic {message.topic}.")
    sender(message, providers, now)


def _put_off(message: OutboxMessage, now: dt.datetime, error: str) -> None:
    logger.warning("outbox_put_off message=%s attempts=%d error=%s", message.id, message.attempts, error)
    OutboxMessage.objects.filter(pk=message.pk, sent_at=None).update(
        next_attempt_at=now + pause_after(message.attempts), last_error=error[:2000]
    )


def _park(message: OutboxMessage, now: dt.datetime, error: str) -> None:
    logger.error("outbox_parked message=%s topic=%s error=%s", message.id, message.topic, error)
    OutboxMessage.objects.filter(pk=message.pk, sent_at=None).update(parked_at=now, last_error=error[:2000])
