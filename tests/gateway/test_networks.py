"""Networks: an address is in one of a key's, or it is not let in."""

import pytest

from moorage.gateway.networks import is_within


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("192.0.2.7", ("192.0.2.0/24",), True),
        ("192.0.3.7", ("192.0.2.0/24",), False),
        ("192.0.2.7", ("10.0.0.0/8", "192.0.2.7/32"), True),
        ("::ffff:192.0.2.7", ("192.0.2.0/24",), True),
        ("2001:db8::1", ("2001:db8::/32",), True),
        ("2001:db9::1", ("2001:db8::/32", "0.0.0.0/0"), False),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("192.0.2.7", ("::/0",), False),
        ("192.0.2.7", ("0.0.0.0/0",), True),
        ("", ("0.0.0.0/0", "::/0"), False),
        ("harbour", ("0.0.0.0/0",), False),
        ("192.0.2.7", ("nonsense",), False),
    ],
)
def test_an_address_is_in_a_network_or_not(address: str, networks: tuple[str, ...], expected: bool) -> None:
    assert is_within(address, networks) is expected
