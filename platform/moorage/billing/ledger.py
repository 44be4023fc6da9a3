"""The ledger's only writer. A transaction is a set of signed entries that sum to zero, and is never edited.

Positive is debit. Accounts are per organization:

    customer_receivable   what the organization owes us (debit)
    revenue_usage         rated usage (credit)
    revenue_adjustment    invoices that were voided (debit)
    rounding              what rounding an invoice to cents added or dropped
    bad_debt              invoices given up as uncollectible (debit)
    <provider>_clearing   payments that a provider has collected for us (debit)

The database refuses unbalanced, late, changed and deleted entries; see migration 0002.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import Sum

from moorage.accounts.models import Organization
from moorage.billing.models import LedgerAccount, LedgerEntry, LedgerTransaction, new_transaction_id
from moorage.billing.prices import CURRENCY
from moorage.kernel import clock


class Account(enum.StrEnum):
    """The chart of accounts."""

    RECEIVABLE = "customer_receivable"
    REVENUE = "revenue_usage"
    ADJUSTMENT = "revenue_adjustment"
    ROUNDING = "rounding"
    BAD_DEBT = "bad_debt"
    STRIPE_CLEARING = "stripe_clearing"
    TRANSFER_CLEARING = "transfer_clearing"
    MEMORY_CLEARING = "memory_clearing"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line to post: positive is debit."""

    account: Account
    organization_id: str
    pico: int


@transaction.atomic
def post(
    *,
    kind: str,
    idempotency_key: str,
    entries: Sequence[Entry],
    effective_at: dt.datetime,
    currency: str = CURRENCY,
    reverses: LedgerTransaction | None = None,
) -> LedgerTransaction:
    """Posts one transaction, or gives back the one that already has this key.

    Entries must sum to zero and none may be zero; a key that is known must come with the entries it came with.
    Anything else is a mistake of ours and asserts (the database refuses the former too).
    """
    assert len(entries) >= 2 and sum(entry.pico for entry in entries) == 0, "a transaction sums to zero"
    assert all(type(entry.pico) is int and entry.pico for entry in entries), "an entry is a whole number that moves"
    posted = LedgerTransaction(
        id=new_transaction_id(),
        kind=kind,
        idempotency_key=idempotency_key,
        reverses=reverses,
        effective_at=effective_at,
        created_at=clock.now(),
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_transaction (id, kind, idempotency_key, reverses_id, effective_at, created_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (idempotency_key) DO NOTHING",
            [
                posted.id,
                kind,
                idempotency_key,
                reverses.pk if reverses else None,
                effective_at,
                posted.created_at,
            ],
        )
        if cursor.rowcount == 0:
            known = LedgerTransaction.objects.get(idempotency_key=idempotency_key)
            assert _entries(known) == sorted((e.organization_id, str(e.account), e.pico) for e in entries), (
                f"{idempotency_key} was posted before with other entries"
            )
            return known
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            transaction_id=posted.id,
            account_id=_account_id(entry.account, entry.organization_id, currency),
            amount_pico=entry.pico,
        )
        for entry in entries
    )
    return posted


def balance(*, organization: Organization, kind: Account, currency: str = CURRENCY) -> int:
    """The sum of an account in pico-units; positive is debit."""
    found = LedgerEntry.objects.filter(
        account__organization=organization, account__kind=str(kind), account__currency=currency
    ).aggregate(total=Sum("amount_pico"))["total"]
    return int(found or 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What does not add up; empty when all does."""

    #: Ids of transactions whose entries do not sum to zero.
    unbalanced: tuple[str, ...]
    #: Organization id, and rated usage minus posted revenue in pico-units.
    revenue_differs: tuple[tuple[str, int], ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything adds up."""
        return not self.unbalanced and not self.revenue_differs


def prove() -> Proof:
    """Adds everything up again: each transaction sums to zero, and revenue is rated usage, per organization."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.id FROM ledger_transaction t LEFT JOIN ledger_entry e ON e.transaction_id = t.id"
            " GROUP BY t.id HAVING coalesce(sum(e.amount_pico), 0) <> 0 OR count(e.id) < 2 ORDER BY t.id"
        )
        unbalanced = tuple(row[0] for row in cursor.fetchall())
        cursor.execute(
            """
            SELECT coalesce(rated.organization_id, posted.organization_id),
                   coalesce(rated.pico, 0) + coalesce(posted.pico, 0)
              FROM (SELECT organization_id, sum(amount_pico) AS pico FROM rated_usage GROUP BY 1) AS rated
              FULL JOIN (SELECT a.organization_id, sum(e.amount_pico) AS pico
                           FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
                          WHERE a.kind = %s GROUP BY 1) AS posted
                ON posted.organization_id = rated.organization_id
             WHERE coalesce(rated.pico, 0) + coalesce(posted.pico, 0) <> 0
             ORDER BY 1
            """,
            [str(Account.REVENUE)],
        )
        differs = tuple((row[0], int(row[1])) for row in cursor.fetchall())
    return Proof(unbalanced=unbalanced, revenue_differs=differs)


def _entries(posted: LedgerTransaction) -> list[tuple[str | None, str, int]]:
    rows = posted.entries.values_list("account__organization_id", "account__kind", "amount_pico")
    return sorted((organization_id, kind, int(pico)) for organization_id, kind, pico in rows)


def _account_id(kind: Account, organization_id: str, currency: str) -> int:
    known = LedgerAccount.objects.filter(organization_id=organization_id, kind=str(kind), currency=currency)
    found = known.values_list("pk", flat=True).first()
    if found is None:
        LedgerAccount.objects.bulk_create(
            [LedgerAccount(organization_id=organization_id, kind=str(kind), currency=currency)],
            ignore_conflicts=True,
        )
        found = known.values_list("pk", flat=True).get()
    return int(found)
