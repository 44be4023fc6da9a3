"""Registers the room with Django."""

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    """The room ``metering``."""

    name = "moorage.metering"
