"""Ten thousand connections that ask nothing, a thousand of them byte by byte: everybody else is served as ever."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

IDLE, SLOW = 9000, 1000


@pytest.fixture
def gateway(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway that takes 12,000 connections and is patient with all of them."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(
        MOORAGE_GATEWAY_MAX_CONNECTIONS="12000",
        MOORAGE_GATEWAY_HEAD_SECONDS="120",
        MOORAGE_GATEWAY_IDLE_SECONDS="120",
    )
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


def test_a_crowd_that_asks_nothing_leaves_new_requests_under_a_second(
    gateway: GatewayProcess, control: ControlPlane, alices_key: str
) -> None:
    crowd = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.crowd", str(gateway.port), str(IDLE), str(SLOW)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "ready\n"
        wait_until(lambda: connections(gateway) >= IDLE + SLOW, what="all of the crowd to be let in")

        took = [ask(gateway, alices_key) for _ in range(20)]

        left, _ = crowd.communicate("", timeout=60)
    finally:
        crowd.kill()
        crowd.wait()
    assert max(took) < 1
    assert left.split() == [str(IDLE), str(SLOW)]


def connections(gateway: GatewayProcess) -> float:
    text = httpx.get(f"{gateway.url}/-/metrics", timeout=30).text
    (line,) = (line for line in text.splitlines() if line.startswith("moorage_gateway_connections "))
    return float(line.split()[1])


def ask(gateway: GatewayProcess, key: str) -> float:
    """Seconds from a new connection to the end of its answer."""
    started = time.monotonic()
    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": "Moor us"}]},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200
    return time.monotonic() - started
