"""Every deed rings at its commit: PostgreSQL tells the doorbell, and no sweep has to be waited for."""

from collections.abc import Callable

import psycopg
import pytest

from moorage.deployments import services
from moorage.deployments.models import Deployment
from moorage.wire.records import WORK_CHANGED
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, apply

DEEDS: dict[str, Callable[[Deployment, Cast], object]] = {
    "apply": lambda deployment, cast: apply(cast, COMPOSE.replace("256", "512")),
    "roll back": lambda deployment, cast: services.roll_back(deployment=deployment, number=1, by=cast.alice.actor),
    "pause": lambda deployment, cast: services.pause(deployment=deployment, by=cast.alice.actor),
    "resume": lambda deployment, cast: services.resume(deployment=deployment, by=cast.alice.actor),
    "delete": lambda deployment, cast: services.delete(deployment=deployment, by=cast.alice.actor),
}


def rung(listener: psycopg.Connection) -> list[str]:
    """The deployments that were announced, once there is one."""
    return [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]


@pytest.mark.parametrize("deed", ["first apply", *DEEDS])
def test_a_deed_rings_at_its_commit(deed: str, committed_cast: Cast, database_url: str) -> None:
    existing = None if deed == "first apply" else apply(committed_cast)
    if deed == "roll back":
        DEEDS["apply"](existing, committed_cast)  # type: ignore[arg-type]
    if deed == "resume":
        DEEDS["pause"](existing, committed_cast)  # type: ignore[arg-type]
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {WORK_CHANGED}")

        if existing is None:
            existing = apply(committed_cast)
        else:
            DEEDS[deed](existing, committed_cast)

        assert rung(listener) == [existing.pk]
