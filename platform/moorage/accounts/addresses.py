"""Where an organization's applications call: the gateway, under the organization's own host name where it has one."""

from urllib.parse import urlsplit, urlunsplit

from django.conf import settings

from moorage.accounts.models import Organization


def gateway_url(organization: Organization) -> str:
    """Without a path: ``https://gateway.example``, or ``https://<slug>.<MOORAGE_GATEWAY_DOMAIN>`` where that is set.

    Scheme and port are those of MOORAGE_GATEWAY_URL, which stays good for everybody.
    """
    url: str = settings.MOORAGE_GATEWAY_URL
    if not settings.MOORAGE_GATEWAY_DOMAIN:
        return url
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(
        (parts.scheme, f"{organization.slug}.{settings.MOORAGE_GATEWAY_DOMAIN}{port}", parts.path, "", "")
    )
