"""The whole of Moorage, running: real broker, database, processes, engine and HTTP.

Starting it takes a while, so the tests of a module share one stack, one cast and what they leave in the database;
each names its deployments its own way.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.billing import roles
from moorage.config.instance.ports import Ports
from tests import cast as everybody
from tests.conftest import ROOT_ENVIRONMENT, commits_seen, test_database_url
from tests.flows.stack import Stack, free_port


def _environment(home: Path, ports: Ports, **chosen: str) -> dict[str, str]:
    return {
        **ROOT_ENVIRONMENT,
        "MOORAGE_HOME": str(home),
        "MOORAGE_INSTANCE": home.name[-8:].lower().replace("_", "0"),
        "MOORAGE_STORE": str(home / "store"),
        "MOORAGE_SOCKET_DIR": str(home / "s"),
        "MOORAGE_JOURNAL_DIR": str(home / "journal"),
        "MOORAGE_CONSOLE_URL": f"http://127.0.0.1:{ports.console}",
        "MOORAGE_GATEWAY_URL": f"http://127.0.0.1:{ports.gateway}",
        "MOORAGE_GATEWAY_HOST": "127.0.0.1",
        "MOORAGE_GATEWAY_PORT": str(ports.gateway),
        "DATABASE_URL": test_database_url(roles.APP),
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": "platform",
        "PYTHONUNBUFFERED": "1",
        **chosen,
    }


@pytest.fixture(scope="module")
def committed_db(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """A database whose commits other processes see; emptied after the module."""
    with commits_seen(django_db_blocker):
        yield


@pytest.fixture(scope="module")
def committed_cast(committed_db: None) -> everybody.Cast:
    """The cast, visible to other processes."""
    return everybody.assemble()


@pytest.fixture(scope="module")
def stack_home() -> Iterator[Path]:
    """The instance's home: its path is short, since sockets lie in it, and runners with uids of their own may enter."""
    with tempfile.TemporaryDirectory(prefix="mf", dir="/tmp", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        home.chmod(0o755)
        yield home


@pytest.fixture(scope="module")
def stack_environment() -> dict[str, str]:
    """Variables that a test module adds to the processes' environment; override it to add some."""
    return {}


@pytest.fixture(scope="module")
def runtime(llama_server: Path) -> dict[str, str]:
    """Engines as local processes; override for Docker."""
    return {"MOORAGE_RUNTIME": "process", "MOORAGE_LLAMA_SERVER": str(llama_server)}


@pytest.fixture(scope="module")
def stack(
    committed_db: None, runtime: dict[str, str], stack_environment: dict[str, str], stack_home: Path
) -> Iterator[Stack]:
    """Every process, ready; ended with its engines after the module."""
    ports = Ports(console=free_port(), gateway=free_port())
    environment = _environment(stack_home, ports, **runtime, **stack_environment)
    urls = {role: test_database_url(role) for role in (roles.GATEWAY, roles.SHIPPER)}
    made = Stack(home=stack_home, environment=environment, ports=ports, database_urls=urls)
    try:
        made.manage("ensure_prices")
        made.start()
        yield made
    finally:
        made.stop()
        made.manage("stop_engines")


@pytest.fixture(scope="module")
def secret(committed_cast: everybody.Cast) -> str:
    """A key of Alice's that opens the gateway and REST."""
    return committed_cast.alice.key()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Shows the ends of all logs beside a failure."""
    report = yield
    made = getattr(item, "funcargs", {}).get("stack")
    if report.failed and made is not None:  # type: ignore[attr-defined]
        report.sections.append(("Moorage's logs", made.logs()))  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]
