"""Adds everything up again, from the entries alone: what does not add up is named.

Each transaction sums to zero in each currency, and so does all there is; nobody is charged in another currency than
theirs; a reversal mirrors what it reverses; revenue is the usage that was
rated; what an organization owes is the usage that is not invoiced yet, less the credit that paid it, and what is due of
its invoices; wallets and grants say what the entries say (wallet_proof.py).

All of it is read in one transaction that sees the database as it was at one moment, so that it may run while others
post.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from moorage.billing import wallet_proof
from moorage.billing.chart import Account
from moorage.kernel.money import PICO_PER_CENT

_UNBALANCED: Final = """
SELECT DISTINCT id FROM (
    SELECT t.id FROM ledger_transaction t
      LEFT JOIN ledger_entry e ON e.transaction_id = t.id
      LEFT JOIN ledger_account a ON a.id = e.account_id
     GROUP BY t.id, a.currency HAVING coalesce(sum(e.amount_pico), 0) <> 0
    UNION ALL
    SELECT t.id FROM ledger_transaction t LEFT JOIN ledger_entry e ON e.transaction_id = t.id
     GROUP BY t.id HAVING count(e.id) < 2) found
 ORDER BY id
"""
_UNMIRRORED: Final = """
SELECT t.id FROM ledger_transaction t
 WHERE t.reverses_id IS NOT NULL
   AND (SELECT array_agg(account_id || ' ' || amount_pico ORDER BY account_id, amount_pico)
          FROM ledger_entry WHERE transaction_id = t.id)
       IS DISTINCT FROM
       (SELECT array_agg(account_id || ' ' || -amount_pico ORDER BY account_id, -amount_pico)
          FROM ledger_entry WHERE transaction_id = t.reverses_id)
 ORDER BY t.id
"""
_REVENUE: Final = """
SELECT coalesce(rated.organization_id, posted.organization_id), coalesce(rated.pico, 0) + coalesce(posted.pico, 0)
  FROM (SELECT organization_id, sum(amount_pico) AS pico FROM rated_usage GROUP BY 1) AS rated
  FULL JOIN (SELECT a.organization_id, sum(e.amount_pico) AS pico
               FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
              WHERE a.kind = %(revenue)s GROUP BY 1) AS posted
    ON posted.organization_id = rated.organization_id
 WHERE coalesce(rated.pico, 0) + coalesce(posted.pico, 0) <> 0
 ORDER BY 1
"""
#: What is due of an invoice: all of its statement exactly until it has a number, its cents less what was credited then.
_RECEIVABLE: Final = """
WITH due AS (
    SELECT r.organization_id, sum(r.amount_pico) AS pico FROM rated_usage r
     WHERE NOT EXISTS (SELECT FROM statement s WHERE s.organization_id = r.organization_id
                                                 AND s.period_start = r.period_start)
     GROUP BY 1
    UNION ALL
    SELECT k.organization_id, -sum(k.taken_pico) FROM credit_taking k
     WHERE k.kind = 'capture' AND NOT EXISTS (SELECT FROM statement s WHERE s.organization_id = k.organization_id
                                                                        AND s.period_start = k.period_start)
     GROUP BY 1
    UNION ALL
    SELECT i.organization_id,
           sum(CASE WHEN i.status IN ('draft', 'in_review') THEN s.total_pico - s.credit_applied_pico
                    WHEN i.status = 'finalized' THEN
                         (i.total_cents - (SELECT coalesce(sum(n.owed_cents), 0) FROM credit_note n
                                            WHERE n.invoice_id = i.id)) * %(cent)s::numeric
                    ELSE 0 END)
      FROM invoice i JOIN statement s ON s.id = i.statement_id GROUP BY 1
), owed AS (
    SELECT a.organization_id, sum(e.amount_pico) AS pico
      FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
     WHERE a.kind = %(receivable)s GROUP BY 1
)
SELECT coalesce(d.organization_id, o.organization_id), coalesce(o.pico, 0) - coalesce(d.pico, 0)
  FROM (SELECT organization_id, sum(pico) AS pico FROM due GROUP BY 1) d
  FULL JOIN owed o ON o.organization_id = d.organization_id
 WHERE coalesce(o.pico, 0) <> coalesce(d.pico, 0)
 ORDER BY 1
"""
_CHARGED_OTHERWISE: Final = """
SELECT DISTINCT found.organization_id FROM (
    SELECT organization_id, currency FROM rated_usage GROUP BY 1, 2
    UNION ALL SELECT organization_id, currency FROM ledger_account WHERE organization_id IS NOT NULL) found
  JOIN organization o ON o.id = found.organization_id WHERE o.currency <> found.currency
 ORDER BY 1
"""
_TOTALS: Final = """
SELECT a.currency, a.kind, sum(e.amount_pico), count(*)
  FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """All entries of one account in one currency, over all organizations."""

    currency: str
    account: str
    pico: int
    entries: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What does not add up, empty when all does; and what was added up."""

    #: Ids of transactions whose entries do not sum to zero.
    unbalanced: tuple[str, ...]
    #: Ids of reversals that are no mirror.
    unmirrored: tuple[str, ...]
    #: Organization id, and rated usage minus posted revenue in pico-units.
    revenue_differs: tuple[tuple[str, int], ...]
    #: Organization id, and what the ledger says it owes minus what is due of it.
    receivable_differs: tuple[tuple[str, int], ...]
    #: Organizations that are charged in another currency than they pay in.
    charged_otherwise: tuple[str, ...]
    wallets: wallet_proof.Proof
    transactions: int
    totals: tuple[Total, ...]

    @property
    def sums(self) -> dict[str, int]:
        """What all entries of each currency come to: nothing, if all adds up."""
        found: dict[str, int] = {}
        for one in self.totals:
            found[one.currency] = found.get(one.currency, 0) + one.pico
        return found

    @property
    def is_clean(self) -> bool:
        """Whether everything adds up."""
        return not any(True for _ in self.differences())

    def differences(self) -> Iterator[str]:
        """What does not add up, as sentences."""
        yield from (f"Transaction {one} does not balance." for one in self.unbalanced)
        yield from (f"Reversal {one} is not the mirror of what it reverses." for one in self.unmirrored)
        yield from (f"{one}: is charged in another currency than it pays in." for one in self.charged_otherwise)
        for currency, pico in self.sums.items():
            if pico:
                yield f"All entries in {currency} come to {pico} pico instead of nothing."
        for organization_id, pico in self.revenue_differs:
            yield f"{organization_id}: rated usage is {pico} pico more than its revenue in the ledger."
        for organization_id, pico in self.receivable_differs:
            yield f"{organization_id}: owes {pico} pico more in the ledger than is due of it."
        yield from (
            f"{one}: its wallet or its grants say something else than the ledger." for one in self.wallets.wallets
        )
        yield from (
            f"Grant {one}: what is left is not what was granted less what was drawn." for one in self.wallets.grants
        )
        for one in self.wallets.transactions:
            yield f"Transaction {one} moves other credit than its grants and draws say."


def prove() -> Proof:
    """Adds everything up again, as of one moment."""
    with _one_moment() as cursor:
        parameters: dict[str, str | int] = {
            "revenue": str(Account.REVENUE),
            "receivable": str(Account.RECEIVABLE),
            "cent": PICO_PER_CENT,
        }
        cursor.execute("SELECT count(*) FROM ledger_transaction")
        transactions = int(cursor.fetchone()[0])
        cursor.execute(_TOTALS)
        totals = tuple(
            Total(currency=row[0], account=row[1], pico=int(row[2]), entries=row[3]) for row in cursor.fetchall()
        )
        return Proof(
            unbalanced=_ids(cursor, _UNBALANCED),
            unmirrored=_ids(cursor, _UNMIRRORED),
            revenue_differs=_amounts(cursor, _REVENUE, parameters),
            receivable_differs=_amounts(cursor, _RECEIVABLE, parameters),
            charged_otherwise=_ids(cursor, _CHARGED_OTHERWISE),
            wallets=wallet_proof.prove(),
            transactions=transactions,
            totals=totals,
        )


@contextmanager
def _one_moment() -> Iterator[CursorWrapper]:
    """A cursor whose queries see one snapshot; inside somebody else's transaction they see what that one sees."""
    is_ours = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if is_ours:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield cursor


def _ids(cursor: CursorWrapper, query: str) -> tuple[str, ...]:
    cursor.execute(query)
    return tuple(row[0] for row in cursor.fetchall())


def _amounts(cursor: CursorWrapper, query: str, parameters: dict[str, str | int]) -> tuple[tuple[str, int], ...]:
    cursor.execute(query, parameters)
    return tuple((row[0], int(row[1])) for row in cursor.fetchall())
