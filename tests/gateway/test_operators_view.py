"""What operators see of a worker, where they see it, and that the dashboard asks for nothing else."""

import json
import re
from pathlib import Path

import httpx
import pytest

from moorage.gateway.probes import is_for_operators
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

DASHBOARD = Path(__file__).parents[2] / "deploy" / "dashboards" / "gateway.json"


def metrics(url: str) -> dict[str, float]:
    """All samples by name and labels; refuses a text that Prometheus would refuse."""
    answer = httpx.get(url, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples: dict[str, float] = {}
    family = ""
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name.startswith(family), f"{name} stands under {family}"
            assert name not in samples, f"{name} twice"
            samples[name] = float(value)
    return samples


def operators_port(gateway: GatewayProcess) -> int:
    (port,) = wait_until(lambda: re.findall(r" metrics=127\.0\.0\.1:(\d+)", gateway.log))
    return int(port)


def ask(gateway: GatewayProcess, key: str, **steps: object) -> None:
    with client_of(gateway, key) as client:
        for _ in client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": script(**steps)}], stream=True
        ):
            pass


def test_a_request_is_counted_and_timed(gateway: GatewayProcess, alices_key: str) -> None:
    ask(gateway, alices_key, say=["a", "b", "c", "d"], delay=0.05)

    seen = metrics(f"{gateway.url}/-/metrics")

    assert seen['moorage_gateway_requests_total{path="/v1/chat/completions",status="200"}'] == 1
    assert seen['moorage_gateway_outcomes_total{outcome="completed"}'] == 1
    assert seen['moorage_gateway_tokens_total{kind="output"}'] == 4
    assert seen["moorage_gateway_time_to_first_token_seconds_count"] == 1
    assert 0.04 < seen["moorage_gateway_time_between_tokens_seconds_sum"] < 5
    assert seen["moorage_gateway_request_seconds_sum"] > 0.15
    assert seen['moorage_gateway_queue_seconds_bucket{le="0.001"}'] == 1
    assert seen['moorage_gateway_replicas{breaker="closed"}'] == 1
    assert seen["moorage_gateway_journal_segments"] >= 1
    assert seen["moorage_gateway_journal_unsynced_bytes"] == 0
    assert seen["moorage_gateway_journal_healthy"] == 1


def test_no_tenants_name_and_no_id_of_theirs_is_in_the_metrics(
    gateway: GatewayProcess, control: ControlPlane, alices_key: str
) -> None:
    ask(gateway, alices_key)

    text = httpx.get(f"{gateway.url}/-/metrics").text + httpx.get(f"{gateway.url}/-/metrics/engines").text

    for word in (MODEL, "harbour", control.organization.pk, "dep_", "key_", alices_key):
        assert word not in text


def test_everything_the_dashboard_asks_for_is_told(
    gateway: GatewayProcess, alices_key: str, start_gateway: Start, short_tmp: Path
) -> None:
    from tests.gateway.certificates import Pair

    pair = Pair(short_tmp)
    pair.renew()
    ask(gateway, alices_key)
    told = {re.split(r"[{ ]", name)[0] for name in metrics(f"{gateway.url}/-/metrics")}
    with_tls = start_gateway(
        MOORAGE_GATEWAY_TLS_CERTIFICATE=str(pair.certificate), MOORAGE_GATEWAY_TLS_KEY=str(pair.key)
    )
    text = httpx.get(f"https://127.0.0.1:{with_tls.port}/-/metrics", verify=False).text
    told |= set(re.findall(r"^(moorage_gateway_tls_\w+) ", text, re.MULTILINE))

    asked = set(re.findall(r"moorage_gateway_\w+", DASHBOARD.read_text()))

    assert len(asked) > 20
    assert asked - told == set()


def test_the_dashboard_is_well_formed() -> None:
    dashboard = json.loads(DASHBOARD.read_text())

    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    assert all(panel["targets"] for panel in dashboard["panels"] if panel["type"] != "row")


def test_engines_metrics_are_merged_on_demand(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.metrics = "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 3\n"

    seen = metrics(f"{gateway.url}/-/metrics/engines")

    assert seen['moorage_engine_metrics_up{replica="rep_1"}'] == 1
    assert seen['llamacpp:requests_processing{replica="rep_1"}'] == 3


def test_operators_with_an_address_of_their_own_find_metrics_there_alone(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(MOORAGE_GATEWAY_METRICS="127.0.0.1:0")
    wait_until_knows(gateway, alices_key, MODEL)
    port = operators_port(gateway)
    own = f"http://127.0.0.1:{port}"

    assert metrics(f"{own}/-/metrics")["moorage_gateway_keys"] == 1
    assert "moorage_engine_metrics_up" in httpx.get(f"{own}/-/metrics/engines").text
    assert [httpx.get(f"{own}/-/{path}").status_code for path in ("healthz", "readyz", "other")] == [200, 200, 404]
    assert httpx.get(f"{own}/v1/models").status_code == 404
    assert httpx.post(f"{own}/-/metrics").status_code == 400
    shared = [httpx.get(f"{gateway.url}/-/{path}").status_code for path in ("metrics", "metrics/engines", "healthz")]
    assert shared == [404, 404, 200]


def test_each_worker_has_an_operators_address_of_its_own(start_gateway: Start, control: ControlPlane) -> None:
    first = start_gateway(MOORAGE_GATEWAY_METRICS="127.0.0.1:0")
    port = operators_port(first)

    second = start_gateway(MOORAGE_GATEWAY_METRICS=f"127.0.0.1:{port}")

    other = operators_port(second)
    assert other > port
    wait_until(lambda: httpx.get(f"http://127.0.0.1:{other}/-/readyz").status_code == 200)


@pytest.mark.parametrize(
    ("peer", "is_shown"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("10.0.0.1", False),
        ("1270.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1", False),
    ],
)
def test_without_such_an_address_metrics_are_for_this_machine(peer: str, is_shown: bool) -> None:
    assert is_for_operators(peer, has_own_address=False) is is_shown
    assert not is_for_operators(peer, has_own_address=True)
