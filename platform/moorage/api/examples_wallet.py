"""Examples of the wallet for the OpenAPI document."""

from typing import Final

from moorage.api.examples import money

_AT: Final = "2026-11-22T10:00:00Z"
WALLET: Final = {
    "mode": "prepaid",
    "credit_limit": None,
    "currency": "USD",
    "balance": money(37_500_000_000_000, "37.50"),
    "owed": money(0, "0.00"),
    "spendable": money(37_400_000_000_000, "37.40"),
    "grants": [
        {
            "id": "gra_01k7wq0c9v7h3t5a2m8xj4n6ba",
            "kind": "promotional",
            "amount": money(20_000_000_000_000, "20.00"),
            "remaining": money(12_500_000_000_000, "12.50"),
            "priority": 50,
            "expires_at": "2026-12-31T00:00:00Z",
            "created_at": _AT,
        },
        {
            "id": "gra_01k7wq0c9v7h3t5a2m8xj4n6bb",
            "kind": "paid",
            "amount": money(25_000_000_000_000, "25.00"),
            "remaining": money(25_000_000_000_000, "25.00"),
            "priority": 50,
            "expires_at": None,
            "created_at": _AT,
        },
    ],
    "alert_below": "10.00",
    "automatic": {
        "is_on": True,
        "below": "5.00",
        "top_up": "25.00",
        "monthly_most": "100.00",
        "saved_method": "visa ···· 4242",
    },
}
MOVEMENT: Final = {
    "id": 812,
    "transaction_id": "txn_01k7wq0c9v7h3t5a2m8xj4n6bc",
    "kind": "credit_granted",
    "amount": money(25_000_000_000_000, "25.00"),
    "at": _AT,
    "grant_id": "gra_01k7wq0c9v7h3t5a2m8xj4n6bb",
}
STARTED_TOP_UP: Final = {
    "id": "top_01k7wq0c9v7h3t5a2m8xj4n6bd",
    "amount": money(25_000_000_000_000, "25.00"),
    "checkout_url": "https://checkout.stripe.com/c/pay/cs_test_a1b2c3",
}
