"""R1: every ledger transaction sums to zero, wallets are their entries, what is held is what is leased."""

import dataclasses
from collections.abc import Iterable

from django.db import connection

from moorage.billing.ledger import Account
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.kernel.currencies import USD
from moorage.kernel.money import Money


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransactionSum:
    """The entries of one ledger transaction in one currency."""

    id: str
    entries: int
    pico: int
    currency: str = USD


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A figure that is kept, and the sum it is meant to be."""

    what: str
    code: str
    subject: str
    organization_id: str
    kept: int
    summed: int
    is_money: bool = True
    #: Of money: what its organization pays in.
    currency: str = USD


def compare_books(transactions: Iterable[TransactionSum], projections: Iterable[Projection]) -> tuple[Finding, ...]:
    """What does not add up."""
    found = []
    for one in transactions:
        if one.entries < 2 or one.pico != 0:
            found.append(
                Finding(
                    code="transaction_unbalanced",
                    sentence=f"Its {one.entries} entries come to {Money(one.pico, one.currency)} instead of nothing.",
                    subject=one.id,
                )
            )
    for kept in projections:
        if kept.kept != kept.summed:
            shown = [
                str(Money(pico, kept.currency)) if kept.is_money else f"{pico:,}" for pico in (kept.kept, kept.summed)
            ]
            found.append(
                Finding(
                    code=f"{kept.code}_differs",
                    sentence=f"The {kept.what} says {shown[0]}, what it is made of comes to {shown[1]}.",
                    subject=kept.subject,
                    organization_id=kept.organization_id,
                )
            )
    return tuple(found)


def books(window: Window) -> Result:
    """R1 over all that is there."""
    transactions, projections = _transactions(window), [*_wallets(), *_holds()]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_transaction WHERE created_at >= %s", [window.since])
        looked_at = int(cursor.fetchone()[0])
    findings = compare_books(transactions, projections)
    return Result(compared=looked_at + len(projections), findings=findings[:KEPT_MOST], finding_count=len(findings))


def _transactions(window: Window) -> list[TransactionSum]:
    """Those since the last run that might be wrong; one is as old as its entries, which come with it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.id, count(e.id), coalesce(sum(e.amount_pico), 0), coalesce(a.currency, 'USD')"
            "  FROM ledger_transaction t LEFT JOIN ledger_entry e ON e.transaction_id = t.id"
            "  LEFT JOIN ledger_account a ON a.id = e.account_id"
            " WHERE t.created_at >= %s"
            " GROUP BY t.id, a.currency HAVING coalesce(sum(e.amount_pico), 0) <> 0 OR count(e.id) < 2"
            " ORDER BY t.id LIMIT 1000",
            [window.since],
        )
        return [
            TransactionSum(id=row[0], entries=int(row[1]), pico=int(row[2]), currency=row[3])
            for row in cursor.fetchall()
        ]


def _wallets() -> list[Projection]:
    """What a wallet keeps, and the entries of its accounts; what is left of its grants is its credit too."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT w.organization_id, o.currency, w.credit_pico, w.owed_pico, w.settled_pico, g.pico, l.credit,
                   l.owed, l.settled
              FROM wallet w JOIN organization o ON o.id = w.organization_id
             CROSS JOIN LATERAL (
                SELECT coalesce(-sum(e.amount_pico) FILTER (WHERE a.kind = %s), 0) AS credit,
                       coalesce(sum(e.amount_pico) FILTER (WHERE a.kind = %s), 0) AS owed,
                       coalesce(-sum(e.amount_pico) FILTER (WHERE a.kind = %s), 0) AS settled
                  FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
                 WHERE a.organization_id = w.organization_id) l
             CROSS JOIN LATERAL (
                SELECT coalesce(sum(remaining_pico), 0) AS pico FROM credit_grant
                 WHERE organization_id = w.organization_id) g
             WHERE w.opened_at IS NOT NULL ORDER BY 1
            """,
            [str(Account.WALLET), str(Account.RECEIVABLE), str(Account.REVENUE)],
        )
        rows = cursor.fetchall()
    found = []
    for organization_id, currency, credit, owed, settled, granted, *sums in rows:
        kept = {
            ("wallet_credit", "credit of the wallet"): (credit, sums[0]),
            ("wallet_debt", "debt of the wallet"): (owed, sums[1]),
            ("wallet_usage", "usage of the wallet"): (settled, sums[2]),
            ("grants", "rest of the grants"): (granted, sums[0]),
        }
        found += [
            Projection(
                code=code,
                what=what,
                subject=organization_id,
                organization_id=organization_id,
                kept=int(pair[0]),
                summed=int(pair[1]),
                currency=currency,
            )
            for (code, what), pair in kept.items()
        ]
    return found


def _holds() -> list[Projection]:
    """What an allowance says is leased, and the leases."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.subject, a.organization_id, a.measure, a.leased, coalesce(sum(l.amount), 0), o.currency"
            "  FROM allowance a JOIN organization o ON o.id = a.organization_id"
            "  LEFT JOIN lease l ON l.allowance_id = a.id"
            " WHERE a.leased <> 0 OR l.id IS NOT NULL"
            " GROUP BY a.id, o.currency ORDER BY a.id"
        )
        return [
            Projection(
                what="hold",
                code="hold",
                subject=row[0],
                organization_id=row[1],
                kept=int(row[3]),
                summed=int(row[4]),
                is_money=row[2] == "money",
                currency=row[5],
            )
            for row in cursor.fetchall()
        ]
