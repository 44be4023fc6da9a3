"""Registers the room with Django."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The room ``console``."""

    name = "moorage.console"
