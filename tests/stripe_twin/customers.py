"""Customers, and the payment methods that are attached to them."""

from tests.stripe_twin.account import Account, Json, Refusal

#: Numbers that behave as Stripe's test cards do.
DECLINED = "4000000000000341"
NEEDS_ITS_OWNER = "4000002760003184"


def create(account: Account, given: Json) -> Json:
    """``POST /v1/customers``."""
    made = account.add(
        "cus",
        "customer",
        name=given.get("name"),
        email=given.get("email"),
        metadata=given.get("metadata", {}),
        invoice_settings={"default_payment_method": None},
        currency=None,
    )
    account.happened("customer.created", made)
    return made


def charge_in(owner: Json, currency: str, *, is_item: bool) -> None:
    """A customer is invoiced in one currency, that of the first item: Stripe refuses any other."""
    if owner["currency"] not in {None, currency}:
        raise Refusal(
            400,
            "You cannot combine currencies on a single customer. This customer has an active subscription, subscription"
            f" schedule, discount, quote, or invoice item with currency {owner['currency']}.",
        )
    if is_item:
        owner["currency"] = currency


def listing(account: Account, given: Json) -> Json:
    """``GET /v1/customers``."""
    return account.listed("customer", given, **({"email": given["email"]} if "email" in given else {}))


def retrieve(account: Account, given: Json, customer: str) -> Json:
    """``GET /v1/customers/{customer}``."""
    return account.find(customer, "customer")


def update(account: Account, given: Json, customer: str) -> Json:
    """``POST /v1/customers/{customer}``."""
    found = account.find(customer, "customer")
    method = given.get("invoice_settings", {}).get("default_payment_method")
    if method:
        if account.find(method, "payment_method")["customer"] != customer:
            raise Refusal(400, f"The customer does not have a payment method with the ID {method}.")
        found["invoice_settings"]["default_payment_method"] = method
    found.update({name: given[name] for name in ("name", "email", "metadata") if name in given})
    account.happened("customer.updated", found)
    return found


def save_card(account: Account, customer: str, number: str) -> Json:
    """A card of this number, attached to the customer."""
    made = account.add(
        "pm",
        "payment_method",
        type="card",
        customer=customer,
        metadata={},
        card={"brand": "visa", "last4": number[-4:], "exp_month": 12, "exp_year": 2030},
        _number=number,
    )
    account.happened("payment_method.attached", made)
    return made


def methods(account: Account, given: Json) -> Json:
    """``GET /v1/payment_methods``."""
    return account.listed("payment_method", given, customer=given.get("customer"))


def method(account: Account, given: Json, reference: str) -> Json:
    """``GET /v1/payment_methods/{id}``."""
    return account.find(reference, "payment_method")


def detach(account: Account, given: Json, reference: str) -> Json:
    """``POST /v1/payment_methods/{id}/detach``: it is nobody's default any more."""
    found = account.find(reference, "payment_method")
    owner = account.objects.get(found["customer"] or "")
    found["customer"] = None
    account.happened("payment_method.detached", found)
    if owner and owner["invoice_settings"]["default_payment_method"] == reference:
        owner["invoice_settings"]["default_payment_method"] = None
        account.happened("customer.updated", owner)
    return found
