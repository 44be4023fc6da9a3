"""Registers the room with Django."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save


class BillingConfig(AppConfig):
    """The room ``billing``."""

    name = "moorage.billing"

    def ready(self) -> None:
        """Every migrate ends with the grants: money's rules are rights, too. A new organization follows the policy."""
        from moorage.billing import checks, roles, wallet_settings  # noqa: F401

        post_migrate.connect(roles.after_migrate, sender=self, dispatch_uid="moorage.billing.roles")
        post_save.connect(
            wallet_settings.organization_saved, sender="accounts.Organization", dispatch_uid="moorage.billing.wallets"
        )
