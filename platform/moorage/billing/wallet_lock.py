"""A wallet under its lock: whoever changes credit holds the row until their transaction ends."""

from typing import Final

from django.db import connection

from moorage.billing.models import Wallet
from moorage.kernel import clock

_SUMS: Final = """
SELECT coalesce(-sum(e.amount_pico) FILTER (WHERE a.kind = 'customer_wallet'), 0),
       coalesce(sum(e.amount_pico) FILTER (WHERE a.kind = 'customer_receivable'), 0),
       coalesce(-sum(e.amount_pico) FILTER (WHERE a.kind = 'revenue_usage'), 0)
  FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id WHERE a.organization_id = %s
"""


def open_wallet(organization_id: str) -> Wallet:
    """The wallet, locked until the transaction ends, its amounts kept from now on."""
    wallet = Wallet.objects.select_for_update().get(pk=organization_id)
    if wallet.opened_at is None:
        # Whoever posts for an unopened wallet holds a share of its row: all of that is committed now.
        with connection.cursor() as cursor:
            cursor.execute(_SUMS, [organization_id])
            wallet.credit_pico, wallet.owed_pico, wallet.settled_pico = (int(pico) for pico in cursor.fetchone())
        wallet.opened_at = clock.now()
        wallet.save(update_fields=["credit_pico", "owed_pico", "settled_pico", "opened_at"])
    return wallet


def opened(organization_id: str) -> Wallet | None:
    """The wallet, locked; None where it is not opened, which stays so until the posting transaction ends."""
    if not Wallet.objects.filter(pk=organization_id, opened_at__isnull=False).exists():
        return None
    return Wallet.objects.select_for_update().get(pk=organization_id)
