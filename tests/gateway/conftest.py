"""A gateway in front of fake engines, and the control plane's side of its tables."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import openai
import psycopg
import pytest
from django.utils import timezone
from psycopg.types.json import Jsonb

from moorage.accounts.models import Organization
from moorage.billing import roles
from moorage.deployments.models import Deployment
from moorage.wire.records import ReplicaAddress, Route
from tests.cast import Cast
from tests.conftest import test_database_url
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

MODEL = "harbour/pilot"


@dataclasses.dataclass
class ControlPlane:
    """Writes routes as deployments does and reads what the gateway writes."""

    database_url: str
    organization: Organization

    def put_route(self, *, organization: Organization | None = None, name: str = MODEL, **values: object) -> Route:
        owner = organization or self.organization
        deployment, _ = Deployment.objects.get_or_create(organization=owner, name=name.split("/")[0])
        model_key = name.split("/")[1]
        known: dict[str, object] = {
            "engine": "llamacpp",
            "kind": "chat",
            "context_size": 4096,
            "status": "ready",
            "created_at": 1_700_000_000,
            "revision_id": "rev_1",
        }
        route = Route(
            id=f"{deployment.id}:{model_key}",
            organization_id=owner.id,
            served_name=name,
            deployment_id=deployment.id,
            deployment_name=deployment.name,
            model_key=model_key,
            **{**known, **values},  # type: ignore[arg-type]
        )
        with psycopg.connect(self.database_url) as connection:
            connection.execute(
                """INSERT INTO route (id, organization_id, deployment_id, model_key, served_name, document, changed_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (id) DO UPDATE SET document = excluded.document""",
                (
                    route.id,
                    route.organization_id,
                    route.deployment_id,
                    model_key,
                    name,
                    Jsonb(msgspec.to_builtins(route)),
                    timezone.now(),
                ),
            )
        return route

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


def replica(engine: FakeEngine, number: int = 1, *, slots: int = 0) -> ReplicaAddress:
    """The address of a fake engine."""
    return ReplicaAddress(id=f"rep_{number}", socket=str(engine.path), slots=slots)


@pytest.fixture
def engine(short_tmp: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(short_tmp / "e.sock").start()
    yield engine
    engine.stop()


@pytest.fixture
def control(database_url: str, committed_cast: Cast) -> ControlPlane:
    return ControlPlane(database_url=database_url, organization=committed_cast.alice.organization)


@pytest.fixture
def alices_key(committed_cast: Cast) -> str:
    return committed_cast.alice.key()


Start = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(database_url: str, short_tmp: Path) -> Iterator[Start]:
    """Starts gateways with settings of the test's choice, and ends them."""
    started: list[GatewayProcess] = []

    def start(**settings: str) -> GatewayProcess:
        directory = short_tmp / f"g{len(started)}"
        directory.mkdir()
        gateway = GatewayProcess(database_url=test_database_url(roles.GATEWAY), directory=directory, **settings)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.kill()


@pytest.fixture
def gateway(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway that serves Alice's model from the fake engine."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


@pytest.fixture
def client(gateway: GatewayProcess, alices_key: str) -> Iterator[openai.OpenAI]:
    """The official client with Alice's key."""
    with client_of(gateway, alices_key) as client:
        yield client


def client_of(gateway: GatewayProcess, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=30)


def wait_until_knows(gateway: GatewayProcess, key: str, *models: str) -> None:
    """Waits until the gateway lists ``models`` for ``key``."""

    def listed() -> bool:
        with client_of(gateway, key) as client:
            try:
                names = {model.id for model in client.models.list()}
            except (openai.AuthenticationError, openai.InternalServerError):
                return False
        return names.issuperset(models)

    wait_until(listed, seconds=15, what=f"the gateway to know {models}")


def script(**steps: object) -> str:
    """A message that tells the fake engine what to do."""
    return msgspec.json.encode(steps).decode()
