"""Who waits for whom. Transaction-scoped advisory locks of PostgreSQL, always taken in this order: prices, an
organization's month, invoice numbers."""

from collections.abc import Iterable

from django.db import connection


def share_prices() -> None:
    """While this transaction rates, the price list does not change."""
    _take("SELECT pg_advisory_xact_lock_shared(hashtextextended('billing:prices', 0))")


def change_prices() -> None:
    """While this transaction changes the price list, nothing is rated."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:prices', 0))")


def share_months(organization_ids: Iterable[str]) -> None:
    """While this transaction rates usage of these organizations, none of their months is closed."""
    for organization_id in sorted(set(organization_ids)):
        _take("SELECT pg_advisory_xact_lock_shared(hashtextextended('billing:month:' || %s, 0))", organization_id)


def close_month(organization_id: str) -> None:
    """While this transaction closes a month of the organization, none of its usage is rated."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:month:' || %s, 0))", organization_id)


def number_invoices() -> None:
    """Until this transaction ends, nobody else gives out an invoice number: so none is ever left out."""
    _take("SELECT pg_advisory_xact_lock(hashtextextended('billing:invoice_number', 0))")


def _take(sql: str, *parameters: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
