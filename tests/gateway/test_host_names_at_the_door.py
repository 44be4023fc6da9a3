"""``<organization>.<domain>`` at a real gateway: a base URL that names an organization serves its keys alone."""

import httpx
import pytest

from tests.cast import Cast
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess

DOMAIN = "models.example.com"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Moor us"}]}


@pytest.fixture
def gateway(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway whose organizations have host names."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(MOORAGE_GATEWAY_DOMAIN=DOMAIN)
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


def ask(gateway: GatewayProcess, key: str, host: str) -> list[httpx.Response]:
    """A chat and the list of models, from one connection, under ``host``."""
    headers = {"Authorization": f"Bearer {key}", "Host": host}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as client:
        return [client.post("/v1/chat/completions", json=CHAT), client.get("/v1/models"), client.get("/v1/models")]


@pytest.mark.parametrize("host", [f"harbour.{DOMAIN}", f"HARBOUR.{DOMAIN}:8443", DOMAIN, "127.0.0.1:8401"])
def test_an_organization_is_served_under_its_own_name(gateway: GatewayProcess, alices_key: str, host: str) -> None:
    answers = ask(gateway, alices_key, host)

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [model["id"] for model in answers[1].json()["data"]] == [MODEL]


def test_under_anothers_name_and_under_nobodys_it_gets_the_same_refusal(
    gateway: GatewayProcess, alices_key: str, engine: FakeEngine
) -> None:
    anothers, nobodys = (ask(gateway, alices_key, f"{slug}.{DOMAIN}") for slug in ("island", "atlantis"))

    assert [answer.status_code for answer in anothers + nobodys] == [404] * 6
    assert {answer.json()["error"]["code"] for answer in anothers + nobodys} == {"unknown_host"}
    assert len({answer.json()["error"]["message"] for answer in anothers + nobodys}) == 1
    assert engine.seen == []


def test_a_name_does_not_stand_for_a_key(gateway: GatewayProcess, committed_cast: Cast) -> None:
    answers = ask(gateway, "mk_live_" + "a" * 39, f"harbour.{DOMAIN}")

    assert [answer.status_code for answer in answers] == [401, 401, 401]


def test_a_known_head_is_checked_again_for_each_request(
    gateway: GatewayProcess, alices_key: str, committed_cast: Cast
) -> None:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        own = {"Authorization": f"Bearer {alices_key}", "Host": f"harbour.{DOMAIN}"}
        statuses = [
            client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code
            for headers in (own, own, {**own, "Host": f"island.{DOMAIN}"}, own)
        ]

    assert statuses == [200, 200, 404, 200]


def test_a_domain_that_is_none_is_refused_at_the_start(start_gateway: Start, database_url: str, short_tmp) -> None:
    failed = GatewayProcess.refused(
        database_url=database_url, directory=short_tmp, MOORAGE_GATEWAY_DOMAIN="http://models.example.com"
    )

    assert "MOORAGE_GATEWAY_DOMAIN" in failed
