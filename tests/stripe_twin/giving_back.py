"""Money that goes back: refunds, credit notes, disputes."""

from tests.stripe_twin.account import Account, Json, Refusal
from tests.stripe_twin.payments import whole


def refund(account: Account, given: Json) -> Json:
    """``POST /v1/refunds``."""
    intent = account.find(given.get("payment_intent"), "payment_intent")
    if not intent["latest_charge"]:
        raise Refusal(400, "This PaymentIntent does not have a successful charge to refund.")
    charge = account.find(intent["latest_charge"], "charge")
    amount = whole(given.get("amount", charge["amount"]))
    if charge["disputed"]:
        raise Refusal(400, "The charge has been charged back.", code="charge_disputed")
    if charge["amount_refunded"] + amount > charge["amount"]:
        raise Refusal(400, f"Refund amount (${amount}) is greater than what is left.", code="charge_already_refunded")
    charge["amount_refunded"] += amount
    made = account.add(
        "re",
        "refund",
        status="succeeded",
        amount=amount,
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=intent["id"],
        reason=given.get("reason"),
        metadata=given.get("metadata", {}),
    )
    account.happened("charge.refunded", charge)
    account.happened("refund.created", made)
    return made


def refunds(account: Account, given: Json) -> Json:
    """``GET /v1/refunds``."""
    only = {name: given[name] for name in ("payment_intent", "charge") if name in given}
    return account.listed("refund", given, **only)


def retrieve_refund(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/refunds/{id}``."""
    return account.find(reference, "refund")


def fail_refund(account: Account, reference: str) -> None:
    """The customer's bank did not take it."""
    found = account.find(reference, "refund")
    found["status"] = "failed"
    account.find(found["charge"], "charge")["amount_refunded"] -= found["amount"]
    account.happened("refund.failed", found)


def credit_note(account: Account, given: Json) -> Json:
    """``POST /v1/credit_notes``: off what is owed, or refunded of what was paid."""
    invoice = account.find(given["invoice"], "invoice")
    amount, refunded = whole(given["amount"]), whole(given.get("refund_amount", 0))
    if invoice["status"] not in {"open", "paid"}:
        raise Refusal(400, f"You cannot credit an invoice that is {invoice['status']}.")
    if invoice["status"] == "paid" and refunded != amount:
        raise Refusal(400, "The sum of refund, credit and out of band amounts must equal the credit note's amount.")
    most = (
        invoice["amount_due"]
        if invoice["status"] == "open"
        else (invoice["amount_paid"] - invoice["post_payment_credit_notes_amount"])
    )
    if not 0 < amount <= most:
        raise Refusal(400, f"The credit note's amount {amount} is more than {most}.")
    made = account.add(
        "cn",
        "credit_note",
        invoice=invoice["id"],
        customer=invoice["customer"],
        currency=invoice["currency"],
        amount=amount,
        total=amount,
        memo=given.get("memo"),
        status="issued",
        metadata=given.get("metadata", {}),
    )
    if invoice["status"] == "open":
        invoice["pre_payment_credit_notes_amount"] += amount
        invoice["amount_due"] -= amount
        if invoice["amount_due"] == 0:
            invoice["status"] = "paid"
            account.happened("invoice.paid", invoice)
    else:
        invoice["post_payment_credit_notes_amount"] += amount
        paid = [one for one in account.all("invoice_payment") if one["invoice"] == invoice["id"]]
        for one in paid[:1]:
            refund(account, {"payment_intent": one["payment"]["payment_intent"], "amount": refunded})
    account.happened("credit_note.created", made)
    return made


def credit_notes(account: Account, given: Json) -> Json:
    """``GET /v1/credit_notes``."""
    return account.listed("credit_note", given, **({"invoice": given["invoice"]} if "invoice" in given else {}))


def open_dispute(account: Account, payment_intent: str, amount: int | None, status: str = "needs_response") -> Json:
    """The customer's bank takes a payment back."""
    intent = account.find(payment_intent, "payment_intent")
    charge = account.find(intent["latest_charge"], "charge")
    charge["disputed"] = True
    made = account.add(
        "dp",
        "dispute",
        status=status,
        reason="fraudulent",
        amount=amount or charge["amount"],
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=intent["id"],
        metadata={},
    )
    account.happened("charge.dispute.created", made)
    account.happened("charge.dispute.funds_withdrawn", made)
    return made


def close_dispute(account: Account, reference: str, status: str) -> Json:
    """The banks have decided."""
    found = account.find(reference, "dispute")
    found["status"] = status
    account.happened("charge.dispute.closed", found)
    if status == "won":
        account.find(found["charge"], "charge")["disputed"] = False
        account.happened("charge.dispute.funds_reinstated", found)
    return found


def disputes(account: Account, given: Json) -> Json:
    """``GET /v1/disputes``."""
    return account.listed("dispute", given)


def retrieve_dispute(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/disputes/{id}``."""
    return account.find(reference, "dispute")
