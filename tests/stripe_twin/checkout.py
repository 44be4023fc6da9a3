"""Checkout sessions in setup and payment mode, with a page that a customer completes by an HTTP call."""

from tests.stripe_twin import customers, payments
from tests.stripe_twin.account import Account, Json, Refusal

_DAY = 24 * 3600


def create(account: Account, given: Json) -> Json:
    """``POST /v1/checkout/sessions``."""
    mode = given.get("mode")
    if mode not in {"setup", "payment"}:
        raise Refusal(400, f"The twin has no mode {mode}.")
    customer = account.find(given["customer"], "customer") if "customer" in given else None
    total, currency = None, given.get("currency")
    if mode == "payment":
        lines = given.get("line_items") or []
        if not lines:
            raise Refusal(400, "You must provide line_items in payment mode.", code="parameter_missing")
        prices = [line["price_data"] for line in lines]
        total = sum(
            payments.whole(price["unit_amount"]) * payments.whole(line["quantity"])
            for price, line in zip(prices, lines, strict=True)
        )
        currency = prices[0]["currency"]
    elif not currency and not given.get("payment_method_types"):
        raise Refusal(400, "Give a currency in setup mode.", code="parameter_missing")
    if "success_url" not in given:
        raise Refusal(400, "Missing required param: success_url.", code="parameter_missing")
    made = account.add(
        "cs",
        "checkout.session",
        mode=mode,
        status="open",
        payment_status="no_payment_required" if mode == "setup" else "unpaid",
        customer=customer["id"] if customer else None,
        currency=currency,
        amount_total=total,
        client_reference_id=given.get("client_reference_id"),
        metadata=given.get("metadata", {}),
        payment_intent=None,
        setup_intent=None,
        success_url=given["success_url"],
        cancel_url=given.get("cancel_url"),
        expires_at=account.now() + _DAY,
        _intent_metadata=given.get("payment_intent_data", {}).get("metadata", {}),
    )
    made["url"] = f"{account.base}/pay/{made['id']}"
    if mode == "setup":
        made["setup_intent"] = payments.create_setup(account, {"customer": made["customer"]})["id"]
    return made


def listing(account: Account, given: Json) -> Json:
    """``GET /v1/checkout/sessions``."""
    expire_old(account)
    return account.listed("checkout.session", given, **({"customer": given["customer"]} if "customer" in given else {}))


def retrieve(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/checkout/sessions/{id}``."""
    expire_old(account)
    return account.find(reference, "checkout.session")


def expire(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/checkout/sessions/{id}/expire``."""
    found = account.find(reference, "checkout.session")
    if found["status"] != "open":
        raise Refusal(400, f"Only open sessions expire; this one is {found['status']}.")
    found.update(status="expired", url=None)
    account.happened("checkout.session.expired", found)
    return found


def expire_old(account: Account) -> None:
    """Pages are open for a day."""
    for one in account.all("checkout.session"):
        if one["status"] == "open" and one["expires_at"] <= account.now():
            expire(account, {}, one["id"])


def complete(account: Account, session: Json, number: str) -> str:
    """The customer types a card's number and presses the button; where they go next. Raises Refusal as a declined card
    does: the page stays open."""
    if session["status"] != "open":
        raise Refusal(400, f"This page is {session['status']}.")
    method = customers.save_card(account, session["customer"], number)
    if session["mode"] == "setup":
        intent = account.find(session["setup_intent"], "setup_intent")
        intent.update(status="succeeded", payment_method=method["id"])
        account.happened("setup_intent.succeeded", intent)
    else:
        intent = payments.start(
            account, session["amount_total"], session["currency"], session["customer"], session["_intent_metadata"]
        )
        payments.confirm(account, intent, method, is_off_session=False)
        session.update(payment_intent=intent["id"], payment_status="paid")
    session.update(status="complete", url=None)
    account.happened("checkout.session.completed", session)
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
