"""Which payment provider this instance collects with, and how one is made from the settings."""

from django.conf import settings

from moorage.billing.payments import PaymentProvider
from moorage.billing.payments_stripe import StripeProvider, StripeSettings
from moorage.billing.payments_transfer import TransferProvider


def chosen() -> str:
    """The name of the provider that new invoices go to: Stripe where a key is set, else bank transfer."""
    return StripeProvider.name if settings.STRIPE_API_KEY else TransferProvider.name


def configured() -> dict[str, PaymentProvider]:
    """Every provider that this process can speak to, by name."""
    found: dict[str, PaymentProvider] = {TransferProvider.name: TransferProvider()}
    if settings.STRIPE_API_KEY:
        found[StripeProvider.name] = StripeProvider(
            StripeSettings(
                api_key=settings.STRIPE_API_KEY,
                base_url=settings.STRIPE_BASE_URL,
                meter=settings.MOORAGE_STRIPE_METER,
            )
        )
    return found


def is_live() -> bool:
    """Whether the Stripe key moves real money."""
    return "_live_" in (settings.STRIPE_API_KEY or "")
