"""Proves that what wallets and grants say is left is what the ledger says: everything is added up again."""

import dataclasses
from typing import Final

from django.db import connection

_WALLETS: Final = """
SELECT w.organization_id
  FROM wallet w
  LEFT JOIN LATERAL (
       SELECT coalesce(-sum(e.amount_pico) FILTER (WHERE a.kind = 'customer_wallet'), 0) AS credit,
              coalesce(sum(e.amount_pico) FILTER (WHERE a.kind = 'customer_receivable'), 0) AS owed,
              coalesce(-sum(e.amount_pico) FILTER (WHERE a.kind = 'revenue_usage'), 0) AS settled
         FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
        WHERE a.organization_id = w.organization_id) l ON true
  LEFT JOIN LATERAL (
       SELECT coalesce(sum(g.remaining_pico), 0) AS remaining
         FROM credit_grant g WHERE g.organization_id = w.organization_id) g ON true
 WHERE g.remaining <> l.credit
    OR (w.opened_at IS NOT NULL
        AND (w.credit_pico, w.owed_pico, w.settled_pico) IS DISTINCT FROM (l.credit, l.owed, l.settled))
 ORDER BY 1
"""
_GRANTS: Final = """
SELECT g.id FROM credit_grant g
  LEFT JOIN (SELECT grant_id, sum(pico) AS pico FROM credit_draw GROUP BY 1) d ON d.grant_id = g.id
 WHERE g.amount_pico - coalesce(d.pico, 0) <> g.remaining_pico
 ORDER BY 1
"""
_TRANSACTIONS: Final = """
SELECT coalesce(posted.id, drawn.id)
  FROM (SELECT e.transaction_id AS id, sum(e.amount_pico) AS pico
          FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         WHERE a.kind = 'customer_wallet' GROUP BY 1) posted
  FULL JOIN (SELECT transaction_id AS id, sum(pico) AS pico
               FROM (SELECT transaction_id, pico FROM credit_draw
                     UNION ALL SELECT transaction_id, -amount_pico FROM credit_grant) moved GROUP BY 1) drawn
    ON drawn.id = posted.id
 WHERE coalesce(posted.pico, 0) <> coalesce(drawn.pico, 0)
 ORDER BY 1
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What does not add up; empty when all does."""

    #: Organizations whose wallet or grants say something else than the ledger.
    wallets: tuple[str, ...]
    #: Grants whose rest is not what was granted less what was drawn.
    grants: tuple[str, ...]
    #: Ledger transactions that move other credit than their grants and draws say.
    transactions: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything adds up."""
        return not self.wallets and not self.grants and not self.transactions


def prove() -> Proof:
    """Adds everything up again; may run while others post, since each question is one statement."""
    found = []
    with connection.cursor() as cursor:
        for query in (_WALLETS, _GRANTS, _TRANSACTIONS):
            cursor.execute(query)
            found.append(tuple(row[0] for row in cursor.fetchall()))
    return Proof(wallets=found[0], grants=found[1], transactions=found[2])
