"""Buying credit: on the provider's page, or from the saved payment method without anybody there.

A top-up and the message that asks for it are written together; the outbox asks with one key for life. Credit is
granted when the provider says that exactly this was paid (topup_state.py), by webhook or by poll, once.
"""

import datetime as dt
import logging
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import Organization
from moorage.billing import customers, outbox, providers, topup_state, wallet_watch
from moorage.billing.errors import InvalidTopUp, NoSavedMethod, ReasonMissing, TopUpChanged, TopUpNotFound
from moorage.billing.models import OutboxMessage, TopUp, TopUpKind, TopUpStatus, new_top_up_id
from moorage.billing.payments import ProviderError
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.provider_state import StateMismatch
from moorage.billing.top_up_messages import CHARGE_SAVED, TOP_UP
from moorage.kernel import clock

logger = logging.getLogger(__name__)

LEAST_CENTS: Final = 100
MOST_CENTS: Final = 1_000_000
#: The page after a payment may be loaded again and again.
_ASK_AGAIN: Final = dt.timedelta(seconds=3)


def start_checkout(*, organization: Organization, cents: int, by: Actor) -> str:
    """Starts a top-up of ``cents`` and gives the address at which it is paid: the provider's page, or ours where that
    is not there yet or the provider has none (bank transfer). Outside transactions. Raises InvalidTopUp."""
    assert not connection.in_atomic_block, "a network call holds no locks"
    top_up = open_checkout(organization=organization, cents=cents, by=by)
    return top_up.payment_url or page_of(top_up)


def open_checkout(*, organization: Organization, cents: int, by: Actor) -> TopUp:
    """As :func:`start_checkout`; the top-up itself, with its ``payment_url`` where the provider has answered."""
    top_up_id = new_top_up_id()
    top_up, message = _start(
        organization=organization,
        top_up_id=top_up_id,
        cents=cents,
        by=by,
        kind=TopUpKind.CHECKOUT,
        topic=TOP_UP,
        source=f"checkout:{top_up_id}",
    )
    # Somebody waits for the page. What cannot be had now the sweep gets.
    outbox.send_now(message, providers=providers.configured(), now=clock.now())
    top_up.refresh_from_db()
    return top_up


def charge_saved(*, organization: Organization, cents: int, by: Actor, source: str) -> TopUp:
    """Asks for ``cents`` from the saved method, once for ``source``; the outbox does it. Raises InvalidTopUp, and
    NoSavedMethod."""
    known = TopUp.objects.filter(source=source).first()
    if known is not None:
        return known
    if not customers.collection_of(organization).method_reference:
        raise NoSavedMethod
    top_up, _ = _start(
        organization=organization,
        top_up_id=new_top_up_id(),
        cents=cents,
        by=by,
        kind=TopUpKind.SAVED_METHOD,
        topic=CHARGE_SAVED,
        source=source,
    )
    return top_up


def charge_due(*, now: dt.datetime) -> int:
    """Asks for every automatic top-up that is due; how many were asked for. One that cannot be keeps no other."""
    asked = 0
    for due in wallet_watch.due_top_ups(now):
        try:
            charge_saved(organization=due.organization, cents=due.cents, by=MOORAGE, source=due.source)
        except (NoSavedMethod, InvalidTopUp) as error:
            logger.warning("top_up_not_possible organization=%s error=%s", due.organization.pk, error.code)
        else:
            asked += 1
    return asked


def of(organization: Organization) -> QuerySet[TopUp]:
    """The organization's top-ups, newest first."""
    return TopUp.objects.for_organization(organization).order_by("-created_at", "-id")


def one(*, organization: Organization, top_up_id: str) -> TopUp:
    """One of them. Raises TopUpNotFound, for a stranger's too."""
    found = of(organization).filter(pk=top_up_id).first()
    if found is None:
        raise TopUpNotFound
    return found


def any_top_up(top_up_id: str) -> TopUp:
    """One of any organization's. Raises TopUpNotFound."""
    found = TopUp.objects.select_related("organization").filter(pk=top_up_id).first()
    if found is None:
        raise TopUpNotFound
    return found


def awaits_transfer(top_up: TopUp) -> bool:
    """Whether it waits for a bank transfer whose reference the customer knows."""
    is_transfer = top_up.provider == TransferProvider.name and bool(top_up.checkout_reference)
    return is_transfer and top_up.status == TopUpStatus.STARTED


def refresh(top_up: TopUp) -> str:
    """Asks the provider how a waiting top-up stands, when the customer comes back before the webhook; what kept us
    from knowing, or empty. Outside transactions."""
    now = clock.now()
    reference = top_up.payment_reference or top_up.checkout_reference
    is_fresh = top_up.checked_at is not None and top_up.checked_at > now - _ASK_AGAIN
    provider = providers.configured().get(top_up.provider)
    if top_up.status != TopUpStatus.STARTED or not reference or is_fresh or provider is None:
        return ""
    try:
        topup_state.apply(provider.fetch_payment(reference), provider=provider.name, now=now)
    except (ProviderError, StateMismatch) as error:
        return str(error)
    top_up.refresh_from_db()
    return ""


def page_of(top_up: TopUp) -> str:
    """Our page about a top-up: where a provider's page sends the customer back to."""
    return f"{settings.MOORAGE_CONSOLE_URL}/{top_up.organization.slug}/top-ups/{top_up.id}"


def record_transfer(*, top_up: TopUp, by: Actor, reason: str, received_at: dt.datetime | None = None) -> None:
    """The bank transfer for ``top_up`` has come; ``reason`` is where that can be read. An administrator's verb; a
    second call changes nothing. Raises ReasonMissing, and TopUpChanged where it is not paid by transfer."""
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    if top_up.provider != TransferProvider.name or not top_up.checkout_reference:
        raise TopUpChanged("Only a top-up by bank transfer, with its reference given, is recorded by hand.")
    provider, now = TransferProvider(), clock.now()
    with transaction.atomic():
        provider.record(top_up.checkout_reference, received_at=received_at or now)
        paid = provider.fetch_payment(top_up.checkout_reference)
        try:
            topup_state.apply(paid, provider=provider.name, now=now)
        except StateMismatch as differs:
            raise TopUpChanged(f"The transfer is not what was asked for: {differs}.") from differs
        audit.record(
            organization=top_up.organization,
            by=by,
            action="top_up.transfer_recorded",
            subject=top_up.id,
            detail={"reason": said[:2000], "cents": top_up.cents},
        )


@transaction.atomic
def _start(
    *, organization: Organization, top_up_id: str, cents: int, by: Actor, kind: TopUpKind, topic: str, source: str
) -> tuple[TopUp, OutboxMessage]:
    if not LEAST_CENTS <= cents <= MOST_CENTS:
        raise InvalidTopUp(param="cents")
    now = clock.now()
    top_up = TopUp.objects.create(
        id=top_up_id,
        organization=organization,
        kind=kind,
        currency=organization.currency,
        cents=cents,
        provider=providers.chosen(),
        source=source,
        created_by=by.label[:80],
        created_at=now,
    )
    message = outbox.put(topic=topic, subject_id=top_up.id, now=now)
    audit.record(
        organization=organization,
        by=by,
        action="top_up.started",
        subject=top_up.id,
        detail={"cents": cents, "kind": str(kind)},
    )
    return top_up, message
