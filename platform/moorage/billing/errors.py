"""What can be wrong with money, for a person to read.

PlatformError
├── NotFound
│   ├── InvoiceNotFound
│   └── StatementLineNotFound
├── Conflict
│   ├── PriceInThePast
│   ├── PriceExists
│   ├── InvoiceChanged
│   └── PaidElsewhere
├── InvalidInput
│   ├── InvalidPrice
│   ├── InvalidPeriod
│   ├── InvalidLineCursor
│   └── ReasonMissing
├── WebhookRefused (400)
└── WebhookTooLarge (413)

The payment provider's own errors are in payments.py; a ledger that does not add up is an assertion, not an error.
"""

from moorage.kernel import errors


class InvoiceNotFound(errors.NotFound):
    """There is no such invoice here. Check the id."""

    code = "invoice_not_found"


class StatementLineNotFound(errors.NotFound):
    """This statement has no such line. Open the statement again: a running month changes."""

    code = "statement_line_not_found"


class PriceInThePast(errors.Conflict):
    """Usage was already rated after this moment, and rated usage is never changed. Choose a later beginning."""

    code = "price_in_the_past"


class PriceExists(errors.Conflict):
    """There is already a price for this meter and model that begins at this moment. Choose another moment."""

    code = "price_exists"


class InvoiceChanged(errors.Conflict):
    """The invoice is not in a status that allows this. Open it again and look."""

    code = "invoice_changed"


class PaidElsewhere(errors.Conflict):
    """This invoice is collected by the payment provider, which tells us when it is paid. Record the payment there."""

    code = "paid_elsewhere"


class InvalidPrice(errors.InvalidInput):
    """A price is a decimal number such as 0.25."""

    code = "invalid_price"


class InvalidPeriod(errors.InvalidInput):
    """A month is written YYYY-MM, such as 2026-11."""

    code = "invalid_period"


class InvalidLineCursor(errors.InvalidInput):
    """This page does not exist. Start again at the first page."""

    code = "invalid_cursor"


class ReasonMissing(errors.InvalidInput):
    """Say why: the reason is kept with the invoice and in the audit log."""

    code = "reason_missing"


class WebhookRefused(errors.PlatformError):
    """The signature of this webhook is not ours to trust."""

    code, status_code, type = "webhook_refused", 400, "invalid_request_error"


class WebhookTooLarge(errors.PlatformError):
    """A webhook may have at most 256 KiB."""

    code, status_code, type = "webhook_too_large", 413, "invalid_request_error"
