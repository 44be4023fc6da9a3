"""Invoices, their items, and the payments that settled them."""

from tests.stripe_twin import customers, payments
from tests.stripe_twin.account import Account, Json, Refusal


def create(account: Account, given: Json) -> Json:
    """``POST /v1/invoices``."""
    customer = account.find(given.get("customer", ""), "customer")
    if given.get("collection_method") == "send_invoice":
        if not customer["email"]:
            raise Refusal(400, "Missing email. The customer must have a valid email.", code="customer_missing_email")
        if "days_until_due" not in given:
            raise Refusal(400, "Missing days_until_due.", code="parameter_missing")
    customers.charge_in(customer, given.get("currency", "usd"), is_item=False)
    made = account.add(
        "in",
        "invoice",
        status="draft",
        customer=customer["id"],
        currency=given.get("currency", "usd"),
        collection_method=given.get("collection_method", "charge_automatically"),
        auto_advance=given.get("auto_advance") == "true",
        description=given.get("description"),
        footer=given.get("footer"),
        metadata=given.get("metadata", {}),
        total=0,
        amount_due=0,
        amount_paid=0,
        pre_payment_credit_notes_amount=0,
        post_payment_credit_notes_amount=0,
        hosted_invoice_url=None,
    )
    account.happened("invoice.created", made)
    return made


def listing(account: Account, given: Json) -> Json:
    """``GET /v1/invoices``."""
    return account.listed("invoice", given, **({"customer": given["customer"]} if "customer" in given else {}))


def retrieve(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/invoices/{id}``."""
    return account.find(reference, "invoice")


def add_item(account: Account, given: Json) -> Json:
    """``POST /v1/invoiceitems``."""
    invoice = account.find(given.get("invoice", ""), "invoice")
    if invoice["status"] != "draft":
        raise Refusal(400, "This invoice is no longer editable.", code="invoice_not_editable")
    if invoice["customer"] != given.get("customer") or invoice["currency"] != given.get("currency"):
        raise Refusal(400, "Customer and currency must be the invoice's.")
    customers.charge_in(account.find(invoice["customer"], "customer"), invoice["currency"], is_item=True)
    amount = payments.whole(given.get("amount", ""))
    made = account.add(
        "ii",
        "invoiceitem",
        invoice=invoice["id"],
        customer=invoice["customer"],
        currency=invoice["currency"],
        amount=amount,
        description=given.get("description"),
        metadata=given.get("metadata", {}),
        date=account.now(),
    )
    invoice["total"] += amount
    invoice["amount_due"] = invoice["total"]
    return made


def items(account: Account, given: Json) -> Json:
    """``GET /v1/invoiceitems``."""
    return account.listed("invoiceitem", given, invoice=given.get("invoice"))


def finalize(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/invoices/{id}/finalize``."""
    found = _moved(account, reference, "finalize", {"draft"}, "open", "invoice.finalized")
    found["hosted_invoice_url"] = f"{account.base}/pay/{reference}"
    found["auto_advance"] = given.get("auto_advance", "true") == "true"
    return found


def send(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/invoices/{id}/send``."""
    return _moved(account, reference, "send", {"open"}, "open", "invoice.sent")


def void(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/invoices/{id}/void``."""
    return _moved(account, reference, "void", {"open", "uncollectible"}, "void", "invoice.voided")


def give_up(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/invoices/{id}/mark_uncollectible``."""
    return _moved(account, reference, "mark_uncollectible", {"open"}, "uncollectible", "invoice.marked_uncollectible")


def pay(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/invoices/{id}/pay``: takes it from the customer's default method."""
    invoice = account.find(reference, "invoice")
    owner = account.find(invoice["customer"], "customer")
    default = given.get("payment_method") or owner["invoice_settings"]["default_payment_method"]
    if not default:
        raise Refusal(400, "There is no default payment method set on this Customer or Invoice.")
    try:
        settle(account, invoice, account.find(default, "payment_method"), is_off_session=True)
    except Refusal:
        account.happened("invoice.payment_failed", invoice)
        raise
    return invoice


def settle(account: Account, invoice: Json, method: Json, *, is_off_session: bool) -> None:
    """Charges what is due, and the invoice is paid."""
    if invoice["status"] not in {"open", "uncollectible"}:
        raise Refusal(400, f"You cannot pay an invoice that is {invoice['status']}.")
    intent = payments.start(account, invoice["amount_due"], invoice["currency"], invoice["customer"], {})
    payments.confirm(account, intent, method, is_off_session=is_off_session)
    account.add(
        "inpay",
        "invoice_payment",
        invoice=invoice["id"],
        status="paid",
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
    )
    invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_due=0)
    account.happened("invoice.paid", invoice)
    account.happened("invoice.payment_succeeded", invoice)


def pay_on_page(account: Account, invoice: Json, number: str) -> str:
    """The customer pays it on its page; where they go next."""
    settle(account, invoice, customers.save_card(account, invoice["customer"], number), is_off_session=False)
    return f"{account.base}/pay/{invoice['id']}"


def settled(account: Account, given: Json) -> Json:
    """``GET /v1/invoice_payments``."""
    wanted = given.get("payment", {}).get("payment_intent")
    paid = [one for one in account.all("invoice_payment") if given.get("invoice") in {None, one["invoice"]}]
    found = [one for one in paid if wanted in {None, one["payment"]["payment_intent"]}]
    return account.page(found, given)


def _moved(account: Account, reference: str, verb: str, allowed: set[str], status: str, event: str) -> Json:
    found = account.find(reference, "invoice")
    if found["status"] not in allowed:
        raise Refusal(400, f"You cannot {verb} an invoice that is {found['status']}.")
    found["status"] = status
    account.happened(event, found)
    return found
