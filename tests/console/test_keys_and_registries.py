"""Secrets: shown once, or never."""

import re

from django.test import Client

from moorage.accounts.models import ApiKey
from moorage.artifacts.models import RegistryCredential
from moorage.kernel.secrets import looks_like_key
from tests.cast import Cast
from tests.console.pages import text_of


def test_a_key_is_shown_once(alice: Client) -> None:
    made = alice.post("/harbour/keys", {"name": "laptop", "scopes": ["inference"], "lifetime": "30"})

    found = re.search(r'<code id="secret">([^<]+)</code>', text_of(made))
    assert found is not None
    assert looks_like_key(found[1])
    assert made["Cache-Control"] == "no-store"
    later = text_of(alice.get("/harbour/keys"))
    assert "laptop" in later
    assert found[1] not in later
    assert "in 29 d" in later


def test_a_key_has_the_priority_that_was_chosen(alice: Client) -> None:
    alice.post("/harbour/keys", {"name": "night batch", "scopes": ["inference"], "priority": "low"})
    alice.post("/harbour/keys", {"name": "app", "scopes": ["inference"]})

    chosen = dict(ApiKey.objects.filter(name__in=["night batch", "app"]).values_list("name", "priority"))
    assert chosen == {"night batch": "low", "app": "normal"}


def test_a_key_without_a_scope_or_with_the_administrators_is_refused(alice: Client) -> None:
    none = alice.post("/harbour/keys", {"name": "laptop"})
    admin = alice.post("/harbour/keys", {"name": "laptop", "scopes": ["admin"]})

    assert none.status_code == admin.status_code == 422
    assert "Choose at least one." in text_of(none)
    assert ApiKey.objects.count() == 0


def test_a_revoked_key_moves_to_the_past(alice: Client, cast: Cast) -> None:
    cast.alice.key(name="old")
    key = ApiKey.objects.get()

    asked = alice.get(f"/harbour/keys/{key.pk}/revoke")
    alice.post(f"/harbour/keys/{key.pk}/revoke")

    assert "Revoke old?" in text_of(asked)
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert "1 revoked or expired key" in text_of(alice.get("/harbour/keys"))


def test_a_key_of_another_organization_cannot_be_revoked(alice: Client, cast: Cast) -> None:
    cast.charlie.key()
    key = ApiKey.objects.get()

    assert alice.post(f"/harbour/keys/{key.pk}/revoke").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None


def test_a_registrys_secret_goes_in_and_never_comes_out(alice: Client) -> None:
    sent = {"host": "GHCR.io", "username": "harbour", "secret": "do-not-tell"}

    page = text_of(alice.post("/harbour/registries", sent, follow=True))

    assert "ghcr.io" in page
    assert "do-not-tell" not in page
    assert "Delete the credential for ghcr.io?" in text_of(alice.get("/harbour/registries/delete?host=ghcr.io"))
    alice.post("/harbour/registries/delete", {"host": "ghcr.io"})
    assert RegistryCredential.objects.count() == 0
    assert alice.post("/harbour/registries/delete", {"host": "ghcr.io"}).status_code == 404


def test_a_registry_that_is_none_is_said_at_its_field(alice: Client) -> None:
    response = alice.post("/harbour/registries", {"host": "not a host", "username": "a", "secret": "b"})

    assert response.status_code == 422
    assert "Write one like ghcr.io" in text_of(response)
    assert 'value="b"' not in text_of(response)
