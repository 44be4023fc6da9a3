"""Examples of ways to pay, for the API's document."""

from typing import Final

from moorage.api.examples import money

PAYMENT: Final = {
    "provider": "stripe",
    "capabilities": ["credit_note", "dispute", "events", "payment_page", "portal", "refund", "saved_method"],
    "method": {"brand": "visa", "last4": "4242", "expires": "2030-12"},
    "is_charged_automatically": False,
    "bank_details": "",
}
SETUP_PAGE: Final = {"url": "https://checkout.stripe.com/c/pay/cs_test_a1b2c3"}
PORTAL_PAGE: Final = {"url": "https://billing.stripe.com/p/session/test_a1b2c3"}
TOP_UP: Final = {
    "id": "top_01k7wq0c9v7h3t5a2m8xj4n6bd",
    "kind": "checkout",
    "status": "paid",
    "reason": "",
    "amount": money(25_000_000_000_000, "25.00"),
    "payment_url": "https://checkout.stripe.com/c/pay/cs_test_a1b2c3",
    "transfer_reference": "",
    "is_disputed": False,
    "created_at": "2026-11-22T10:15:00Z",
    "paid_at": "2026-11-22T10:16:04Z",
}
