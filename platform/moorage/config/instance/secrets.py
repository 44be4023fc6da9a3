"""The instance's own secrets: made once at random, kept in one file that only its user can read."""

import dataclasses
import json
import secrets

from moorage.config.instance.home import Home, write_private


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Never shown and never on a command line; children get them in their environment."""

    secret_key: str
    #: The embedded PostgreSQL's superuser, who makes the database and its roles and is nobody at run time.
    postgres_password: str
    #: Owns the database; migrates.
    postgres_owner_password: str
    #: What web and workers, the gateways, and the shipper log in with: see billing/roles.py.
    postgres_app_password: str
    postgres_gateway_password: str
    postgres_shipper_password: str
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


def database_logins(own: Secrets) -> dict[str, str]:
    """The passwords of the embedded database's roles, by what comes behind ``moorage_`` in their names."""
    return {
        "owner": own.postgres_owner_password,
        "app": own.postgres_app_password,
        "gateway": own.postgres_gateway_password,
        "shipper": own.postgres_shipper_password,
    }
