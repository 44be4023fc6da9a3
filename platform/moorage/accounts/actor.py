"""Who acts: a person, an API key, or Moorage itself. Every verb that writes takes one as ``by``."""

import dataclasses
from typing import Final

from moorage.accounts.models import ApiKey, User

#: How the label of a program begins.
KEY_LABEL: Final = "API key "


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """``id`` is what the audit log stores; ``label`` is what a person reads there."""

    id: str
    label: str

    @classmethod
    def person(cls, user: User) -> "Actor":
        """A signed-in user."""
        return cls(id=user.id, label=user.email)

    @classmethod
    def key(cls, key: ApiKey) -> "Actor":
        """A program, known by its key."""
        return cls(id=key.id, label=f"{KEY_LABEL}{key.shown}…")


#: Moorage itself: the reconciler, the autoscaler, first boot.
MOORAGE: Final = Actor(id="moorage", label="Moorage")
