"""The eight jobs: what each compares, how often, and which process can. Pure."""

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping
from typing import Final


class Job(enum.StrEnum):
    """The names by which people know them."""

    BOOKS = "R1"
    SETTLED = "R2"
    JOURNALS = "R3"
    METER = "R4"
    INVOICES = "R5"
    PAYMENTS = "R6"
    REPLICAS = "R7"
    ENGINES = "R8"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobWords:
    """A job for people, and its interval."""

    title: str
    compares: str
    every: dt.timedelta
    #: Only the provisioning worker can ask containers and their engines.
    needs_runtime: bool = False


_MINUTES: Final = dt.timedelta(minutes=5)
_HOUR: Final = dt.timedelta(hours=1)
_DAY: Final = dt.timedelta(days=1)
JOBS: Final[Mapping[Job, JobWords]] = {
    Job.BOOKS: JobWords(
        title="Ledger, wallets and holds",
        compares="Every transaction sums to zero; a wallet is the sum of its entries; what is held is what is leased.",
        every=_MINUTES,
    ),
    Job.SETTLED: JobWords(
        title="Requests, charges and the ledger",
        compares="Every request is charged for its tokens once, and what is charged in a month is in the ledger.",
        every=_MINUTES,
    ),
    Job.JOURNALS: JobWords(
        title="Gateway journals and usage",
        compares="Every request that a gateway wrote down as settled is in the usage with the same tokens.",
        every=_HOUR,
    ),
    Job.METER: JobWords(
        title="Usage meter at the payment provider",
        compares="The ledger's micro-dollars, what the provider acknowledged, and what it sums up.",
        every=_HOUR,
    ),
    Job.INVOICES: JobWords(
        title="Invoices at the payment provider",
        compares="The provider asks for exactly what the frozen statement comes to.",
        every=_HOUR,
    ),
    Job.PAYMENTS: JobWords(
        title="Payments, refunds and disputes",
        compares="The money that the provider has for us is what its clearing account says.",
        every=_DAY,
    ),
    Job.REPLICAS: JobWords(
        title="Replica seconds and containers",
        compares="No replica is metered for longer than its container ran, nor left out while it runs.",
        every=_MINUTES,
        needs_runtime=True,
    ),
    Job.ENGINES: JobWords(
        title="Engine counters and usage",
        compares="The tokens that an engine has counted itself are those that were metered of its replica.",
        every=_MINUTES,
        needs_runtime=True,
    ),
}


def is_due(job: Job, *, last_started_at: dt.datetime | None, now: dt.datetime) -> bool:
    """Whether its interval has passed since it was started last."""
    return last_started_at is None or now - last_started_at >= JOBS[job].every
