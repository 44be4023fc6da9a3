"""Which organization a Host header names."""

import pytest

from moorage.gateway.errors import HostRefused
from moorage.gateway.host_names import HostNames

HOSTS = HostNames("Models.Example.com")


@pytest.mark.parametrize(
    ("host", "slug"),
    [
        (b"harbour.models.example.com", "harbour"),
        (b"HARBOUR.models.example.COM:8443", "harbour"),
        (b"harbour.models.example.com.", "harbour"),
        (b"harbour.models.example.com.:80", "harbour"),
        (b"a.b.models.example.com", "a.b"),
        (b"models.example.com", ""),
        (b"notmodels.example.com", ""),
        (b"example.com", ""),
        (b"127.0.0.1:8401", ""),
        (b"[::1]:8401", ""),
        (b"[::1]", ""),
        (b"", ""),
        (b"harbour.models.example.com.evil.org", ""),
        ("härbour.models.example.com".encode(), "hã¤rbour"),
    ],
)
def test_the_label_before_the_domain_names_the_organization(host: bytes, slug: str) -> None:
    assert HOSTS.slug(host) == slug


def test_ones_own_name_and_names_that_say_nothing_pass() -> None:
    for host in (b"harbour.models.example.com", b"models.example.com", b"10.0.0.7:8401"):
        HOSTS.check(host, "harbour")
        HOSTS.check(host, "harbour")


@pytest.mark.parametrize(
    "host", [b"island.models.example.com", b"nobody.models.example.com", b"x.harbour.models.example.com"]
)
def test_another_organizations_name_and_nobodys_are_refused_in_the_same_words(host: bytes) -> None:
    with pytest.raises(HostRefused) as refusal:
        HOSTS.check(host, "harbour")

    assert refusal.value.status_code == 404
    assert refusal.value.message == HostRefused().message


def test_without_a_domain_hosts_say_nothing() -> None:
    HostNames("").check(b"island.models.example.com", "harbour")


@pytest.mark.parametrize("domain", ["a b", "-x.com", "x..com", "http://x.com", "*.x.com"])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="not a domain name"):
        HostNames(domain)
