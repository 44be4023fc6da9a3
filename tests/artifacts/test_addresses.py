"""Which hosts may be spoken to: public ones over https, and what the operator lists."""

import pytest

from moorage.artifacts.addresses import AddressPolicy, is_public, system_resolver
from moorage.artifacts.errors import PlainHttpRefused, RegistryRefused, RegistryUnreachable
from moorage.artifacts.registry_oras import is_realm_trusted

NOBODY = AddressPolicy(listed=frozenset())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1",
        "ff02::1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "2002:a9fe:a9fe::1", "2001::1", "::7f00:1", "2001:db8::1", "fe80::1%eth0", "nonsense",
    ],
)  # fmt: skip
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111"])
def test_an_address_outside_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "localhost", "localhost."])
def test_other_spellings_of_this_machine_are_refused_by_what_they_resolve_to(host: str) -> None:
    with pytest.raises((RegistryRefused, RegistryUnreachable)):
        NOBODY.addresses(host, 443)


def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    policy = AddressPolicy(listed=frozenset(), resolver=lambda host, port: ["8.8.8.8", "10.0.0.1"])

    with pytest.raises(RegistryRefused, match="not at a public address"):
        policy.addresses("rebinding.example", 443)


def test_a_host_without_any_address_is_a_sentence() -> None:
    with pytest.raises(RegistryUnreachable, match="not known"):
        system_resolver("no-such-host.invalid", 443)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "gopher://ghcr.io/", "//ghcr.io/x", "https://", "https://good@bad.example/",
        "https://user:secret@ghcr.io/", "https://ghcr.io:22/", "https://ghcr.io:5432/", "https://ghcr.io:6379/",
        "https://ghcr.io:99999/", "https://[::1/",
    ],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(RegistryRefused):
        NOBODY.check_url(url)


def test_plain_http_is_refused_unless_the_operator_lists_the_host() -> None:
    listed = AddressPolicy.for_registry("registry.lan:5000", plain_registries=frozenset({"Registry.LAN:5000"}))

    listed.check_url("http://registry.lan:5000/v2/")

    with pytest.raises(PlainHttpRefused, match="MOORAGE_PLAIN_REGISTRIES"):
        NOBODY.check_url("http://registry.lan:5000/v2/")
    with pytest.raises(PlainHttpRefused):
        listed.check_url("http://registry.lan:5001/v2/")


def test_a_public_registry_cannot_send_us_to_a_listed_one() -> None:
    policy = AddressPolicy.for_registry("ghcr.io", plain_registries=frozenset({"registry.lan:5000"}))

    with pytest.raises(PlainHttpRefused):
        policy.check_url("http://registry.lan:5000/v2/")


@pytest.mark.parametrize(
    ("realm", "host", "is_trusted"),
    [
        ("https://ghcr.io/token", "ghcr.io", True),
        ("https://auth.docker.io/token", "registry-1.docker.io", True),
        ("https://auth.docker.io/token", "evil.example", False),
        ("https://evil.example/token", "ghcr.io", False),
        ("https://ghcr.io:8443/token", "ghcr.io", False),
        ("http://auth.docker.io/token", "registry-1.docker.io", False),
        ("https://ghcr.io.evil.example/token", "ghcr.io", False),
    ],
)
def test_a_credential_goes_to_the_registry_itself_or_its_known_partner(realm: str, host: str, is_trusted: bool) -> None:
    assert is_realm_trusted(realm, host, with_credential=True) is is_trusted
