"""Which invoices a person looks at before they go out. Pure."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPolicy:
    """What asks for a review."""

    #: A total of more cents than this; None: no total does.
    above_cents: int | None = 100_000
    #: The first invoice with an amount that an organization gets.
    first_invoice: bool = True


def review_reasons(policy: ReviewPolicy, *, total_cents: int, is_first: bool) -> tuple[str, ...]:
    """Why this invoice waits for an administrator, as sentences; empty: it goes out by itself. An invoice of nothing
    is not looked at."""
    if total_cents == 0:
        return ()
    reasons = []
    if policy.first_invoice and is_first:
        reasons.append("It is the first invoice of this organization.")
    if policy.above_cents is not None and total_cents > policy.above_cents:
        reasons.append(f"It is above {policy.above_cents // 100}.{policy.above_cents % 100:02d}.")
    return tuple(reasons)
