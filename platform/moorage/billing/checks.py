"""What must be set before a process starts: with Stripe, at least one webhook secret, and none that is empty."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security)
def webhooks_have_a_secret(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001
    """Without a secret anybody could mark an invoice as paid."""
    if not settings.STRIPE_API_KEY:
        return []
    secrets = settings.STRIPE_WEBHOOK_SECRETS
    if not secrets or not all(secret.strip() for secret in secrets):
        return [
            Error(
                "Stripe is configured, but there is no webhook secret, or an empty one.",
                hint="Set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret (several are separated by commas).",
                id="billing.E001",
            )
        ]
    return []
