"""The login with which each process reaches the database. Who may do what is in billing/roles.py."""

import dataclasses
from collections.abc import Mapping
from typing import Final

from moorage.config.instance.postgres import Postgres

#: The operator's, for a server of their own; whichever is not set is DATABASE_URL.
OWNER: Final = "MOORAGE_OWNER_DATABASE_URL"
GATEWAY: Final = "MOORAGE_GATEWAY_DATABASE_URL"
SHIPPER: Final = "MOORAGE_SHIPPER_DATABASE_URL"
#: Read by `./manage.py up` and kept from every process that it starts.
OWN: Final = (OWNER, GATEWAY, SHIPPER)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """DATABASE_URL, by who uses it."""

    owner: str
    app: str
    gateway: str
    shipper: str

    @classmethod
    def embedded(cls, server: Postgres) -> "Databases":
        """Those of our own server."""
        return cls(**{field.name: server.url_for(field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def of_operator(cls, environ: Mapping[str, str]) -> "Databases":
        """Those of the server that DATABASE_URL names."""
        app = environ["DATABASE_URL"]
        return cls(
            owner=environ.get(OWNER) or app,
            app=app,
            gateway=environ.get(GATEWAY) or app,
            shipper=environ.get(SHIPPER) or app,
        )

    @property
    def of_processes(self) -> dict[str, str]:
        """Those of processes that do not log in as the application."""
        return {"gateway": self.gateway, "shipper": self.shipper}
