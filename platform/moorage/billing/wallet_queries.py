"""An organization's questions about its wallet: what there is, and what moved it."""

import dataclasses
import datetime as dt
from typing import Final

from django.db import connection
from django.db.models import F, QuerySet

from moorage.accounts.models import Organization
from moorage.billing import customers, ledger, wallet_watch
from moorage.billing.ledger import Account
from moorage.billing.models import Grant, GrantKind, LedgerEntry, Wallet
from moorage.billing.wallet_draws import credits_of
from moorage.billing.wallet_order import in_order
from moorage.kernel.clock import Period

#: Grants that are used up are not of interest for long.
_GRANTS_SHOWN: Final = 200
_MOVEMENTS_SHOWN: Final = 500

#: What moves credit, by the kind of its ledger transaction.
WORDS: Final = {
    "credit_granted": "Credit added",
    "credit_used": "Usage",
    "invoice_paid_from_credit": "Invoice paid",
    "credit_expired": "Expired",
    "credit_revoked": "Taken back",
}

#: Usage is charged every few seconds: a day of it is one line.
_MOVEMENTS: Final = """
SELECT max(t.effective_at), t.kind, coalesce(g.kind, ''), -sum(e.amount_pico)
  FROM ledger_entry e
  JOIN ledger_transaction t ON t.id = e.transaction_id
  LEFT JOIN credit_grant g ON g.transaction_id = t.id
 WHERE e.account_id = (SELECT id FROM ledger_account
                        WHERE organization_id = %s AND kind = 'customer_wallet')
   AND t.effective_at >= %s AND t.effective_at < %s
 GROUP BY t.kind, g.kind,
          CASE WHEN t.kind = 'credit_used' THEN to_char(t.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') ELSE t.id END
 ORDER BY 1 DESC, 2 LIMIT %s
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a wallet stands; amounts in pico-units."""

    wallet: Wallet
    #: What the organization pays in.
    currency: str
    credit_pico: int
    owed_pico: int
    #: What may still be spent; None: there is no end to it.
    left_pico: int | None
    #: Grants with something left, in the order in which they are used.
    grants: tuple[Grant, ...]
    #: The saved payment method in words; empty: there is none to top up from.
    saved_method: str

    @property
    def is_low(self) -> bool:
        """Whether less can be spent than the owners want to be told of."""
        threshold = self.wallet.alert_below_pico
        left = self.credit_pico if self.left_pico is None else self.left_pico
        return threshold is not None and left < threshold


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One movement of credit, or a day's usage: above zero where credit was added."""

    at: dt.datetime
    kind: str
    grant_kind: str
    pico: int

    @property
    def words(self) -> str:
        """What it was."""
        if self.grant_kind:
            return f"{GrantKind(self.grant_kind).label} credit added"
        return WORDS.get(self.kind, self.kind)


def view(organization: Organization) -> View:
    """How the organization's wallet stands."""
    wallet = Wallet.objects.get(pk=organization.pk)
    method = customers.collection_of(organization)
    left = wallet_watch.left([organization.pk]).get(organization.pk, 0) if wallet.is_limited else None
    owed = wallet.owed_pico
    if wallet.opened_at is None:
        owed = ledger.balance(organization=organization, kind=Account.RECEIVABLE)
    return View(
        wallet=wallet,
        currency=organization.currency,
        credit_pico=wallet.credit_pico,
        owed_pico=owed,
        left_pico=left,
        grants=grants(organization),
        saved_method=f"{method.method_brand} ···· {method.method_last4}".strip() if method.method_reference else "",
    )


def grants(organization: Organization) -> tuple[Grant, ...]:
    """Grants with something left, in the order in which they are used."""
    known = Grant.objects.for_organization(organization).filter(remaining_pico__gt=0)
    first = known.select_related("organization").order_by(
        "priority", F("expires_at").asc(nulls_last=True), "created_at"
    )[:_GRANTS_SHOWN]
    rows = {one.id: one for one in first}
    return tuple(rows[credit.id] for credit in in_order(credits_of(rows.values())))


def movements(organization: Organization) -> QuerySet[LedgerEntry]:
    """Every entry of the organization's credit in the ledger; below zero where credit was added."""
    return LedgerEntry.objects.filter(
        account__organization=organization, account__kind=str(Account.WALLET)
    ).select_related("account", "transaction", "transaction__grant")


def month(organization: Organization, period: Period) -> tuple[Movement, ...]:
    """The movements of one month, newest first, the usage of each day as one."""
    with connection.cursor() as cursor:
        cursor.execute(_MOVEMENTS, [organization.pk, period.start, period.end, _MOVEMENTS_SHOWN])
        return tuple(Movement(at=row[0], kind=row[1], grant_kind=row[2], pico=int(row[3])) for row in cursor.fetchall())
