"""Looks after balances: tells owners when little is left, once for each time it falls, and says who is due a top-up."""

import dataclasses
import datetime as dt
import logging
from typing import Final

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection
from django.db.models import Sum

from moorage.accounts.models import Organization, Role, User
from moorage.billing import top_up_decision
from moorage.billing.models import TopUp, TopUpKind, TopUpStatus, Wallet
from moorage.billing.top_up_decision import Situation
from moorage.kernel.clock import Period
from moorage.kernel.money import Money

logger = logging.getLogger(__name__)

_LEFT: Final = """
SELECT w.organization_id,
       CASE WHEN w.mode = 'prepaid' OR w.credit_limit_pico IS NOT NULL
            THEN greatest(0, coalesce(a.capacity - a.used, 0)) ELSE w.credit_pico END
  FROM wallet w
  LEFT JOIN allowance a ON a.subject = w.organization_id AND a.measure = 'money' AND a."window" = 'always'
                       AND a.starts = 0
 WHERE w.opened_at IS NOT NULL AND w.organization_id = ANY(%s)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DueTopUp:
    """One automatic top-up to execute. ``source`` is the same for whoever finds it due, so that it is charged once."""

    organization: Organization
    cents: int
    source: str


def left(organization_ids: list[str]) -> dict[str, int]:
    """What each can still spend, in pico-units: what the gateways may give out, or the credit where there is no end."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT, [organization_ids])
        return {row[0]: int(row[1]) for row in cursor.fetchall()}


def due_top_ups(now: dt.datetime) -> tuple[DueTopUp, ...]:
    """Who is to be topped up by itself now."""
    wallets = {wallet.pk: wallet for wallet in Wallet.objects.filter(is_automatic=True)}
    have = left(list(wallets))
    low = [pk for pk, wallet in wallets.items() if have.get(pk, 0) < wallet.below_pico]
    found = []
    for organization in Organization.objects.filter(pk__in=low).order_by("pk"):
        wallet = wallets[organization.pk]
        automatic = TopUp.objects.for_organization(organization).filter(kind=TopUpKind.SAVED_METHOD)
        this_month = automatic.filter(created_at__gte=Period.containing(now).start)
        charged = this_month.filter(status__in=(TopUpStatus.STARTED, TopUpStatus.PAID))
        failed = automatic.filter(status__in=(TopUpStatus.FAILED, TopUpStatus.EXPIRED)).order_by("-created_at")
        situation = Situation(
            left_pico=have.get(organization.pk, 0),
            below_pico=wallet.below_pico,
            top_up_cents=wallet.top_up_cents,
            monthly_most_cents=wallet.monthly_most_cents,
            charged_cents=int(charged.aggregate(sum=Sum("cents"))["sum"] or 0),
            is_pending=automatic.filter(status=TopUpStatus.STARTED).exists(),
            last_failed_at=failed.values_list("created_at", flat=True).first(),
        )
        cents = top_up_decision.cents_due(situation, now=now)
        if cents:
            source = f"automatic:{organization.pk}:{automatic.count() + 1}"
            found.append(DueTopUp(organization=organization, cents=cents, source=source))
    return tuple(found)


def alert(*, now: dt.datetime) -> int:
    """Mails the owners of each organization whose balance has fallen below its threshold since it was last above; how
    many organizations that were. A mail that cannot be sent is tried again."""
    watched = {wallet.pk: wallet for wallet in Wallet.objects.filter(alert_below_pico__isnull=False)}
    have = left(list(watched))
    told = 0
    for pk, wallet in watched.items():
        assert wallet.alert_below_pico is not None
        is_low = have.get(pk, 0) < wallet.alert_below_pico
        if not is_low and wallet.alerted_at is not None:
            Wallet.objects.filter(pk=pk).update(alerted_at=None)
        if is_low and Wallet.objects.filter(pk=pk, alerted_at=None).update(alerted_at=now):
            told += _tell(Organization.objects.get(pk=pk), have.get(pk, 0), wallet.alert_below_pico)
    return told


def _tell(organization: Organization, have: int, threshold: int) -> int:
    left, least = Money(have, organization.currency), Money(threshold, organization.currency)
    owners = User.objects.filter(memberships__organization=organization, memberships__role=Role.OWNER, is_active=True)
    try:
        send_mail(
            subject=f"{organization.name} has {left} left",
            message=(
                f"The balance of {organization.name} is {left}, below your threshold of {least}.\n\n"
                "When it is used up, calls are refused with 402 until there is more.\n\n"
                f"Top up: {settings.MOORAGE_CONSOLE_URL}/{organization.slug}/wallet\n"
            ),
            from_email=None,
            recipient_list=list(owners.values_list("email", flat=True)),
        )
    except OSError as error:
        logger.error("wallet_alert_failed organization=%s error=%s", organization.pk, type(error).__name__)
        Wallet.objects.filter(pk=organization.pk).update(alerted_at=None)
        return 0
    return 1
