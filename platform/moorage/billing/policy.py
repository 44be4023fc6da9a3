"""Which invoices a person looks at before they go out. Pure."""

import dataclasses

from moorage.kernel.money import PICO_PER_CENT, Money


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPolicy:
    """What asks for a review."""

    #: A total of more cents than this; None: no total does.
    above_cents: int | None = 100_000
    #: The first invoice with an amount that an organization gets.
    first_invoice: bool = True


def review_reasons(policy: ReviewPolicy, *, total_cents: int, is_first: bool, currency: str) -> tuple[str, ...]:
    """Why this invoice waits for an administrator, as sentences; empty: it goes out by itself. An invoice of nothing
    is not looked at. Bounds are numbers of whatever the invoice is in."""
    if total_cents == 0:
        return ()
    reasons = []
    if policy.first_invoice and is_first:
        reasons.append("It is the first invoice of this organization.")
    if policy.above_cents is not None and total_cents > policy.above_cents:
        reasons.append(f"It is above {_text(policy.above_cents * PICO_PER_CENT, currency)}.")
    return tuple(reasons)


#: How a reason begins that stops an invoice as strange, in words that an administrator's page can look for.
PARKED = "Parked: "


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SanityBounds:
    """What an invoice may be before a person has to look, whatever the policy says."""

    #: More than so many times the highest month before is strange…
    times: int = 3
    #: …unless it comes to no more than this.
    floor_cents: int = 10_000
    lines_most: int = 1_000


def parking_reasons(
    bounds: SanityBounds,
    *,
    total_pico: int,
    due_pico: int,
    highest_before_pico: int | None,
    line_count: int,
    unpriced_count: int,
    currency: str,
) -> tuple[str, ...]:
    """Why this month is too strange to be invoiced by itself, as sentences; empty: it is not.

    ``total_pico`` is what the month's usage comes to before credit: credit hides nothing. ``highest_before_pico`` is
    the highest such total of the last twelve months, None where there is none.
    """
    reasons = []
    if total_pico > bounds.floor_cents * PICO_PER_CENT and total_pico > bounds.times * (highest_before_pico or 0):
        if highest_before_pico is None:
            reasons.append(f"{_text(total_pico, currency)} is much for a first month.")
        else:
            before = f"the highest of the last twelve months, {_text(highest_before_pico, currency)}"
            reasons.append(f"{_text(total_pico, currency)} is more than {bounds.times} times {before}.")
    if line_count > bounds.lines_most:
        reasons.append(f"It has {line_count:,} lines; {bounds.lines_most:,} are usual at most.")
    if total_pico < 0 or due_pico < 0:
        reasons.append("It comes to less than nothing.")
    if unpriced_count:
        reasons.append(f"{unpriced_count:,} kinds of usage have no price and stand in no line.")
    return (PARKED + " ".join(reasons),) if reasons else ()


def is_parked(reason: str) -> bool:
    """Whether an invoice in review with this reason was stopped as strange."""
    return reason.startswith(PARKED)


def _text(pico: int, currency: str) -> str:
    cents = Money(pico, currency).to_cents()
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100:,}.{abs(cents) % 100:02d} {currency}"
