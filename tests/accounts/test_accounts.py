"""Accounts: signing up, keys, roles, the audit log."""

import json
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection

from moorage.accounts import queries, services
from moorage.accounts.actor import Actor
from moorage.accounts.errors import EmailTaken, InvalidAccount, LastOwner, RoleTooLow, SlugTaken
from moorage.accounts.models import AuditEntry, Role, Scope, Standing, User
from moorage.kernel import secrets
from moorage.kernel.errors import NotFound
from tests.cast import PASSWORD, Cast


def test_a_new_user_signs_up_once(db: None) -> None:
    user = services.sign_up(email="Dora@Example.com ", password=PASSWORD)

    assert user.email == "dora@example.com"
    assert user.check_password(PASSWORD)
    with pytest.raises(EmailTaken):
        services.sign_up(email="dora@example.com", password=PASSWORD)


@pytest.mark.parametrize(("email", "password"), [("dora@example.com", "short"), ("not an address", PASSWORD)])
def test_a_weak_password_or_a_wrong_address_is_refused_with_a_sentence(db: None, email: str, password: str) -> None:
    with pytest.raises(InvalidAccount) as refusal:
        services.sign_up(email=email, password=password)

    assert refusal.value.message.endswith(".")
    assert not User.objects.exists()


def test_a_slug_belongs_to_one_organization(cast: Cast) -> None:
    with pytest.raises(SlugTaken):
        services.create_organization(name="Other", slug="harbour", owner=cast.charlie.user, by=cast.charlie.actor)


def test_a_slug_has_only_letters_digits_and_hyphens(cast: Cast) -> None:
    with pytest.raises(InvalidAccount, match="slug"):
        services.create_organization(name="Other", slug="No spaces!", owner=cast.alice.user, by=cast.alice.actor)


def test_a_secret_is_shown_once_and_stored_hashed(cast: Cast) -> None:
    made = services.create_key(
        organization=cast.alice.organization, name="ci", scopes=[Scope.MANAGE], by=cast.alice.actor
    )

    assert secrets.looks_like_key(made.secret)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(api_key)::text FROM api_key")
        assert made.secret not in str(cursor.fetchall())
    found = queries.key_for_secret(made.secret)
    assert found is not None
    assert found.pk == made.key.pk


def test_a_revoked_key_is_not_found_again(cast: Cast) -> None:
    secret = cast.alice.key()
    key = queries.key_for_secret(secret)
    assert key is not None

    services.revoke_key(key=key, by=cast.alice.actor)

    assert queries.key_for_secret(secret) is None


def test_a_stranger_sees_no_organization(cast: Cast) -> None:
    assert queries.membership_of(user=cast.bob.user, slug="harbour").role == Role.DEVELOPER
    with pytest.raises(NotFound):
        queries.membership_of(user=cast.charlie.user, slug="harbour")


def test_a_role_that_is_too_low_is_refused(cast: Cast) -> None:
    membership = queries.membership_of(user=cast.bob.user, slug="harbour")

    queries.require_role(membership, queries.MAY_DEPLOY)

    with pytest.raises(RoleTooLow):
        queries.require_role(membership, queries.MAY_MANAGE_MEMBERS)


def test_an_organization_keeps_an_owner_and_only_owners_make_owners(cast: Cast) -> None:
    harbour = cast.alice.organization
    services.add_member(organization=harbour, user=cast.bob.user, role=Role.ADMIN, by=cast.alice.actor)

    with pytest.raises(RoleTooLow):
        services.add_member(organization=harbour, user=cast.bob.user, role=Role.OWNER, by=cast.bob.actor)
    with pytest.raises(RoleTooLow):
        services.add_member(organization=harbour, user=cast.alice.user, role=Role.BILLING, by=cast.bob.actor)
    with pytest.raises(LastOwner):
        services.add_member(organization=harbour, user=cast.alice.user, role=Role.BILLING, by=cast.alice.actor)

    services.add_member(organization=harbour, user=cast.bob.user, role=Role.OWNER, by=cast.alice.actor)
    services.add_member(organization=harbour, user=cast.alice.user, role=Role.BILLING, by=cast.alice.actor)
    assert queries.membership_of(user=cast.bob.user, slug="harbour").role == Role.OWNER


def test_every_verb_leaves_an_audit_entry_that_cannot_be_changed(cast: Cast) -> None:
    secret = cast.alice.key(name="audited")
    key = queries.key_for_secret(secret)
    assert key is not None
    services.revoke_key(key=key, by=cast.alice.actor)
    services.set_standing(
        organization=cast.alice.organization, standing=Standing.SUSPENDED, reason="unpaid", by=Actor.person(cast.ada)
    )

    actions = set(AuditEntry.objects.for_organization(cast.alice.organization).values_list("action", flat=True))

    assert actions >= {
        "organization.created",
        "member.added",
        "key.created",
        "key.revoked",
        "organization.standing_changed",
    }
    with pytest.raises(DatabaseError, match=r"append-only|permission denied"):
        AuditEntry.objects.update(actor="nobody")


def test_first_boot_makes_an_administrator_once_with_random_secrets(db: None) -> None:
    kept: list[services.FirstBoot] = []

    boot = services.first_boot(keep=kept.append)

    assert boot is not None
    assert kept == [boot]
    assert len(boot.admin_password) >= 24
    assert User.objects.get(email=boot.admin_email).is_administrator
    assert queries.key_for_secret(boot.api_token) is not None
    assert services.first_boot(keep=kept.append) is None


def test_accounts_whose_secrets_could_not_be_kept_are_not_made(db: None, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        call_command("first_boot", str(tmp_path / "nowhere" / "secrets.json"))

    assert not User.objects.exists()
    call_command("first_boot", str(tmp_path / "secrets.json"))
    made = json.loads((tmp_path / "secrets.json").read_text())
    assert User.objects.get().check_password(made["admin_password"])
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_the_database_tells_gateways_of_a_revoked_key(committed_cast: Cast, database_url: str) -> None:
    secret = committed_cast.alice.key()
    key = queries.key_for_secret(secret)
    assert key is not None
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN moorage_key")

        services.revoke_key(key=key, by=committed_cast.alice.actor)

        notice = next(listener.notifies(timeout=5, stop_after=1))
        assert notice.payload == key.pk
        rows = listener.execute("SELECT id FROM gateway_key WHERE id = %s", [key.pk]).fetchall()
        assert rows == []
