"""Keys and routes follow the database within a second, and the gateway outlives it."""

import datetime as dt

import openai
import psycopg
import pytest

from moorage.accounts import services as accounts
from moorage.accounts.models import ApiKey, Scope, Standing
from moorage.kernel import clock, secrets
from tests.cast import Cast
from tests.gateway.conftest import MODEL, ControlPlane, client_of, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until


def key_of(secret: str) -> ApiKey:
    return ApiKey.objects.get(sha256=secrets.digest(secret))


def is_refused(gateway: GatewayProcess, secret: str) -> bool:
    with client_of(gateway, secret) as client:
        try:
            client.models.list()
        except openai.AuthenticationError:
            return True
    return False


def test_a_revoked_key_is_refused_within_a_second(
    gateway: GatewayProcess, committed_cast: Cast, alices_key: str
) -> None:
    other = committed_cast.alice.key(name="other")
    wait_until_knows(gateway, other, MODEL)

    accounts.revoke_key(key=key_of(alices_key), by=committed_cast.alice.actor)

    wait_until(lambda: is_refused(gateway, alices_key), seconds=1)
    assert not is_refused(gateway, other)


def test_a_revoked_keys_stream_is_cut_and_settled_for_what_was_delivered(
    gateway: GatewayProcess, engine: FakeEngine, client: openai.OpenAI, committed_cast: Cast, alices_key: str
) -> None:
    words = [" w"] * 5000
    stream = client.chat.completions.create(model=MODEL, messages=ask(script(say=words, delay=0.01)), stream=True)
    received = 0
    for chunk in stream:
        received += bool(chunk.choices[0].delta.content)
        if received == 5:
            break
    accounts.revoke_key(key=key_of(alices_key), by=committed_cast.alice.actor)

    with pytest.raises(openai.APIError, match="revoked"):
        for chunk in stream:
            received += bool(chunk.choices[0].delta.content)

    event = gateway.only_event()
    assert (event.outcome, event.status) == ("refused", 200)
    # The whole would take 50 s at the engine's pace; it ended long before.
    assert received <= event.output_tokens < 2500
    wait_until(lambda: engine.seen[0].is_cut, seconds=5)


def test_a_key_without_the_scope_is_refused(gateway: GatewayProcess, committed_cast: Cast) -> None:
    secret = committed_cast.alice.key(Scope.MANAGE, name="manage")
    wait_until(lambda: not is_refused_as(gateway, secret, openai.AuthenticationError), seconds=10)

    assert is_refused_as(gateway, secret, openai.PermissionDeniedError)


def is_refused_as(gateway: GatewayProcess, secret: str, kind: type[openai.APIStatusError]) -> bool:
    with client_of(gateway, secret) as client:
        try:
            client.models.list()
        except kind:
            return True
        except openai.APIStatusError:
            return False
    return False


def test_a_key_for_some_models_knows_no_others(
    gateway: GatewayProcess, control: ControlPlane, engine: FakeEngine, committed_cast: Cast
) -> None:
    control.put_route(name="harbour/tug", replicas=(replica(engine),))
    secret = committed_cast.alice.key(Scope.INFERENCE, name="tug only", served_names=["harbour/tug"])
    wait_until_knows(gateway, secret, "harbour/tug")

    with client_of(gateway, secret) as client:
        assert [model.id for model in client.models.list()] == ["harbour/tug"]
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=MODEL, messages=ask("hello"))


def test_a_suspended_organization_is_told_to_pay(
    gateway: GatewayProcess, committed_cast: Cast, alices_key: str
) -> None:
    accounts.set_standing(
        organization=committed_cast.alice.organization,
        standing=Standing.SUSPENDED,
        reason="unpaid",
        by=committed_cast.alice.actor,
    )

    def status() -> int:
        with client_of(gateway, alices_key) as client:
            try:
                client.models.list()
            except openai.APIStatusError as refused:
                return refused.status_code
        return 200

    wait_until(lambda: status() == 402, seconds=2)


def test_an_expired_key_is_refused_without_a_word_from_the_database(
    gateway: GatewayProcess, committed_cast: Cast
) -> None:
    soon = clock.now() + dt.timedelta(seconds=2)
    secret = committed_cast.alice.key(name="brief", expires_at=soon)
    wait_until_knows(gateway, secret, MODEL)

    wait_until(lambda: is_refused(gateway, secret), seconds=5)
    assert clock.now() >= soon


def test_the_gateway_serves_while_its_database_connections_are_cut_and_catches_up(
    gateway: GatewayProcess, client: openai.OpenAI, database_url: str, committed_cast: Cast, alices_key: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'moorage-gateway'"
        )
    answer = client.chat.completions.create(model=MODEL, messages=ask("hello"))
    accounts.revoke_key(key=key_of(alices_key), by=committed_cast.alice.actor)

    assert answer.choices[0].message.content == "Tied up well"
    wait_until(lambda: is_refused(gateway, alices_key), seconds=10)
    assert "database_lost" in gateway.log
