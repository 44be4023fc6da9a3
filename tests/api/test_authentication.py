"""Who may open which door."""

import datetime as dt
import itertools

import pytest

from moorage.accounts import services as accounts
from moorage.accounts.models import ApiKey, Scope
from moorage.kernel import clock
from tests.api.conftest import Caller, calling, error_of
from tests.cast import Cast


def test_without_a_key_nothing_opens(anybody: Caller) -> None:
    answer = anybody("GET", "deployments")

    assert error_of(answer, 401)["type"] == "authentication_error"
    assert answer["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        "{secret}",
        "Basic {secret}",
        "Bearer",
        "Bearer ",
        "Bearer  {secret}",
        "Bearer {secret} ,",
        "Bearer {secret}, Bearer {secret}",
        "Bearer {secret}x",
        "Bearer mk_live_" + "0" * 39,
        "Bearer mk_live_é",
        "Bearer\u00a0{secret}",
        "Token {secret}",
    ],
)
def test_what_is_not_exactly_one_live_key_is_refused(alice: Caller, header: str) -> None:
    error_of(alice("GET", "deployments", authorization=header.format(secret=alice.secret)), 401)


def test_the_scheme_may_be_written_small(alice: Caller) -> None:
    assert alice("GET", "deployments", authorization=f"bearer {alice.secret}").status_code == 200


def test_a_revoked_key_and_an_expired_one_are_refused_alike(cast: Cast) -> None:
    expired = Caller(secret=cast.alice.key(Scope.MANAGE, expires_at=clock.now() - dt.timedelta(seconds=1)))
    revoked = calling(cast.alice, Scope.MANAGE)
    accounts.revoke_key(key=ApiKey.objects.get(revoked_at=None, expires_at=None), by=cast.alice.actor)

    messages = [error_of(caller("GET", "deployments"), 401)["message"] for caller in (expired, revoked)]

    assert messages[0] == messages[1]


#: Which scope opens which door.
DOORS = {
    "deployments": {Scope.MANAGE},
    "keys": {Scope.MANAGE},
    "registries": {Scope.MANAGE},
    "usage": {Scope.MANAGE},
    "usage/requests": {Scope.MANAGE},
    "statement": {Scope.MANAGE},
    "statements": {Scope.MANAGE},
    "invoices": {Scope.MANAGE},
    "whoami": set(Scope),
    "admin/organizations": {Scope.ADMIN},
    "admin/organizations/harbour/statement": {Scope.ADMIN},
    "admin/organizations/harbour/requests": {Scope.ADMIN},
    "admin/prices": {Scope.ADMIN},
    "admin/invoices": {Scope.ADMIN},
    "admin/nodes": {Scope.ADMIN},
}


@pytest.mark.parametrize(("door", "scope"), list(itertools.product(DOORS, Scope)))
def test_a_scope_opens_its_own_doors_and_no_other(cast: Cast, door: str, scope: Scope) -> None:
    answer = calling(cast.alice, scope)("GET", door)

    if scope in DOORS[door]:
        assert answer.status_code == 200, answer.content
    else:
        error = error_of(answer, 403)
        assert error["code"] == "scope_missing"
        assert f"`{next(iter(DOORS[door]))}`" in error["message"]


def test_the_use_of_a_key_is_noted_once_a_minute(alice: Caller) -> None:
    alice.get("whoami")
    first = ApiKey.objects.get().last_used_at
    assert first is not None

    alice.get("whoami")
    assert ApiKey.objects.get().last_used_at == first

    ApiKey.objects.update(last_used_at=first - dt.timedelta(minutes=2))
    alice.get("whoami")
    again = ApiKey.objects.get().last_used_at
    assert again is not None and again >= first


def test_health_needs_no_key(anybody: Caller) -> None:
    assert anybody.get("healthz") == anybody.get("readyz") == {"status": "ok"}


def test_a_bad_key_does_not_matter_where_none_is_needed(anybody: Caller) -> None:
    assert anybody("GET", "healthz", authorization="Bearer nonsense").status_code == 200
