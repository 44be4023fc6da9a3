"""Registers the room with Django."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """The room ``deployments``."""

    name = "moorage.deployments"
