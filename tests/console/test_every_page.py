"""Every address of the console, asked by everybody: it renders, it is refused, or it does not exist."""

import pytest
from django.test import Client
from django.urls import URLPattern, reverse

from moorage.accounts import services as accounts
from moorage.accounts.models import Membership, Role, Scope
from moorage.console import urls, urls_billing
from moorage.deployments.models import Deployment
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of

BILLING = {pattern.name for pattern in urls_billing.urlpatterns if isinstance(pattern, URLPattern)}
POST_ONLY = {"sign_out", "resume", "try_again", "promote", "roll_back_update"}
OURS = [
    str(pattern.name) for pattern in urls.urlpatterns if isinstance(pattern, URLPattern) and pattern.name not in BILLING
]
OF_ORGANIZATION = [
    str(pattern.name)
    for pattern in urls.urlpatterns
    if isinstance(pattern, URLPattern) and pattern.name not in BILLING and "<slug:slug>" in str(pattern.pattern)
]
CHANGES = ["deploy", "edit", "pause", "delete", "roll_back", "revoke_key", "delete_registry"]


def address(name: str, cast: Cast, deployment: Deployment) -> str:
    """The address ``name`` of harbour's things."""
    key = accounts.create_key(
        organization=cast.alice.organization, name="ci", scopes=[Scope.INFERENCE], by=cast.alice.actor
    ).key
    values = {
        "slug": "harbour",
        "name": deployment.name,
        "number": 1,
        "key_id": key.pk,
        "replica_id": deployment.replicas.get().pk,
    }
    pattern = next(one for one in urls.urlpatterns if isinstance(one, URLPattern) and one.name == name)
    wanted = {part: values[part] for part in pattern.pattern.converters}
    query = {"environment": "?service=app", "delete_registry": "?host=ghcr.io"}.get(name, "")
    return reverse(f"console:{name}", kwargs=wanted) + query


@pytest.mark.parametrize("name", [name for name in OURS if name not in POST_ONLY])
def test_a_page_renders_for_whoever_may_see_it_without_inline_code(
    name: str, cast: Cast, deployment: Deployment, signed_in: SignIn
) -> None:
    client = signed_in(cast.ada if name == "ui" else cast.alice.user)

    response = client.get(address(name, cast, deployment))

    if name == "home":
        assert response["Location"] == reverse("console:deployments", args=["harbour"])
        return
    assert response.status_code == 200
    if response["Content-Type"].startswith("text/html"):
        assert inline_code(text_of(response)) == []
    assert "script-src 'self'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("name", OF_ORGANIZATION)
def test_a_stranger_finds_nothing(name: str, cast: Cast, deployment: Deployment, signed_in: SignIn) -> None:
    client = signed_in(cast.charlie.user)
    target = address(name, cast, deployment)

    assert client.get(target).status_code == 404
    assert client.post(target).status_code == 404


@pytest.mark.parametrize("name", OF_ORGANIZATION)
def test_whoever_is_not_signed_in_is_asked_to(name: str, cast: Cast, deployment: Deployment) -> None:
    response = Client().get(address(name, cast, deployment))

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("console:sign_in"))


@pytest.mark.parametrize("name", CHANGES)
def test_a_role_that_is_too_low_is_refused(name: str, cast: Cast, deployment: Deployment, signed_in: SignIn) -> None:
    Membership.objects.filter(user=cast.bob.user).update(role=Role.BILLING)
    client = signed_in(cast.bob.user)
    target = address(name, cast, deployment)

    response = client.get(target)

    assert response.status_code == 403
    assert "Ask an owner" in text_of(response)
    assert client.post(target).status_code == 403


@pytest.mark.parametrize("name", ["keys", "registries", "members", "playground", "key_limits", "deployment_limits"])
def test_who_may_look_may_not_always_change(name: str, cast: Cast, deployment: Deployment, signed_in: SignIn) -> None:
    Membership.objects.filter(user=cast.bob.user).update(role=Role.BILLING)
    client = signed_in(cast.bob.user)
    target = address(name, cast, deployment)

    seen = client.get(target)

    assert seen.status_code == 200
    assert 'method="post" class="stack"' not in text_of(seen), "no form that would be refused"
    assert client.post(target, {"name": "x", "scopes": "inference"}).status_code == 403


@pytest.mark.parametrize(
    "name",
    ["sign_out", "resume", "pause", "delete", "roll_back", "deploy", "keys", "revoke_key", "registries", "limits"],
)
def test_a_forged_form_is_refused(name: str, cast: Cast, deployment: Deployment) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.alice.user)

    response = client.post(address(name, cast, deployment))

    assert response.status_code == 403
    assert "This form is too old" in text_of(response)


def test_the_gallery_is_for_administrators(cast: Cast, alice: Client, signed_in: SignIn) -> None:
    assert alice.get("/ui").status_code == 404
    page = text_of(signed_in(cast.ada).get("/ui"))
    assert "pulling 3.1 MB of 7.8 MB" in page
    assert "0.000125 USD" in page


def test_an_unknown_address_is_a_page_of_the_house(alice: Client, db: None) -> None:
    response = alice.get("/there/is/no/such/thing")

    assert response.status_code == 404
    assert "There is no such page" in text_of(response)
    assert inline_code(text_of(response)) == []
