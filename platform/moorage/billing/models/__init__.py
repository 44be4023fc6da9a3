"""Money: prices, rated usage, the ledger, statements, invoices, and the outbox to the payment provider.

Amounts are integer pico-units (1e-12) of the currency, in ``numeric(38,0)`` where they are sums. Triggers make
rated usage and the ledger append-only and every ledger transaction sum to zero.
"""

from moorage.billing.models.bill import (
    Invoice,
    InvoiceLine,
    InvoiceQuerySet,
    InvoiceStatus,
    Statement,
    StatementQuerySet,
    new_invoice_id,
    new_statement_id,
)
from moorage.billing.models.books import LedgerAccount, LedgerEntry, LedgerTransaction, new_transaction_id
from moorage.billing.models.price import Meter, Price, new_price_id
from moorage.billing.models.provider import BankTransfer, OutboxMessage, ProviderCustomer, WebhookEvent, new_outbox_id
from moorage.billing.models.usage import (
    BillingMonth,
    RatedUsage,
    RatedUsageQuerySet,
    SourceKind,
    UnratedUsage,
    UnratedUsageQuerySet,
)

__all__ = [
    "BankTransfer",
    "BillingMonth",
    "Invoice",
    "InvoiceLine",
    "InvoiceQuerySet",
    "InvoiceStatus",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerTransaction",
    "Meter",
    "OutboxMessage",
    "Price",
    "ProviderCustomer",
    "RatedUsage",
    "RatedUsageQuerySet",
    "SourceKind",
    "Statement",
    "StatementQuerySet",
    "UnratedUsage",
    "UnratedUsageQuerySet",
    "WebhookEvent",
    "new_invoice_id",
    "new_outbox_id",
    "new_price_id",
    "new_statement_id",
    "new_transaction_id",
]
