"""The base URL that an organization is shown."""

import pytest
from django.test import override_settings

from moorage.accounts.addresses import gateway_url
from moorage.accounts.models import Organization


@pytest.mark.parametrize(
    ("url", "domain", "shown"),
    [
        ("https://gateway.example", "", "https://gateway.example"),
        ("https://gateway.example", "models.example", "https://harbour.models.example"),
        ("http://127.0.0.1:8401", "models.localhost", "http://harbour.models.localhost:8401"),
    ],
)
def test_an_organizations_base_url_names_it_where_there_is_a_domain(url: str, domain: str, shown: str) -> None:
    with override_settings(MOORAGE_GATEWAY_URL=url, MOORAGE_GATEWAY_DOMAIN=domain):
        assert gateway_url(Organization(slug="harbour")) == shown
