"""What the gateways may spend: an organization's allowance kept in step with its wallet.

    capacity = what may be spent beyond all usage that is charged + all usage that is charged
    used     = what the gateways said they used + what none of them could say

Charging usage moves an amount from the first term of the capacity to the second, so rating changes nothing here: only
credit, a limit or a payment does. ``used`` is what the gateways reckoned. The charge is the truth, and may differ:
replica time, a negotiated price, one that was changed within the hour. So the two are compared again and again:

    cut      at one moment, under the allowance's lock: what is used, and until when each worker has told of requests
    compare  once everything that ended by then is shipped and rated: all usage charged, less what ended after the
             cut, is what should have been used at the cut; the difference is added to ``used``

Each cut is compared once, and with everything since the beginning: a difference is made good exactly once, and one
that a clock or a late report feigned is taken back by the next. The sweep does it every two seconds.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from typing import Final

from django.db import connection, transaction
from django.db.models import Min

from moorage.accounts import allowances
from moorage.billing.models import UnratedUsage, Wallet
from moorage.kernel import clock
from moorage.metering.models import ShippingMark

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)

_COMPARING: Final = ("cut_at", "cut_used_pico", "cut_boots", "compared_used_pico", "compared_settled_pico")
#: Wallets with an end, whose allowance is not what it should be or was not compared with what was charged since.
_WAITING: Final = """
SELECT w.organization_id
  FROM wallet w
  LEFT JOIN allowance a ON a.subject = w.organization_id AND a.measure = 'money' AND a."window" = 'always'
                       AND a.starts = 0
 WHERE w.opened_at IS NOT NULL AND (w.mode = 'prepaid' OR w.credit_limit_pico IS NOT NULL)
   AND (a.id IS NULL OR w.cut_at IS NOT NULL
        OR (a.used, w.settled_pico) IS DISTINCT FROM (w.compared_used_pico, w.compared_settled_pico)
        OR a.capacity <> greatest(0, w.settled_pico + w.credit_pico
                                     + CASE w.mode WHEN 'prepaid' THEN 0 ELSE w.credit_limit_pico - w.owed_pico END))
 ORDER BY 1
"""
#: Requests charged to an organization that ended after a cut: by their worker's own mark, else after the cut itself.
_AFTER: Final = """
SELECT coalesce(sum(r.amount_pico), 0)
  FROM rated_usage r
  JOIN usage_event u ON u.request_id = r.source_id
 WHERE r.organization_id = %s AND r.ended_at > %s
   AND r.ended_at > coalesce(to_timestamp((%s::jsonb ->> u.boot_id)::bigint / 1000000.0), %s)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How far usage has come, as of one moment."""

    #: Everything that ended by then is measured here; None: nobody knows.
    shipped_until: dt.datetime | None
    #: When the first usage ended that waits for its turn, by organization.
    first_waiting: Mapping[str, dt.datetime]

    def has_unrated(self, organization_id: str, *, until: dt.datetime) -> bool:
        """Whether usage of the organization that ended by ``until`` waits to be rated."""
        first = self.first_waiting.get(organization_id)
        return first is not None and first <= until


def fill(wallet: Wallet) -> None:
    """Tells the gateways what ``wallet``, which is locked, may spend now; or that there is no end to it."""
    is_new = allowances.let_gateways_ask(wallet.pk, has_wallet=wallet.is_limited)
    if not wallet.is_limited:
        return
    wallet.refresh_from_db(fields=["credit_pico", "owed_pico", "settled_pico"])
    if is_new:
        # While there was no end to it the gateways counted nothing: all that is charged is used, and nothing else.
        allowances.begin(wallet.pk, used=wallet.settled_pico)
        wallet.cut_at = wallet.cut_used_pico = wallet.cut_boots = None
        wallet.compared_used_pico = wallet.compared_settled_pico = None
        wallet.limited_at = clock.now()
        wallet.save(update_fields=[*_COMPARING, "limited_at"])
    allowances.fill(wallet.pk, capacity=max(0, wallet.spendable_pico + wallet.settled_pico))


def unheld(wallet: Wallet) -> int:
    """How much credit of ``wallet``, which is locked, nobody has used or holds: what may expire or be taken back."""
    if not wallet.is_limited:
        return wallet.credit_pico
    fill(wallet)
    balance = allowances.balance(wallet.pk)
    assert balance is not None, "it was filled"
    if balance.leased:
        allowances.call_back(wallet.pk)
    return min(wallet.credit_pico, balance.unheld)


def keep() -> int:
    """Fills, cuts and compares every allowance that waits for it; how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        waiting = [row[0] for row in cursor.fetchall()]
    seen = look()
    for organization_id in waiting:
        _keep_one(organization_id, seen)
    return len(waiting)


@transaction.atomic
def _keep_one(organization_id: str, seen: Look) -> None:
    """The next step for one organization: its allowance is filled, and a cut compared or taken."""
    wallet = Wallet.objects.select_for_update().get(pk=organization_id)
    if wallet.opened_at is None or not wallet.is_limited:
        return
    fill(wallet)
    if wallet.cut_at is None:
        _cut(wallet)
    else:
        _compare(wallet, seen)


def look() -> Look:
    """How far usage is shipped and rated, of all organizations at once. What has no price waits for a person and costs
    nothing until then."""
    # The mark first: what ended by it is in the queue by then, or rated.
    shipped = ShippingMark.objects.values_list("complete_until", flat=True).first()
    rows = UnratedUsage.objects.filter(unpriced_meter="").order_by()
    waiting = rows.values_list("organization_id").annotate(first=Min("ended_at"))
    return Look(shipped_until=shipped, first_waiting=dict(waiting))


def _cut(wallet: Wallet) -> None:
    balance = allowances.balance(wallet.pk)
    assert balance is not None, "it was filled"
    assert wallet.limited_at is not None, "it was begun"
    since = (wallet.limited_at - _EPOCH) // _MICROSECOND
    wallet.cut_at, wallet.cut_used_pico = clock.now(), balance.used
    wallet.cut_boots = {boot: max(told, since) for boot, told in balance.told_until_us.items()}
    wallet.save(update_fields=["cut_at", "cut_used_pico", "cut_boots"])


def _compare(wallet: Wallet, seen: Look) -> None:
    """Does nothing before everything that ended by the cut is rated."""
    assert wallet.cut_at is not None and wallet.cut_used_pico is not None and wallet.cut_boots is not None
    marks = [wallet.cut_at, *(_EPOCH + dt.timedelta(microseconds=told) for told in wallet.cut_boots.values())]
    if seen.shipped_until is None or seen.shipped_until <= max(marks) or seen.has_unrated(wallet.pk, until=max(marks)):
        return
    with connection.cursor() as cursor:
        cursor.execute(_AFTER, [wallet.pk, min(marks), json.dumps(wallet.cut_boots), wallet.cut_at])
        after = int(cursor.fetchone()[0])
    allowances.add_used(wallet.pk, wallet.settled_pico - after - wallet.cut_used_pico)
    balance = allowances.balance(wallet.pk)
    assert balance is not None, "it was filled"
    wallet.cut_at = wallet.cut_used_pico = wallet.cut_boots = None
    # What ended after the cut is looked at with the next one, even if nothing else happens.
    wallet.compared_used_pico = balance.used if after == 0 else None
    wallet.compared_settled_pico = wallet.settled_pico
    wallet.save(update_fields=_COMPARING)
