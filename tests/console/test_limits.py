"""Limits and budgets in the console: set by whoever may, seen by every member."""

import pytest
from django.db import IntegrityError
from django.test import Client

from moorage.accounts import limits as accounts_limits
from moorage.accounts.models import ApiKey, Membership, Role, SubjectLimit
from moorage.wire.limits import Limits
from tests.billing.tampering import tamper
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import text_of

EMPTY = dict.fromkeys(Limits.__struct_fields__, "")


def test_a_budget_is_set_and_shown(alice: Client, cast: Cast) -> None:
    sent = alice.post("/harbour/limits", {**EMPTY, "money_per_month": "12.50", "requests_per_minute": "60"})

    assert sent.status_code == 302
    organization = cast.alice.organization
    limits = accounts_limits.limits_of(organization=organization, subject=organization.pk)
    assert limits == Limits(money_per_month=12_500_000_000_000, requests_per_minute=60)
    page = text_of(alice.get("/harbour/limits"))
    assert "12.50 USD" in page
    assert 'value="12.50"' in page


def test_a_limit_that_makes_no_sense_is_refused_beside_its_field(alice: Client, db: None) -> None:
    answer = alice.post("/harbour/limits", {**EMPTY, "tokens_per_day": "-5"})

    assert answer.status_code == 422
    assert 'id="id_tokens_per_day_error"' in text_of(answer)
    assert not SubjectLimit.objects.exists()


def test_a_keys_networks_are_lines(alice: Client, cast: Cast) -> None:
    cast.alice.key()
    key = ApiKey.objects.get()

    wrong = alice.post(f"/harbour/keys/{key.pk}/limits", {**EMPTY, "networks": "10.0.0.0/8\nhome"})
    alice.post(f"/harbour/keys/{key.pk}/limits", {**EMPTY, "networks": "10.0.0.0/8\n\n2001:db8::/32"})

    assert wrong.status_code == 422
    assert "is no network" in text_of(wrong)
    key.refresh_from_db()
    assert key.networks == ["10.0.0.0/8", "2001:db8::/32"]


def test_a_keys_priority_is_changed_beside_its_limits(alice: Client, cast: Cast) -> None:
    cast.alice.key()
    key = ApiKey.objects.get()

    alice.post(f"/harbour/keys/{key.pk}/limits", {**EMPTY, "networks": "", "priority": "low"})
    page = text_of(alice.get(f"/harbour/keys/{key.pk}/limits"))

    key.refresh_from_db()
    assert key.priority == "low"
    assert '<option value="low" selected>' in page


def test_a_key_keeps_all_it_had_when_a_part_of_the_form_cannot_be_written(alice: Client, cast: Cast) -> None:
    cast.alice.key()
    key = ApiKey.objects.get()
    tamper("ALTER TABLE subject_limit ADD CONSTRAINT full_up CHECK (false)")

    sent = {**EMPTY, "networks": "10.0.0.0/8", "priority": "high", "tokens_per_minute": "100"}
    with pytest.raises(IntegrityError, match="full_up"):
        alice.post(f"/harbour/keys/{key.pk}/limits", sent)

    key.refresh_from_db()
    assert (key.networks, key.priority) == ([], "normal")


def test_who_pays_sets_budgets_and_a_developer_only_sees_them(cast: Cast, signed_in: SignIn) -> None:
    developer = signed_in(cast.bob.user)
    refused = developer.post("/harbour/limits", {**EMPTY, "money_per_month": "1"})
    seen = developer.get("/harbour/limits")
    Membership.objects.filter(user=cast.bob.user).update(role=Role.BILLING)
    allowed = signed_in(cast.bob.user).post("/harbour/limits", {**EMPTY, "money_per_month": "1"})

    assert (refused.status_code, seen.status_code, allowed.status_code) == (403, 200, 302)
    assert 'method="post" class="stack"' not in text_of(seen)


def test_a_strangers_limits_cannot_be_set(alice: Client, cast: Cast) -> None:
    cast.charlie.key()
    key = ApiKey.objects.get()

    assert alice.post(f"/harbour/keys/{key.pk}/limits", {**EMPTY, "requests_per_minute": "1"}).status_code == 404
    assert alice.post("/island/limits", {**EMPTY, "requests_per_minute": "1"}).status_code == 404
    assert not SubjectLimit.objects.exists()
