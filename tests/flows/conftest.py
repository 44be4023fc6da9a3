"""The whole of Moorage, running: real broker, database, processes, engine and HTTP."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.config.instance.ports import Ports
from tests.conftest import ROOT_ENVIRONMENT, test_database_url
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
        "DATABASE_URL": test_database_url(),
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": "platform",
        "PYTHONUNBUFFERED": "1",
        **chosen,
    }


@pytest.fixture
def stack_environment() -> dict[str, str]:
    """Variables that a test module adds to the processes' environment; override it to add some."""
    return {}


@pytest.fixture
def runtime(llama_server: Path) -> dict[str, str]:
    """Engines as local processes; override for Docker."""
    return {"MOORAGE_RUNTIME": "process", "MOORAGE_LLAMA_SERVER": str(llama_server)}


@pytest.fixture
def stack(
    committed_db: None,
    runtime: dict[str, str],
    stack_environment: dict[str, str],
    request: pytest.FixtureRequest,
) -> Iterator[Stack]:
    """Every process, ready; ended with its engines afterwards, with the logs shown if the test failed."""
    with tempfile.TemporaryDirectory(prefix="mf", dir="/tmp", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        ports = Ports(console=free_port(), gateway=free_port())
        made = Stack(home=home, environment=_environment(home, ports, **runtime, **stack_environment), ports=ports)
        try:
            made.manage("ensure_prices")
            made.start()
            yield made
        finally:
            made.stop()
            made.manage("stop_engines")
            if request.node.stash.get(FAILED, False) or os.environ.get("MOORAGE_TEST_SHOW_LOGS"):
                print(made.logs())


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.stash[FAILED] = report.failed  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]
