"""Registers the room with Django."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """The room ``billing``."""

    name = "moorage.billing"
