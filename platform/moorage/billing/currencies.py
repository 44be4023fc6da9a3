"""What an organization pays in. It is one currency, and it changes only as long as there is nothing in it: no price of
its own, no usage charged, no credit, no top-up, no limit in money. Amounts are never converted.

The database holds the same line: what billing has of an organization refers to its currency (migration 0012).
"""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from django.db import connection, transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization, SubjectLimit
from moorage.billing import locks
from moorage.billing.errors import CurrencyInUse, CurrencyUnpriced, ReasonMissing
from moorage.billing.models import Meter, Wallet
from moorage.billing.price_book import PriceBook
from moorage.billing.rater import price_book
from moorage.kernel import clock, currencies

#: What may stand in the way, with the words for it.
_IN_THE_WAY: Final = (
    ("usage was charged to it", "SELECT FROM billing_month WHERE organization_id = %s"),
    ("usage of it was rated", "SELECT FROM rated_usage WHERE organization_id = %s"),
    ("its books have entries", "SELECT FROM ledger_account WHERE organization_id = %s"),
    ("it was given credit", "SELECT FROM credit_grant WHERE organization_id = %s"),
    ("it has bought credit or tried to", "SELECT FROM top_up WHERE organization_id = %s"),
    ("it has prices of its own", "SELECT FROM price WHERE organization_id = %s"),
    ("it agreed on a minimum", "SELECT FROM minimum_commitment WHERE organization_id = %s"),
    (
        "money for it waits for approval",
        "SELECT FROM approval_request WHERE organization_id = %s AND status = 'waiting'",
    ),
    (
        "it has limits in money",
        "SELECT FROM subject_limit WHERE organization_id = %s AND limits ?| ARRAY['money_per_day', 'money_per_month']",
    ),
    (
        "its wallet has a credit limit, a threshold or an automatic top-up",
        "SELECT FROM wallet WHERE organization_id = %s AND (credit_limit_pico IS NOT NULL"
        " OR alert_below_pico IS NOT NULL OR below_pico <> 0 OR top_up_cents <> 0 OR monthly_most_cents <> 0)",
    ),
)


@transaction.atomic
def set_currency(*, organization: Organization, currency: str, reason: str, by: Actor) -> None:
    """``organization`` pays in ``currency`` from now on; what it pays in already changes nothing.

    Raises ReasonMissing, CurrencyRefused for what is no currency with cents, CurrencyInUse naming what stands in the
    way, and CurrencyUnpriced where not everything has a generally valid price in it.
    """
    said = reason.strip()[:2000]
    if not said:
        raise ReasonMissing(param="reason")
    wanted = currencies.parse(currency)
    # In the order of all: nobody prices, rates, limits or grants anything for it meanwhile.
    locks.change_prices()
    locks.close_month(organization.pk)
    Wallet.objects.select_for_update().get(pk=organization.pk)
    locked = Organization.objects.select_for_update().get(pk=organization.pk)
    list(SubjectLimit.objects.for_organization(locked).select_for_update())
    before = locked.currency
    if wanted == before:
        return
    in_the_way = standing_in_the_way(locked)
    if in_the_way:
        raise CurrencyInUse(
            f"{locked.name} pays in {before} for good: {', and '.join(in_the_way)}. Amounts are never converted.",
            param="currency",
        )
    missing = unpriced(price_book(), wanted, at=clock.now())
    if missing:
        names = ", ".join(Meter(meter).label.lower() for meter in missing)
        raise CurrencyUnpriced(f"There is no generally valid price in {wanted} for {names}. Set one.", param="currency")
    Organization.objects.filter(pk=locked.pk).update(currency=wanted)
    organization.currency = wanted
    audit.record(
        organization=locked,
        by=by,
        action="organization.currency_changed",
        subject=locked.pk,
        detail={"before": before, "after": wanted, "reason": said},
    )


def standing_in_the_way(organization: Organization) -> tuple[str, ...]:
    """Why the organization's currency cannot change any more, in words; empty while it can."""
    found = []
    with connection.cursor() as cursor:
        for words, query in _IN_THE_WAY:
            cursor.execute(f"SELECT EXISTS ({query})", [organization.pk])
            if cursor.fetchone()[0]:
                found.append(words)
    return tuple(found)


def priced(*, at: dt.datetime) -> tuple[str, ...]:
    """The currencies in which everything that has a generally valid price at all has one: those to choose from."""
    book = price_book()
    return tuple(sorted(one for one in book.currencies if not unpriced(book, one, at=at)))


def unpriced(book: PriceBook, currency: str, *, at: dt.datetime) -> tuple[str, ...]:
    """Meters that have a generally valid price in some currency and none in this one; all that must have one, where no
    currency has any. Pure."""
    return tuple(meter for meter in sorted(_to_price(book, at)) if not book.is_listed(meter, currency, at))


def _to_price(book: PriceBook, at: dt.datetime) -> Iterator[str]:
    for meter in Meter.values:
        is_optional = meter == Meter.REQUESTS
        if not is_optional or any(book.is_listed(meter, currency, at) for currency in book.currencies):
            yield meter
