"""What every page of the console knows: the addresses, and the organizations of whoever is signed in."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def console(_request: HttpRequest) -> dict[str, Any]:
    """The gateway's and the console's addresses, for the snippets on the pages."""
    return {"gateway_url": settings.MOORAGE_GATEWAY_URL, "console_url": settings.MOORAGE_CONSOLE_URL}
