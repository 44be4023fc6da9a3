"""Rates what waits: takes a batch of unrated usage, prices it, posts it, all in one transaction.

A measured fact is queued by a trigger in the transaction that adds it and leaves the queue in the transaction that
rates it, so that a crash at any instruction leaves it either waiting or rated and posted. Batches skip what another
worker holds. Usage without a price stays queued, marked, and is looked at again when the price list changes and once
a minute. Which price is in force is asked once for each kind of usage in the batch; the rest is rating_batch.py's SQL.
"""

import dataclasses
import datetime as dt
import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Count, Max

from moorage.accounts.models import Organization
from moorage.billing import currency_gaps, ledger, locks, rating, rating_batch, wallets
from moorage.billing.ledger import Account, Entry, Posting
from moorage.billing.models import BillingMonth, Meter, Price, Statement, UnratedUsage
from moorage.billing.price_book import FREE_STATES, PriceBook, Priced, PriceRow
from moorage.billing.rating_batch import Added, Group, Rate
from moorage.billing.tiers import of_json
from moorage.kernel import clock
from moorage.kernel.clock import Period

logger = logging.getLogger(__name__)

BATCH: Final = 20_000
#: Marks usage whose organization does not exist: a price cannot help it.
NO_ORGANIZATION: Final = "organization"
_INSTANT: Final = dt.timedelta(microseconds=1)
#: In the order of a fact's quantities.
METERS: Final = (
    Meter.INPUT_TOKENS,
    Meter.CACHED_INPUT_TOKENS,
    Meter.OUTPUT_TOKENS,
    Meter.REQUESTS,
    Meter.REPLICA_SECONDS,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one batch did, in measured facts."""

    rated: int
    unpriced: int


def rate_all(*, most_batches: int = 200) -> int:
    """Rates batch after batch until nothing is due; how many facts were rated."""
    rated = 0
    for _ in range(most_batches):
        batch = rate_batch()
        rated += batch.rated
        if batch.rated + batch.unpriced < BATCH:
            break
    return rated


@transaction.atomic
def rate_batch(*, limit: int = BATCH) -> Batch:
    """Rates and posts up to ``limit`` facts that are due."""
    locks.share_prices()
    taken, found = rating_batch.claim(limit)
    if not taken:
        return Batch(rated=0, unpriced=0)
    if found != taken:
        logger.error("usage_queued_but_not_measured count=%d", taken - found)
    groups = rating_batch.groups()
    organization_ids = {group.organization_id for group in groups}
    known = _currencies(organization_ids)
    locks.share_months(known)
    known = _currencies(known)  # whoever changes one holds the lock of the organization's months
    strangers = _set_back_strangers(sorted(organization_ids - known.keys()))
    book = price_book()
    rates = _rates([group for group in groups if group.organization_id in known], book, _closed_months(known), known)
    rating_batch.lay(rates)
    if len(book.currencies) > 1:
        currency_gaps.note(rates, METERS, book)
    unpriced = _set_back_unpriced() if any(_is_lacking(rate) for rate in rates) else 0
    _post(_add(rates))
    return Batch(rated=found - strangers - unpriced, unpriced=strangers + unpriced)


def price_book() -> PriceBook:
    """The whole price list. It only grows: one of the same length with the same last row is the one that was read."""
    return _price_book(*Price.objects.aggregate(rows=Count("*"), last=Max("id")).values())


@functools.lru_cache(maxsize=2)
def _price_book(_rows: int, _last: str | None) -> PriceBook:
    return PriceBook(price_rows())


def price_rows() -> tuple[PriceRow, ...]:
    """All prices that there ever were."""
    fields = ("id", "meter", "model", "pico_per_unit", "valid_from", "currency", "organization_id", "state")
    rows = Price.objects.values(*fields, "device_class", "valid_to", "tiers")
    return tuple(PriceRow(**{**row, "tiers": of_json(row["tiers"])}) for row in rows)


def organizations_waiting(*, before: dt.datetime) -> frozenset[str]:
    """Those with usage that ended before a moment and waits for its turn, but for what waits for a price.

    One look at the whole queue, for all organizations at once: an index would cost every request that is queued, and in
    its steady state the queue is a few seconds of traffic.
    """
    rows = UnratedUsage.objects.filter(ended_at__lt=before, unpriced_meter="").order_by()
    return frozenset(rows.values_list("organization_id", flat=True).distinct())


def charged_in(ended_at: dt.datetime, closed: Iterable[dt.datetime]) -> dt.datetime:
    """The beginning of the month that usage is charged in: its own, or the first after it that is not closed. Pure."""
    taken = set(closed)
    period = Period.containing(ended_at)
    while period.start in taken:
        period = Period.containing(period.end)
    return period.start


def _currencies(organization_ids: Iterable[str]) -> dict[str, str]:
    """What each organization that exists pays in."""
    return dict(Organization.objects.filter(pk__in=list(organization_ids)).values_list("pk", "currency"))


def _rates(
    groups: Iterable[Group], book: PriceBook, closed: dict[str, set[dt.datetime]], currencies: Mapping[str, str]
) -> list[Rate]:
    """The prices of every group, from each moment at which one of them changes."""
    rates = []
    for group in groups:
        period_start = charged_in(group.month_start, closed.get(group.organization_id, ()))
        currency = currencies[group.organization_id]
        changes: dict[dt.datetime, dict[int, PriceRow | None]] = {}
        for place, meter in enumerate(METERS):
            what = Priced(
                meter=meter,
                served_name=group.served_name,
                currency=currency,
                organization_id=group.organization_id,
                state=group.state,
                device_class=group.device_class,
            )
            for moment, price in book.intervals(what, first=group.first, last=group.last):
                changes.setdefault(moment, {})[place] = price
        in_force: list[PriceRow | None] = [None] * len(METERS)
        moments = sorted(changes)
        for moment, until in zip(moments, [*moments[1:], group.last + _INSTANT], strict=True):
            for place, price in changes[moment].items():
                in_force[place] = price
            rates.append(
                Rate(
                    group=group,
                    from_at=moment,
                    until_at=until,
                    period_start=period_start,
                    currency=currency,
                    prices=tuple(in_force),
                )
            )
    return rates


def _is_lacking(rate: Rate) -> bool:
    """Whether a meter that has to have a price may be without one."""
    return rate.group.state not in FREE_STATES and any(
        price is None and meter not in rating.OPTIONAL for meter, price in zip(METERS, rate.prices, strict=True)
    )


def _closed_months(organization_ids: Iterable[str]) -> dict[str, set[dt.datetime]]:
    closed: dict[str, set[dt.datetime]] = {}
    rows = Statement.objects.filter(organization_id__in=list(organization_ids))
    for organization_id, period_start in rows.values_list("organization_id", "period_start"):
        closed.setdefault(organization_id, set()).add(period_start)
    return closed


def _add(rates: Sequence[Rate]) -> list[Added]:
    """Adds the lines of the batch; of facts that are rated already, none."""
    BillingMonth.objects.bulk_create(
        [
            BillingMonth(organization_id=organization_id, period_start=start)
            for organization_id, start in sorted({(rate.group.organization_id, rate.period_start) for rate in rates})
        ],
        ignore_conflicts=True,
    )
    has_graduated = any(price is not None and price.tiers for rate in rates for price in rate.prices)
    at = clock.now()
    try:
        with transaction.atomic():
            return rating_batch.add(at=at, has_graduated=has_graduated)
    except IntegrityError:
        logger.error("usage_queued_again count=%d", rating_batch.drop_rated())
        return rating_batch.add(at=at, has_graduated=has_graduated)


def _post(added: Sequence[Added]) -> None:
    """Posts what was added, and pays of it what the organizations' credit covers."""
    posted = [
        (
            one,
            Posting(
                kind="usage",
                # A fact is rated once: no other posting begins with this one.
                idempotency_key=f"usage:{one.organization_id}:{one.period_start:%Y-%m}:{one.first_source_id}",
                entries=(
                    Entry(account=Account.RECEIVABLE, organization_id=one.organization_id, pico=one.pico),
                    Entry(account=Account.REVENUE, organization_id=one.organization_id, pico=-one.pico),
                ),
                effective_at=one.until,
                currency=one.currency,
            ),
        )
        for one in added
        if one.pico
    ]
    ledger.post_all([posting for _, posting in posted])
    with_credit = wallets.with_credit({one.organization_id for one, _ in posted})
    for one, posting in posted:
        if one.organization_id in with_credit:
            wallets.capture(
                organization_id=one.organization_id,
                pico=one.pico,
                period_start=one.period_start,
                idempotency_key=f"capture:{posting.idempotency_key}",
                at=one.until,
            )


def _set_back_strangers(organization_ids: Sequence[str]) -> int:
    """Usage of nobody waits an hour: it stops nobody else."""
    if not organization_ids:
        return 0
    until = clock.now() + dt.timedelta(hours=1)
    count = rating_batch.set_back_strangers(organization_ids, mark=NO_ORGANIZATION, until=until)
    logger.error("usage_without_organization count=%d first=%s", count, organization_ids[0])
    return count


def _set_back_unpriced() -> int:
    """Leaves what has no price in the queue, says so, and looks again in a minute."""
    lacking = rating_batch.set_back_unpriced(until=clock.now() + dt.timedelta(minutes=1))
    for one in lacking:
        if one.is_news:
            logger.error("usage_unpriced meter=%s model=%s count=%d", one.meter, one.served_name, one.count)
    return sum(one.count for one in lacking)
