"""The cast: Alice owns the organization harbour, Bob is a member of it, Charlie owns another and is a stranger here,
Ada is the administrator."""

import dataclasses
import functools

from django.contrib.auth.hashers import make_password

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization, Role, Scope, User

PASSWORD = "tied up at the quay 7"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who signs in, and the organization they own or belong to."""

    user: User
    organization: Organization

    @property
    def actor(self) -> Actor:
        """For ``by=``."""
        return Actor.person(self.user)

    def key(self, *scopes: Scope, name: str = "a key", **options: object) -> str:
        """A new key of the organization; inference and manage unless told otherwise. Returns the secret."""
        made = accounts.create_key(
            organization=self.organization,
            name=name,
            scopes=scopes or (Scope.INFERENCE, Scope.MANAGE),
            by=self.actor,
            **options,  # type: ignore[arg-type]
        )
        return made.secret


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cast:
    """Everybody."""

    alice: Person
    bob: Person
    charlie: Person
    ada: User


@functools.cache
def _hashed() -> str:
    # The real hasher, once: hashing four passwords a test would be most of its time.
    return make_password(PASSWORD)


def _person(name: str, *, is_administrator: bool = False) -> User:
    return User.objects.create(email=f"{name}@example.com", password=_hashed(), is_administrator=is_administrator)


def assemble() -> Cast:
    """Puts the cast into the database."""
    alice, bob, charlie = _person("alice"), _person("bob"), _person("charlie")
    ada = _person("ada", is_administrator=True)
    harbour = accounts.create_organization(name="Harbour", slug="harbour", owner=alice, by=Actor.person(alice))
    accounts.add_member(organization=harbour, user=bob, role=Role.DEVELOPER, by=Actor.person(alice))
    island = accounts.create_organization(name="Island", slug="island", owner=charlie, by=Actor.person(charlie))
    return Cast(
        alice=Person(user=alice, organization=harbour),
        bob=Person(user=bob, organization=harbour),
        charlie=Person(user=charlie, organization=island),
        ada=ada,
    )
