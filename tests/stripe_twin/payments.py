"""PaymentIntents, their charges, and the setup intents that save a method without charging it."""

from tests.stripe_twin import customers
from tests.stripe_twin.account import Account, Json, Refusal


def create(account: Account, given: Json) -> Json:
    """``POST /v1/payment_intents``: confirmed at once or not at all."""
    amount = whole(given["amount"])
    if amount < 50:
        raise Refusal(400, "Amount must be at least $0.50 usd.", code="amount_too_small")
    intent = start(account, amount, given["currency"], given.get("customer"), given.get("metadata", {}))
    if given.get("confirm") == "true":
        method = account.find(given.get("payment_method"), "payment_method")
        if given.get("customer") and method["customer"] != given["customer"]:
            raise Refusal(400, "The payment method belongs to another customer.")
        confirm(account, intent, method, is_off_session=given.get("off_session") == "true")
    return intent


def start(account: Account, amount: int, currency: str, customer: str | None, metadata: Json) -> Json:
    """A PaymentIntent that nobody has paid yet."""
    made = account.add(
        "pi",
        "payment_intent",
        status="requires_payment_method",
        amount=amount,
        amount_received=0,
        currency=currency,
        customer=customer,
        metadata=metadata,
        latest_charge=None,
        last_payment_error=None,
    )
    account.happened("payment_intent.created", made)
    return made


def confirm(account: Account, intent: Json, method: Json, *, is_off_session: bool) -> None:
    """Charges ``method``. Raises Refusal (402) as a declined card does."""
    declined = method["_number"] == customers.DECLINED
    needs_owner = method["_number"] == customers.NEEDS_ITS_OWNER and is_off_session
    if declined or needs_owner:
        code = "card_declined" if declined else "authentication_required"
        message = "Your card was declined." if declined else "Your card's bank asks for its owner."
        intent["last_payment_error"] = {"type": "card_error", "code": code, "message": message}
        account.happened("payment_intent.payment_failed", intent)
        raise Refusal(402, message, code=code, kind="card_error", is_kept=True, payment_intent=dict(intent))
    charge = account.add(
        "ch",
        "charge",
        amount=intent["amount"],
        amount_refunded=0,
        currency=intent["currency"],
        customer=intent["customer"],
        payment_intent=intent["id"],
        payment_method=method["id"],
        status="succeeded",
        paid=True,
        disputed=False,
        metadata=intent["metadata"],
    )
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    intent["last_payment_error"] = None
    account.happened("charge.succeeded", charge)
    account.happened("payment_intent.succeeded", intent)


def listing(account: Account, given: Json) -> Json:
    """``GET /v1/payment_intents``."""
    return account.listed("payment_intent", given, **({"customer": given["customer"]} if "customer" in given else {}))


def retrieve(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/payment_intents/{id}``."""
    return account.find(reference, "payment_intent")


def create_setup(account: Account, given: Json) -> Json:
    """``POST /v1/setup_intents``."""
    return account.add(
        "seti",
        "setup_intent",
        status="requires_payment_method",
        customer=given.get("customer"),
        payment_method=None,
        metadata=given.get("metadata", {}),
    )


def retrieve_setup(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/setup_intents/{id}``."""
    return account.find(reference, "setup_intent")


def whole(text: object) -> int:
    """A whole number as Stripe reads it. Raises Refusal (400)."""
    if not str(text).removeprefix("-").isdecimal():
        raise Refusal(400, f"Invalid integer: {text}", code="parameter_invalid_integer")
    return int(str(text))
