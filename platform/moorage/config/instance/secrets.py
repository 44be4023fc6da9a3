"""The instance's own secrets: made once at random, kept in one file that only its user can read."""

import dataclasses
import json
import secrets

from moorage.config.instance.home import Home, write_private


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Never shown and never on a command line; children get them in their environment."""

    secret_key: str
    postgres_password: str
    valkey_password: str
    #: Keys the gateways' hashes of Idempotency-Keys.
    gateway_secret: str


def load(home: Home) -> Secrets:
    """The secrets of ``home``, made now if there are none. A file from before a secret existed gets that one added."""
    known: dict[str, str] = json.loads(home.secrets.read_text()) if home.secrets.exists() else {}
    names = [field.name for field in dataclasses.fields(Secrets)]
    complete = {name: known.get(name) or secrets.token_urlsafe(36) for name in names}
    if complete != known:
        write_private(home.secrets, json.dumps(complete, indent=2) + "\n")
    return Secrets(**complete)
