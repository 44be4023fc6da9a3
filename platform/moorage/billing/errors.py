"""What can be wrong with money, for a person to read.

PlatformError
├── NotFound
│   ├── InvoiceNotFound
│   ├── PriceNotFound
│   ├── CreditNoteNotFound
│   ├── ApprovalNotFound
│   ├── ReviewItemNotFound
│   ├── TopUpNotFound
│   └── StatementLineNotFound
├── Conflict
│   ├── PriceInThePast
│   ├── PriceExists
│   ├── InvoiceChanged
│   ├── NothingToCredit
│   ├── StatementRunning
│   ├── ApprovalChanged
│   ├── ApprovalPending
│   ├── OwnRequest
│   ├── NotReversible
│   ├── NoSavedMethod
│   ├── NotOffered
│   ├── NothingToRefund
│   ├── TopUpChanged
│   ├── CurrencyInUse
│   ├── CurrencyUnpriced
│   └── PaidElsewhere
├── InvalidInput
│   ├── InvalidPrice
│   ├── CandidateInvalid
│   ├── InvalidPeriod
│   ├── InvalidAmount
│   ├── InvalidBillingDetails
│   ├── InvalidCredit
│   ├── InvalidLineCursor
│   ├── InvalidTopUp
│   └── ReasonMissing
├── ProviderAway (503)
├── WebhookRefused (400)
└── WebhookTooLarge (413)

The payment provider's own errors are in payments.py; a ledger that does not add up is an assertion, not an error.
"""

from moorage.kernel import errors


class CurrencyInUse(errors.Conflict):
    """The organization has been priced, charged or credited in its currency. It pays in that for good."""

    code = "currency_in_use"


class CurrencyUnpriced(errors.Conflict):
    """There are no generally valid prices in this currency. Set them first."""

    code = "currency_unpriced"


class InvoiceNotFound(errors.NotFound):
    """There is no such invoice here. Check the id."""

    code = "invoice_not_found"


class CreditNoteNotFound(errors.NotFound):
    """There is no such credit note here. Check the id."""

    code = "credit_note_not_found"


class NothingToCredit(errors.Conflict):
    """Nothing of this invoice can be credited: it has no number yet, is void, or is credited in full already."""

    code = "nothing_to_credit"


class StatementRunning(errors.Conflict):
    """This month is not closed yet. Its statement can be exported two hours after its end, once everything is rated."""

    code = "statement_running"


class InvalidCredit(errors.InvalidInput):
    """More cannot be credited than the invoice and its lines come to. Look at what is credited already."""

    code = "invalid_credit"


class InvalidBillingDetails(errors.InvalidInput):
    """These billing details cannot stand on an invoice."""

    code = "invalid_billing_details"


class ApprovalNotFound(errors.NotFound):
    """There is no such request for approval. Check the id."""

    code = "approval_not_found"


class ReviewItemNotFound(errors.NotFound):
    """Nothing with this id waits for you. Somebody else may have been faster; look at the list again."""

    code = "review_item_not_found"


class ApprovalChanged(errors.Conflict):
    """This request has been decided already. Open it again and look."""

    code = "approval_changed"


class ApprovalPending(errors.Conflict):
    """The same is asked for already and waits for another administrator. Ask one of them, or take it back."""

    code = "approval_pending"


class OwnRequest(errors.Conflict):
    """A second person decides: another administrator approves or refuses what you asked for, and only whoever asked
    can take it back."""

    code = "own_request"


class InvalidAmount(errors.InvalidInput):
    """Write an amount above zero as a decimal number such as 12.50."""

    code = "invalid_amount"


class StatementLineNotFound(errors.NotFound):
    """This statement has no such line. Open the statement again: a running month changes."""

    code = "statement_line_not_found"


class PriceNotFound(errors.NotFound):
    """There is no such price here. Check the id."""

    code = "price_not_found"


class CandidateInvalid(errors.InvalidInput):
    """A candidate price list has one price a row."""

    code = "invalid_candidate"


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


class InvalidWallet(errors.InvalidInput):
    """This cannot be set for a wallet."""

    code = "invalid_wallet"


class InvalidPeriod(errors.InvalidInput):
    """A month is written YYYY-MM, such as 2026-11."""

    code = "invalid_period"


class InvalidLineCursor(errors.InvalidInput):
    """This page does not exist. Start again at the first page."""

    code = "invalid_cursor"


class NotReversible(errors.Conflict):
    """This has a correction of its own: a credit note takes back usage, a revocation takes back credit."""

    code = "not_reversible"


class ReasonMissing(errors.InvalidInput):
    """Say why: the reason is kept with the invoice and in the audit log."""

    code = "reason_missing"


class TopUpNotFound(errors.NotFound):
    """There is no such top-up here. Check the id."""

    code = "top_up_not_found"


class NoSavedMethod(errors.Conflict):
    """There is no saved payment method. Add one first."""

    code = "no_saved_method"


class NotOffered(errors.Conflict):
    """This instance's payment provider does not offer this."""

    code = "not_offered"


class NothingToPayOut(errors.Conflict):
    """Nothing of this credit note goes back by bank transfer."""

    code = "nothing_to_pay_out"


class NothingToBook(errors.Conflict):
    """The provider has paid nothing of this invoice back that is not booked already."""

    code = "nothing_to_book"


class NothingToRefund(errors.Conflict):
    """There is no unused paid credit that can be paid back to where it came from."""

    code = "nothing_to_refund"


class TopUpChanged(errors.Conflict):
    """The top-up is not in a status that allows this. Open it again and look."""

    code = "top_up_changed"


class InvalidTopUp(errors.InvalidInput):
    """A top-up is between 1.00 and 10,000.00, in whole cents."""

    code = "invalid_top_up"


class ProviderAway(errors.PlatformError):
    """The payment provider does not answer. Nothing was charged. Try again in a minute."""

    code, status_code, permanent = "provider_away", 503, False


class WebhookRefused(errors.PlatformError):
    """The signature of this webhook is not ours to trust."""

    code, status_code, type = "webhook_refused", 400, "invalid_request_error"


class WebhookTooLarge(errors.PlatformError):
    """A webhook may have at most 256 KiB."""

    code, status_code, type = "webhook_too_large", 413, "invalid_request_error"
