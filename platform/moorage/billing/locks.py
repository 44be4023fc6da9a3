"""Who waits for whom. Transaction-scoped advisory locks of PostgreSQL, always taken in this order: prices, an
organization's month, an invoice's row, a wallet's row, invoice numbers, credit note numbers."""

from collections.abc import Iterable
from typing import Final

from django.db import connection

#: Organizations share this many locks: a batch with usage of thousands of them must fit the server's table of locks.
_SLOT: Final = "hashtextextended('billing:month:' || (hashtextextended({}, 0) & 255)::text, 0)"


def share_prices() -> None:
    """While this transaction rates, the price list does not change."""
    _take("SELECT pg_advisory_xact_lock_shared(hashtextextended('billing:prices', 0))")


def change_prices() -> None:
    """While this transaction changes the price list, nothing is rated."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:prices', 0))")


def share_months(organization_ids: Iterable[str]) -> None:
    """While this transaction rates usage of these organizations, none of their months is closed."""
    _take(
        "SELECT pg_advisory_xact_lock_shared(slot) FROM (SELECT DISTINCT"  # noqa: S608
        f" {_SLOT.format('organization_id')} AS slot FROM unnest(%s::text[]) AS organization_id ORDER BY 1) AS slots",
        sorted(organization_ids),
    )


def close_month(organization_id: str) -> None:
    """While this transaction closes a month of the organization, none of its usage is rated."""
    _take(f"SELECT pg_advisory_xact_lock({_SLOT.format('%s')})", organization_id)


def wallet(organization_id: str) -> None:
    """What posting to the organization's accounts locks as well, taken early: whoever gives out numbers waits for it
    before the numbers, and not with them."""
    _take("SELECT 1 FROM wallet WHERE organization_id = %s FOR UPDATE", organization_id)


def deeds(organization_id: str) -> None:
    """Until this transaction ends nobody else counts what administrators have done for the organization alone. Taken
    before all others."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:deeds:' || %s, 0))", organization_id)


def number_invoices() -> None:
    """Until this transaction ends, nobody else gives out an invoice number: so none is ever left out."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:invoice_number', 0))")


def number_credit_notes() -> None:
    """The same for the numbers of credit notes; taken after the invoice's row is locked."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:credit_note_number', 0))")


def _take(sql: str, *parameters: str | list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
