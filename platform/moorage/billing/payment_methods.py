"""How a person adds, sees and changes the payment method: pages of the provider, never a card number here.

Every verb calls the provider: outside transactions. Where the provider cannot do it, NotOffered; where it does not
answer, ProviderAway.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import customers, providers
from moorage.billing.errors import NoSavedMethod, NotOffered, ProviderAway
from moorage.billing.models import Collection
from moorage.billing.payments import Capability, PaymentProvider, ProviderError, ReferenceUnknown
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import ids


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How an organization can pay here."""

    provider: str
    capabilities: frozenset[Capability]
    collection: Collection


def means_of(organization: Organization) -> Means:
    """What the page about payment shows. Calls nobody."""
    provider = _provider()
    return Means(
        provider=provider.name,
        capabilities=provider.capabilities,
        collection=customers.collection_of(organization),
    )


def start_setup(*, organization: Organization, return_url: str, cancel_url: str) -> str:
    """The address of the provider's page on which a method is saved; it calls ``return_url`` with ``page=``."""
    provider = _able(Capability.SAVED_METHOD)
    with _plainly():
        page = provider.start_setup(
            customers.reference_of(organization=organization, provider=provider),
            currency=organization.currency,
            return_url=return_url,
            cancel_url=cancel_url,
            # Each visit is a page of its own: one that was left open must not be the next one.
            idempotency_key=f"setup:{ids.new('out')}",
        )
    return page.url


def finish_setup(*, organization: Organization, page: str, by: Actor) -> bool:
    """Keeps what was saved on the provider's page; False as long as nothing was, and for somebody else's page."""
    provider = _able(Capability.SAVED_METHOD)
    customer = customers.known_reference(organization_id=organization.pk, provider=provider.name)
    with _plainly():
        try:
            method = provider.finish_setup(page, customer_reference=customer) if customer else None
        except ReferenceUnknown:
            return False
        if method is None:
            return False
        try:
            customers.keep_method(organization=organization, method=method, provider=provider.name, by=by)
        except StateMismatch:
            return False
    return True


def open_portal(*, organization: Organization, return_url: str) -> str:
    """The address of the provider's page where the customer changes what is saved."""
    provider = _able(Capability.PORTAL)
    with _plainly():
        return provider.open_portal(
            customers.reference_of(organization=organization, provider=provider), return_url=return_url
        )


def refresh(*, organization: Organization) -> None:
    """Reads the saved method again, for whoever comes back from the provider's pages. Says nothing where it cannot."""
    provider = _provider()
    customer = customers.known_reference(organization_id=organization.pk, provider=provider.name)
    if customer and Capability.SAVED_METHOD in provider.capabilities:
        with _plainly():
            method = provider.saved_method(customer)
            customers.keep_method(organization=organization, method=method, provider=provider.name)


def charge_automatically(*, organization: Organization, is_wanted: bool, by: Actor) -> bool:
    """Whether invoices are taken from the saved method from now on. Raises NotOffered, and NoSavedMethod."""
    _able(Capability.SAVED_METHOD)
    if is_wanted and not customers.collection_of(organization).method_reference:
        raise NoSavedMethod
    customers.charge_automatically(organization=organization, is_wanted=is_wanted, by=by)
    return is_wanted


def _provider() -> PaymentProvider:
    return providers.configured()[providers.chosen()]


def _able(capability: Capability) -> PaymentProvider:
    provider = _provider()
    if capability not in provider.capabilities:
        raise NotOffered
    return provider


@contextmanager
def _plainly() -> Iterator[None]:
    try:
        yield
    except ProviderError as error:
        raise ProviderAway from error
