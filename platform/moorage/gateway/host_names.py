"""``<organization>.<domain>`` as a base URL: the host name says which organization is meant, the key who asks.

The name only ever narrows: what a key may do it may do under its own organization's name, under the domain itself and
under names that are not below the domain (an address, a load balancer's probe), and under nobody else's.
"""

import re
from typing import Final

from moorage.gateway.errors import HostRefused
from moorage.gateway.settings import Settings, SettingsError

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REMEMBERED: Final = 4096


class HostNames:
    """Reads Host headers against one domain; ``domain`` as in ``models.example.com``, empty: hosts say nothing."""

    def __init__(self, domain: str = "") -> None:
        """Raises ValueError for what is no domain name."""
        domain = domain.lower().rstrip(".")
        if domain and not _DOMAIN.fullmatch(domain):
            raise ValueError(f"{domain!r} is not a domain name")
        self._suffix: Final = f".{domain}" if domain else ""
        self._slugs: dict[bytes, str] = {}

    def check(self, host: bytes, slug: str) -> None:
        """Refuse a ``host`` of another organization than the one with ``slug``. Raises HostRefused.

        An organization that does not exist is refused in the same words as one that does.
        """
        if not self._suffix:
            return
        named = self._slugs.get(host)
        if named is None:
            named = self.slug(host)
            if len(self._slugs) >= _REMEMBERED:
                self._slugs.clear()
            self._slugs[host] = named
        if named and named != slug:
            raise HostRefused

    def slug(self, host: bytes) -> str:
        """What stands before the domain in ``host``; empty where it names no organization."""
        name = host.decode("latin-1").lower().strip()
        name = name.rpartition(":")[0] if re.search(r":\d*$", name) and not name.endswith("]") else name
        name = name.rstrip(".")
        return name.removesuffix(self._suffix) if self._suffix and name.endswith(self._suffix) else ""


def configured(settings: Settings) -> HostNames:
    """Of the domain of ``settings``. Raises SettingsError."""
    try:
        return HostNames(settings.domain)
    except ValueError as error:
        raise SettingsError(f"MOORAGE_GATEWAY_DOMAIN cannot be used: {error}") from error
