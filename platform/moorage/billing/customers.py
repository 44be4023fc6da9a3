"""Who an organization is at a payment provider, and which payment method it has saved there."""

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import Membership, Organization, Role
from moorage.billing import billing_details
from moorage.billing.models import Collection, ProviderCustomer
from moorage.billing.payments import Customer, PaymentProvider, SavedMethod
from moorage.billing.provider_state import StateMismatch


def known_reference(*, organization_id: str, provider: str) -> str:
    """The organization's customer at ``provider``; empty where it has none yet."""
    known = ProviderCustomer.objects.filter(organization_id=organization_id, provider=provider)
    return known.values_list("reference", flat=True).first() or ""


def reference_of(*, organization: Organization, provider: PaymentProvider) -> str:
    """The organization's customer at ``provider``, made if there is none. Calls the provider: outside transactions.
    Raises ProviderError."""
    known = known_reference(organization_id=organization.pk, provider=provider.name)
    if known:
        return known
    made = provider.ensure_customer(
        Customer(organization_id=organization.pk, name=organization.name, email=email_of(organization)),
        idempotency_key=f"customer:{organization.pk}",
    )
    ProviderCustomer.objects.bulk_create(
        [ProviderCustomer(organization_id=organization.pk, provider=provider.name, reference=made)],
        ignore_conflicts=True,
    )
    return known_reference(organization_id=organization.pk, provider=provider.name)


def email_of(organization: Organization) -> str:
    """Where bills go: the address in the billing details, else the first owner's; empty where there is none."""
    told = billing_details.details_of(organization).email
    if told:
        return told
    owners = Membership.objects.filter(organization=organization, role=Role.OWNER)
    return owners.order_by("created_at", "id").values_list("user__email", flat=True).first() or ""


def collection_of(organization: Organization) -> Collection:
    """How money is collected from ``organization``; not stored as long as there is nothing to store."""
    return Collection.objects.filter(pk=organization.pk).first() or Collection(organization=organization)


def keep_method(*, organization: Organization, method: SavedMethod | None, provider: str, by: Actor = MOORAGE) -> None:
    """Remembers what the provider says is saved, in the words that a customer knows it by; None: nothing any more.

    Raises StateMismatch for the method of another customer.
    """
    if method is not None and method.customer_reference != known_reference(
        organization_id=organization.pk, provider=provider
    ):
        raise StateMismatch(f"{method.reference} belongs to {method.customer_reference}, which is not {organization}")
    known = collection_of(organization)
    wanted = {
        "method_reference": method.reference[:120] if method else "",
        "method_brand": method.brand[:40] if method else "",
        "method_last4": method.last4[:4] if method else "",
        "method_expires": method.expires[:7] if method else "",
    }
    if all(getattr(known, name) == value for name, value in wanted.items()):
        return
    Collection.objects.update_or_create(pk=organization.pk, defaults=wanted)
    audit.record(
        organization=organization,
        by=by,
        action="payment_method.saved" if method else "payment_method.removed",
        subject=organization.pk,
        detail={"brand": wanted["method_brand"], "last4": wanted["method_last4"]},
    )


def charge_automatically(*, organization: Organization, is_wanted: bool, by: Actor) -> None:
    """Whether invoices are taken from the saved method from now on instead of being sent."""
    known = collection_of(organization)
    if known.is_charged_automatically == is_wanted:
        return
    Collection.objects.update_or_create(pk=organization.pk, defaults={"is_charged_automatically": is_wanted})
    audit.record(
        organization=organization,
        by=by,
        action="collection.changed",
        subject=organization.pk,
        detail={"is_charged_automatically": is_wanted},
    )
