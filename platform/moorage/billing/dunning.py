"""What follows from invoices that stay unpaid: reminders, past due, suspended; and served again at payment. Pure.

Days are counted from an invoice's number (its ``finalized_at``). A disputed invoice is between the banks: nobody is
reminded of it, and it suspends nobody. One that was given up still keeps an organization where it is.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Final

from moorage.accounts.models import Standing

SEVERITY: Final = {Standing.ACTIVE: 0, Standing.PAST_DUE: 1, Standing.SUSPENDED: 2}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DunningPolicy:
    """After how many days since an invoice was finalized something happens, if it is unpaid."""

    reminder_days: tuple[int, ...] = (7, 14, 21)
    past_due_days: int = 15
    suspended_days: int = 30

    def __post_init__(self) -> None:
        assert 0 < self.past_due_days <= self.suspended_days, "past due comes before suspended"
        assert all(days > 0 for days in self.reminder_days), "nobody is reminded before an invoice is there"
        assert list(self.reminder_days) == sorted(set(self.reminder_days)), "reminders are in order"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An invoice that is not paid."""

    invoice_id: str
    finalized_at: dt.datetime
    is_disputed: bool = False
    #: Nobody expects the money any more: no reminders, but it is not paid either.
    is_given_up: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dunned:
    """What is to be done now."""

    #: Invoice and stage (1, 2, …) of every reminder that is due by now; whoever acts sends each once.
    reminders: tuple[tuple[str, int], ...]
    #: What the invoices alone would have the standing be.
    standing: Standing
    reason: str


def decide(policy: DunningPolicy, owed: Sequence[Owed], *, now: dt.datetime) -> Dunned:
    """From everything an organization owes to what follows at ``now``. The same whenever it is asked again."""
    counted = [one for one in owed if not one.is_disputed]
    reminders = []
    for one in counted:
        if one.is_given_up:
            continue
        stages = sum(now - one.finalized_at >= dt.timedelta(days=days) for days in policy.reminder_days)
        # After a pause only the last one is sent: three mails of one evening help nobody.
        if stages:
            reminders.append((one.invoice_id, stages))
    oldest = min((one.finalized_at for one in counted), default=None)
    standing, reason = Standing.ACTIVE, "Every invoice that is due is paid."
    if oldest is not None:
        days = (now - oldest) // dt.timedelta(days=1)
        if days >= policy.suspended_days:
            standing = Standing.SUSPENDED
        elif days >= policy.past_due_days:
            standing = Standing.PAST_DUE
        if standing is not Standing.ACTIVE:
            reason = f"An invoice is unpaid since {days} days."
    return Dunned(reminders=tuple(reminders), standing=standing, reason=reason)


def next_standing(*, present: Standing, wanted: Standing, dunned: str) -> Standing | None:
    """The standing to set; None: leave it. ``dunned`` is what dunning itself set last, empty for nothing.

    Dunning makes a standing worse, and takes back what it did itself; what somebody else has set stays.
    """
    if SEVERITY[wanted] > SEVERITY[present]:
        return wanted
    if SEVERITY[wanted] < SEVERITY[present] and dunned == present:
        return wanted
    return None
