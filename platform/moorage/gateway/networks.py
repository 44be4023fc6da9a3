"""Whether an address lies in one of the networks that a key may be used from."""

import functools
import ipaddress
from collections.abc import Iterable


@functools.lru_cache(maxsize=65_536)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether ``address`` is in one of ``networks`` (CIDR, IPv4 or IPv6). What is no address, or an empty one, is in
    none. An IPv4 address written as IPv6 (``::ffff:192.0.2.1``) is that IPv4 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in _parsed(networks))


@functools.lru_cache(maxsize=4096)
def _parsed(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(_networks(networks))


def _networks(texts: Iterable[str]) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in texts:
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue  # the control plane refuses these; one that came by lets nobody in
