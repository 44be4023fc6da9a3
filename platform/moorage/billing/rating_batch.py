"""One batch of rating in the database: claim what is due, lay prices over it, add the lines.

All of it happens in the caller's transaction, in temporary tables that it empties at its end: what a crash leaves is
the queue as it was. Each statement handles a whole batch; nothing of a single event passes through Python. That the
lines are those of :func:`moorage.billing.rating.rate` is tests/billing/test_rating_sql.py's to show.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from django.db import connection
from django.db.backends.utils import CursorWrapper

from moorage.billing import rating_sql
from moorage.billing.price_book import PriceRow

#: Beyond any quantity: where the last tier ends.
_ENDLESS: Final = 2**62


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Facts of the batch that are priced alike but for when they ended: from ``first`` to ``last``, within a month."""

    organization_id: str
    served_name: str
    state: str
    device_class: str
    month_start: dt.datetime
    first: dt.datetime
    last: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What the facts of ``group`` that ended in ``[from_at, until_at)`` cost: a price for each meter, or None."""

    group: Group
    from_at: dt.datetime
    until_at: dt.datetime
    #: The month they are charged in.
    period_start: dt.datetime
    #: What the organization pays in: each of the prices is in it.
    currency: str
    prices: tuple[PriceRow | None, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What was added for one organization, month and currency. No other batch adds ``first_source_id``."""

    organization_id: str
    period_start: dt.datetime
    currency: str
    pico: int
    until: dt.datetime
    first_source_id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What went back into the queue because nobody has set a price for it."""

    meter: str
    served_name: str
    count: int
    #: Whether it was not known before.
    is_news: bool


def claim(limit: int) -> tuple[int, int]:
    """Takes up to ``limit`` facts that are due out of the queue, past those that another batch holds; how many, and how
    many of them were found where they were measured."""
    with connection.cursor() as cursor:
        cursor.execute(rating_sql.TABLES)
        cursor.execute("SET LOCAL work_mem = '32MB'")
        cursor.execute(rating_sql.CLAIM, [limit])
        taken, found = cursor.fetchone()
    return int(taken), int(found)


def groups() -> list[Group]:
    """What the batch is made of."""
    with connection.cursor() as cursor:
        cursor.execute(rating_sql.GROUPS)
        return [
            Group(
                organization_id=row[0],
                served_name=row[1],
                state=row[2],
                device_class=row[3],
                month_start=row[4],
                first=row[5],
                last=row[6],
            )
            for row in cursor.fetchall()
        ]


def set_back_strangers(organization_ids: Sequence[str], *, mark: str, until: dt.datetime) -> int:
    """Puts the facts of organizations that do not exist back into the queue; how many."""
    with connection.cursor() as cursor:
        cursor.execute(rating_sql.SET_BACK_STRANGERS, [list(organization_ids), mark, until])
        return int(cursor.rowcount)


def lay(rates: Sequence[Rate]) -> None:
    """Lays the prices over the batch."""
    known: dict[str, PriceRow] = {price.id: price for rate in rates for price in rate.prices if price is not None}
    with connection.cursor() as cursor:
        _fill(
            cursor,
            "rating_rate",
            (
                (
                    *(rate.group.organization_id, rate.group.served_name, rate.group.state, rate.group.device_class),
                    *(rate.from_at, rate.until_at, rate.group.month_start, rate.period_start),
                    rate.currency,
                    *(cell for price in rate.prices for cell in _cells(price, rate.currency)),
                )
                for rate in rates
            ),
        )
        graduated = [price for price in known.values() if price.tiers]
        _fill(
            cursor,
            "rating_tier",
            (
                (price.id, number, tier.begins, following.begins if following else _ENDLESS, tier.pico)
                for price in graduated
                for number, (tier, following) in enumerate(zip(price.tiers, [*price.tiers[1:], None], strict=True))
            ),
        )


def set_back_unpriced(*, until: dt.datetime) -> list[Lacking]:
    """Puts facts of which a meter has no price back into the queue, marked."""
    with connection.cursor() as cursor:
        cursor.execute(rating_sql.SET_BACK, [until])
        return [Lacking(meter=row[0], served_name=row[1], count=row[2], is_news=row[3]) for row in cursor.fetchall()]


def add(*, at: dt.datetime, has_graduated: bool) -> list[Added]:
    """Adds the lines; the sums by organization, month and currency, in that order. Raises IntegrityError when one of
    the facts is rated already; then nothing is added."""
    found: dict[tuple[str, dt.datetime, str], Added] = {}
    with connection.cursor() as cursor:
        # Nothing is known of tables that have just been filled: without this the planner takes them for tiny.
        cursor.execute("SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off")
        for statement in (rating_sql.ADD, rating_sql.ADD_GRADUATED) if has_graduated else (rating_sql.ADD,):
            cursor.execute(statement, [at])
            for row in cursor.fetchall():
                before = found.get(row[:3])
                found[row[:3]] = Added(
                    organization_id=row[0],
                    period_start=row[1],
                    currency=row[2],
                    pico=int(row[3]) + (before.pico if before else 0),
                    until=max(row[4], before.until) if before else row[4],
                    first_source_id=min(row[5], before.first_source_id) if before else row[5],
                )
        cursor.execute("SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on")
    return [found[key] for key in sorted(found)]


def drop_rated() -> int:
    """Drops from the batch what is rated already; how many facts."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM rating_source s WHERE EXISTS (SELECT FROM rated_usage r WHERE r.source_id = s.source_id)"
        )
        return int(cursor.rowcount)


def _cells(price: PriceRow | None, currency: str) -> tuple[object, ...]:
    if price is None:
        return (None, None, None)
    assert price.currency == currency, "an organization is charged in its own currency alone"
    return (price.id, price.pico_per_unit, bool(price.tiers))


def _fill(cursor: CursorWrapper, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
