"""The chart of accounts. Positive is debit. Accounts are per organization:

customer_receivable   what the organization owes us (debit)
revenue_usage         rated usage (credit)
revenue_adjustment    invoices that were voided (debit)
rounding              what rounding an invoice to cents added or dropped
bad_debt              invoices given up as uncollectible (debit)
<provider>_clearing   payments that a provider has collected for us (debit); refunds and disputes move it back
customer_wallet       the credit that a customer has with us (credit)
promo_expense         credit that we gave away (debit)
breakage              credit that expired unused (credit)
tax_payable           tax that we collected for somebody else (credit)
dispute_loss          what a lost dispute cost us (debit)
"""

import enum


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
    WALLET = "customer_wallet"
    PROMOTION = "promo_expense"
    BREAKAGE = "breakage"
    TAX = "tax_payable"
    DISPUTE_LOSS = "dispute_loss"
