"""Which hosts Moorage speaks to on behalf of an organization: public ones over https, and those the operator lists.

A reference is written by a stranger, so its host may be a name for the machine's own insides. The decision is made on
the addresses that the name has, all of them, and the connection goes to an address that was checked, not to the name.
"""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from moorage.artifacts.errors import PlainHttpRefused, RegistryRefused, RegistryUnreachable

Resolver = Callable[[str, int], list[str]]

# IPv6 ranges that carry an IPv4 address inside; Python calls some of them global.
_WRAPPERS = tuple(
    ipaddress.IPv6Network(text)
    for text in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
# Ports where a request could be taken for another protocol's.
_REFUSED_PORTS = frozenset({2049, 2375, 2376, 3306, 5432, 5672, 6379, 9200, 11211, 27017})


def is_public(address: str) -> bool:
    """Whether this IP address belongs to the public internet, without any wrapped or special meaning."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in network for network in _WRAPPERS):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def system_resolver(host: str, port: int) -> list[str]:
    """The host's addresses according to the system. Raises RegistryUnreachable if it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RegistryUnreachable(f"The registry host {host} is not known. Check its name.") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """The rules for one conversation. `listed` are the operator's `host:port` entries, honoured only in conversations
    that begin at one of them: a public registry cannot send us to a private one."""

    listed: frozenset[str]
    resolver: Resolver = system_resolver

    @classmethod
    def for_registry(
        cls, host: str, *, plain_registries: frozenset[str], resolver: Resolver = system_resolver
    ) -> "AddressPolicy":
        """The policy of a conversation that begins at `host` (with its port, if any)."""
        listed = frozenset(entry.lower() for entry in plain_registries)
        return cls(listed=listed if host.lower() in listed else frozenset(), resolver=resolver)

    def check_url(self, url: str) -> None:
        """Refuse an address whose scheme, port or form is not allowed. Raises RegistryRefused, PlainHttpRefused."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise RegistryRefused("The registry names an address that cannot be read.") from error
        if (
            not host
            or parts.username is not None
            or parts.password is not None
            or parts.scheme not in ("http", "https")
        ):
            raise RegistryRefused("The registry names an address that is neither plain https nor without a login.")
        if self._is_listed(host, port):
            return
        if parts.scheme == "http":
            raise PlainHttpRefused(
                f"The registry {host} speaks plain HTTP. Use https, or ask the operator to list it in "
                "MOORAGE_PLAIN_REGISTRIES."
            )
        if port is not None and (port in _REFUSED_PORTS or (port < 1024 and port != 443)):
            raise RegistryRefused(f"Moorage does not speak to port {port} of {host}. Use port 443.")

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses one may connect to. Raises RegistryRefused if any of the host's addresses is not public."""
        found = self.resolver(host, port)
        if not found:
            raise RegistryUnreachable(f"The registry host {host} has no address. Check its name.")
        if not self._is_listed(host, port) and not all(is_public(address) for address in found):
            raise RegistryRefused(
                f"The registry host {host} is not at a public address. "
                "Ask the operator to list it in MOORAGE_PLAIN_REGISTRIES."
            )
        return found

    def _is_listed(self, host: str, port: int | None) -> bool:
        return f"{host}:{port}".lower() in self.listed or (port in (None, 80) and host.lower() in self.listed)
