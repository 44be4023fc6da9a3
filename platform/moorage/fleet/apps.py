"""Registers the room with Django."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The room ``fleet``."""

    name = "moorage.fleet"
