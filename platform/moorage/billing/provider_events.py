"""From something that happened at the provider to the state of our things: fetch, compare, apply. Never its content.

A dispute looks at its payment first: whatever order events come in, each comes to the same end.
"""

import datetime as dt
from typing import Final

from moorage.billing import customers, disputes, provider_state, refunds, topup_state
from moorage.billing.models import Invoice, ProviderCustomer
from moorage.billing.payments import Capability, PaymentProvider, ProviderDispute, ReferenceUnknown

#: Kinds of events that are looked at, by how they begin, with what is done about the object.
_INVOICE: Final = "invoice."
_PAYMENTS: Final = ("checkout.session.", "payment_intent.")
_REFUNDS: Final = ("refund.", "charge.refund.")
#: Its object is the charge, not the refund.
_REFUNDED: Final = "charge.refunded"
_DISPUTE: Final = "charge.dispute."
_CUSTOMER: Final = "customer.updated"


def is_ours_to_see(kind: str) -> bool:
    """Whether anything follows from events of this kind. Pure."""
    return kind.startswith((_INVOICE, *_PAYMENTS, *_REFUNDS, _DISPUTE)) or kind in {_CUSTOMER, _REFUNDED}


def apply(kind: str, object_id: str, *, provider: PaymentProvider, now: dt.datetime) -> None:
    """Brings ours to the present state of the object; nothing for what is not ours or is gone there.

    Raises ProviderUnavailable and StateMismatch.
    """
    if not object_id or not is_ours_to_see(kind):
        return
    try:
        if kind.startswith(_INVOICE):
            # Lines and payments of invoices have kinds like theirs; an invoice's own id begins with in_ at Stripe.
            provider_state.apply(provider.fetch_invoice(object_id), provider=provider.name, now=now)
        elif kind.startswith(_PAYMENTS):
            _payment(object_id, provider, now)
        elif kind.startswith(_REFUNDS):
            refunds.apply(provider.fetch_refund(object_id), provider=provider.name, now=now)
        elif kind == _REFUNDED:
            if Capability.REFUND in provider.capabilities:
                for one in list(provider.refunds_of(object_id)):
                    refunds.apply(one, provider=provider.name, now=now)
        elif kind.startswith(_DISPUTE):
            dispute(provider.fetch_dispute(object_id), provider=provider, now=now)
        else:
            _customer(object_id, provider)
    except ReferenceUnknown:
        return  # deleted drafts and other people's things


def dispute(theirs: ProviderDispute, *, provider: PaymentProvider, now: dt.datetime) -> None:
    """Applies a dispute after the payment that it is about. Raises as :func:`apply`."""
    if theirs.top_up_id:
        topup_state.apply(provider.fetch_payment(theirs.payment_reference), provider=provider.name, now=now)
    elif theirs.invoice_id:
        known = Invoice.objects.filter(pk=theirs.invoice_id, provider=provider.name).exclude(provider_reference="")
        for reference in known.values_list("provider_reference", flat=True):
            provider_state.apply(provider.fetch_invoice(reference), provider=provider.name, now=now)
    disputes.apply(theirs, provider=provider.name, now=now)


def _payment(object_id: str, provider: PaymentProvider, now: dt.datetime) -> None:
    theirs = provider.fetch_payment(object_id)
    if theirs.top_up_id:
        topup_state.apply(theirs, provider=provider.name, now=now)
        return
    known = _customer_with(theirs.customer_reference, provider)
    if theirs.checkout_reference and known is not None and Capability.SAVED_METHOD in provider.capabilities:
        method = provider.finish_setup(theirs.checkout_reference, customer_reference=known.reference)
        if method is not None:
            customers.keep_method(organization=known.organization, method=method, provider=provider.name)


def _customer(object_id: str, provider: PaymentProvider) -> None:
    known = _customer_with(object_id, provider)
    if known is not None and Capability.SAVED_METHOD in provider.capabilities:
        method = provider.saved_method(known.reference)
        customers.keep_method(organization=known.organization, method=method, provider=provider.name)


def _customer_with(reference: str, provider: PaymentProvider) -> ProviderCustomer | None:
    found = ProviderCustomer.objects.select_related("organization")
    return found.filter(provider=provider.name, reference=reference).first() if reference else None
