"""Whose replicas may run. The gateways refuse the calls of who is suspended or has used up a balance; their replicas
would cost on. So the deployments are told to run nothing, and told again when there is money.

A balance has to stay empty for a grace (``MOORAGE_EMPTY_SECONDS``): a top-up that is on its way stops nothing. Who is
suspended was warned for weeks. Where everything is free an empty balance is no reason.
"""

import dataclasses
import datetime as dt
import logging
from typing import Final

from django.conf import settings
from django.db import connection

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization, Standing, Withheld
from moorage.billing.models import Wallet
from moorage.deployments import withholding as deployments

logger = logging.getLogger(__name__)

#: Everybody of whom something is to be decided, with what is decided by.
_LOOK: Final = """
SELECT o.id, o.standing, o.withheld, w.empty_since,
       (w.mode = 'prepaid' OR w.credit_limit_pico IS NOT NULL) AND w.opened_at IS NOT NULL
       AND coalesce(a.capacity - a.used, 0) <= 0
       AND EXISTS (SELECT 1 FROM price p WHERE p.pico_per_unit > 0
                      AND (p.organization_id IS NULL OR p.organization_id = o.id)) AS is_empty
  FROM organization o
  JOIN wallet w ON w.organization_id = o.id
  LEFT JOIN allowance a ON a.subject = o.id AND a.measure = 'money' AND a."window" = 'always' AND a.starts = 0
 WHERE o.standing = 'suspended' OR o.withheld <> '' OR w.empty_since IS NOT NULL
    OR ((w.mode = 'prepaid' OR w.credit_limit_pico IS NOT NULL) AND coalesce(a.capacity - a.used, 0) <= 0)
 ORDER BY o.id
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of one organization."""

    standing: Standing
    #: Nothing is left of what it may spend, and something costs.
    is_empty: bool
    #: Since when it is so, as far as was noted.
    empty_since: dt.datetime | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be so from now on."""

    why: Withheld | None
    empty_since: dt.datetime | None


def decide(situation: Situation, *, grace: dt.timedelta, now: dt.datetime) -> Decision:
    """Whether an organization's replicas may run. Pure."""
    since = (situation.empty_since or now) if situation.is_empty else None
    if situation.standing is Standing.SUSPENDED:
        return Decision(why=Withheld.STANDING, empty_since=since)
    is_over = since is not None and now - since >= grace
    return Decision(why=Withheld.BALANCE if is_over else None, empty_since=since)


def keep(*, now: dt.datetime, grace: dt.timedelta | None = None) -> int:
    """Withholds and releases whatever has become due; how many organizations that were. Repeating it does no harm."""
    wait = dt.timedelta(seconds=settings.MOORAGE_EMPTY_SECONDS) if grace is None else grace
    with connection.cursor() as cursor:
        cursor.execute(_LOOK)
        rows = cursor.fetchall()
    changed = 0
    for organization_id, standing, withheld, empty_since, is_empty in rows:
        found = Situation(standing=Standing(standing), is_empty=bool(is_empty), empty_since=empty_since)
        decided = decide(found, grace=wait, now=now)
        if decided.empty_since != empty_since:
            Wallet.objects.filter(pk=organization_id, empty_since=empty_since).update(empty_since=decided.empty_since)
        changed += _bring(organization_id, decided, withheld)
    return changed


def _bring(organization_id: str, decided: Decision, withheld: str) -> bool:
    """Makes it so; whether that is new."""
    if (str(decided.why) if decided.why is not None else "") == withheld:
        return False
    organization = Organization.objects.get(pk=organization_id)
    if decided.why is None:
        is_new = deployments.release(organization=organization, by=MOORAGE)
    else:
        is_new = deployments.withhold(organization=organization, why=decided.why, by=MOORAGE)
    if is_new:
        logger.info("organization_withheld organization=%s why=%s", organization_id, decided.why or "released")
    return is_new
