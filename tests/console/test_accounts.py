"""Signing up, in and out, organizations and members, in the browser."""

import pytest
from django.core.cache import cache
from django.template.loader import render_to_string
from django.test import Client

from moorage.accounts.models import Membership, Organization, Role, User
from tests.cast import PASSWORD, Cast
from tests.console.pages import inline_code, text_of


@pytest.fixture(autouse=True)
def no_failures() -> None:
    """Failed sign-ins are counted for a minute."""
    cache.clear()


def test_a_new_user_creates_an_organization_and_sees_how_to_begin(db: None) -> None:
    client = Client()

    signed_up = client.post("/sign-up", {"email": "dora@example.com", "password": "a rope around a bollard"})
    created = client.post("/new", {"name": "Dock", "slug": "dock"}, follow=True)

    assert signed_up["Location"] == "/new"
    assert created.redirect_chain == [("/dock", 302)]
    assert "These three lines would fill this page" in text_of(created)
    assert Membership.objects.get(user__email="dora@example.com").role == Role.OWNER


def test_what_is_wrong_is_said_at_its_field_and_the_password_is_not_sent_back(cast: Cast) -> None:
    weak = Client().post("/sign-up", {"email": "dora@example.com", "password": "short"})
    taken = Client().post("/sign-up", {"email": "alice@example.com", "password": "a rope around a bollard"})

    assert weak.status_code == taken.status_code == 422
    assert "at least 10 characters" in text_of(weak)
    assert "Sign in instead" in text_of(taken)
    assert "a rope around" not in text_of(taken)
    assert User.objects.count() == 4


def test_signing_in_leads_where_one_wanted_to_go_but_never_elsewhere(cast: Cast) -> None:
    credentials = {"email": "Alice@example.com", "password": PASSWORD}

    inside = Client().post("/sign-in", {**credentials, "next": "/harbour/keys"})
    outside = Client().post("/sign-in", {**credentials, "next": "https://example.org/"})

    assert inside["Location"] == "/harbour/keys"
    assert outside["Location"] == "/"


def test_too_many_wrong_passwords_wait_a_minute(cast: Cast) -> None:
    client = Client()
    wrong = {"email": "alice@example.com", "password": "wrong"}

    answers = [client.post("/sign-in", wrong).status_code for _ in range(11)]
    right = client.post("/sign-in", {**wrong, "password": PASSWORD})

    assert answers == [422] * 10 + [429]
    assert right.status_code == 429


def test_signing_out_ends_the_session(alice: Client) -> None:
    alice.post("/sign-out")

    assert alice.get("/harbour").status_code == 302


@pytest.mark.parametrize("slug", ["ui", "organizations", "admin"])
def test_the_consoles_own_words_are_no_organizations(slug: str, alice: Client) -> None:
    response = alice.post("/new", {"name": "Mine", "slug": slug})

    assert response.status_code == 422
    assert not Organization.objects.filter(slug=slug).exists()


def test_an_owner_adds_a_member_who_has_signed_up(alice: Client, cast: Cast) -> None:
    unknown = alice.post("/harbour/members", {"email": "nobody@example.com", "role": "billing"})
    added = alice.post("/harbour/members", {"email": "charlie@example.com", "role": "billing"}, follow=True)

    assert "Nobody has signed up with this address" in text_of(unknown)
    assert "charlie@example.com" in text_of(added)
    assert Membership.objects.get(user=cast.charlie.user, organization=cast.alice.organization).role == Role.BILLING


def test_organizations_can_be_changed_between(alice: Client) -> None:
    alice.post("/new", {"name": "Second", "slug": "second"})

    page = text_of(alice.get("/organizations"))

    assert 'href="/harbour"' in page
    assert 'href="/second"' in page


@pytest.mark.parametrize("template", ["400.html", "403.html", "403_csrf.html", "404.html", "500.html"])
def test_the_error_pages_need_nothing(template: str) -> None:
    page = render_to_string(template)

    assert "<h1>" in page
    assert inline_code(page) == []
