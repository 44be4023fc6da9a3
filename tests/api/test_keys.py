"""API keys and registry credentials: secrets go out once or never."""

import datetime as dt

from moorage.accounts.models import ApiKey, Scope
from moorage.artifacts.models import RegistryCredential
from moorage.kernel import clock
from tests.api.conftest import Caller, calling, error_of
from tests.cast import Cast


def test_a_key_shows_its_secret_once_and_works(alice: Caller) -> None:
    answer = alice("POST", "keys", {"name": "ci", "scopes": ["manage"]})

    made = answer.json()
    assert answer.status_code == 201
    assert answer["cache-control"] == "no-store"
    assert Caller(secret=made["secret"]).get("whoami")["key"]["id"] == made["id"]
    assert made["secret"] not in alice("GET", "keys").content.decode()
    assert "secret" not in alice.get("keys")["data"][0]


def test_a_key_opens_the_gateway_alone_unless_more_is_asked_for(alice: Caller) -> None:
    assert alice("POST", "keys", {"name": "app"}).json()["scopes"] == ["inference"]


def test_a_key_may_be_limited(alice: Caller) -> None:
    later = (clock.now() + dt.timedelta(days=1)).isoformat()

    made = alice("POST", "keys", {"name": "app", "served_names": ["demo/llm"], "expires_at": later}).json()

    assert made["served_names"] == ["demo/llm"]
    assert made["expires_at"].endswith("Z")


def test_a_key_that_has_expired_already_is_a_mistake(alice: Caller) -> None:
    error = error_of(alice("POST", "keys", {"name": "app", "expires_at": "2020-01-01T00:00:00Z"}), 422)

    assert error["param"] == "expires_at"


def test_no_key_makes_one_that_may_do_more(alice: Caller, cast: Cast) -> None:
    refused = alice("POST", "keys", {"name": "more", "scopes": ["admin"]})
    allowed = calling(cast.alice, Scope.MANAGE, Scope.ADMIN)("POST", "keys", {"name": "same", "scopes": ["admin"]})

    assert error_of(refused, 403)["param"] == "scopes"
    assert not ApiKey.objects.filter(name="more").exists()
    assert allowed.status_code == 201


def test_unknown_scopes_and_none_at_all_are_refused(alice: Caller) -> None:
    error_of(alice("POST", "keys", {"name": "app", "scopes": ["everything"]}), 422)
    error_of(alice("POST", "keys", {"name": "app", "scopes": []}), 422)
    error_of(alice("POST", "keys", {"name": " "}), 422)


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(alice: Caller) -> None:
    made = alice("POST", "keys", {"name": "ci", "scopes": ["manage"]}).json()

    answers = [alice("DELETE", f"keys/{made['id']}") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    error_of(Caller(secret=made["secret"])("GET", "whoami"), 401)
    assert alice.get("keys")["data"][0]["revoked_at"] is not None


def test_whoami_says_whose_key_it_is(alice: Caller) -> None:
    document = alice.get("whoami")

    assert document["organization"]["slug"] == "harbour"
    assert document["key"]["scopes"] == ["manage"]


def test_a_registrys_secret_is_written_and_never_shown(alice: Caller) -> None:
    answers = [
        alice("PUT", "registries/GHCR.io", {"username": "harbour", "secret": "hush hush"}),
        alice("GET", "registries/ghcr.io"),
        alice("GET", "registries"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert all(b"hush" not in answer.content for answer in answers)
    assert answers[1].json()["username"] == "harbour"
    assert b"hush" not in bytes(RegistryCredential.objects.get().secret_encrypted)


def test_a_registry_is_forgotten(alice: Caller) -> None:
    alice("PUT", "registries/registry.example:5000", {"username": "harbour", "secret": "hush"})

    assert alice("DELETE", "registries/registry.example:5000").status_code == 204
    assert error_of(alice("DELETE", "registries/registry.example:5000"), 404)["code"] == "credential_not_found"


def test_what_is_no_registry_is_refused(alice: Caller) -> None:
    error_of(alice("PUT", "registries/catalog", {"username": "a", "secret": "b"}), 422)
    error_of(alice("PUT", "registries/ghcr.io", {"username": "a:b", "secret": "c"}), 422)
    error_of(alice("PUT", "registries/ghcr.io", {"username": "a"}), 422)
