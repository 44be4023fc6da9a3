"""Registers the room with Django."""

from django.apps import AppConfig


class ArtifactsConfig(AppConfig):
    """The room ``artifacts``."""

    name = "moorage.artifacts"
