"""Limits, networks and standings at a real gateway: they follow the database, and hold while it is away."""

import contextlib
import json
from collections.abc import Iterator

import psycopg
import pytest

from moorage.accounts import limits as accounts_limits
from moorage.accounts import services as accounts
from moorage.accounts.models import Allowance, ApiKey, Scope, Standing
from moorage.kernel import secrets
from moorage.wire.limits import Limits
from tests.cast import Cast
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, replica, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.storm import Answer, statuses, storm
from tests.waiting import wait_until


def one(gateway: GatewayProcess, key: str) -> Answer:
    """One call."""
    return storm(gateway.port, key, calls=1, model=MODEL, max_tokens=3)[0]


def limit(cast: Cast, **limits: int) -> None:
    """Limits Alice's organization."""
    organization = cast.alice.organization
    accounts_limits.set_limits(
        organization=organization, subject=organization.pk, limits=Limits(**limits), by=cast.alice.actor
    )


@pytest.fixture
def watchful(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway that sweeps all the time."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(MOORAGE_GATEWAY_RELOAD_SECONDS="0.2")
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


@pytest.fixture
def unheard(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection whose changes tell nobody."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


def test_a_limit_holds_within_a_second_and_is_gone_as_soon(
    gateway: GatewayProcess, committed_cast: Cast, alices_key: str
) -> None:
    assert one(gateway, alices_key).status == 200

    limit(committed_cast, requests_per_minute=0)
    wait_until(lambda: one(gateway, alices_key).status == 429, seconds=1)
    limit(committed_cast)
    wait_until(lambda: one(gateway, alices_key).status == 200, seconds=1)


def test_a_raised_budget_is_spendable_at_once_and_a_lowered_one_is_not(
    gateway: GatewayProcess, committed_cast: Cast, alices_key: str
) -> None:
    # The worst case of this request: the bytes of its body, and three tokens to come.
    size = 200
    limit(committed_cast, tokens_per_month=size)
    wait_until(lambda: "x-ratelimit-limit-tokens" in one(gateway, alices_key).headers, seconds=2)
    wait_until(lambda: one(gateway, alices_key).status == 429, seconds=10)

    limit(committed_cast, tokens_per_month=10 * size)
    wait_until(lambda: one(gateway, alices_key).status == 200, seconds=2)
    limit(committed_cast, tokens_per_month=1)
    wait_until(lambda: one(gateway, alices_key).status == 429, seconds=2)

    wait_until(lambda: Allowance.objects.get().leased == 0, seconds=10, what="what was at hand to go back")


def test_the_official_client_reads_the_limits_of_its_key(gateway: GatewayProcess, committed_cast: Cast) -> None:
    secret = committed_cast.alice.key(
        Scope.INFERENCE, name="limited", limits=Limits(requests_per_minute=50, tokens_per_minute=100_000)
    )
    wait_until_knows(gateway, secret, MODEL)

    with client_of(gateway, secret) as client:
        answer = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], max_tokens=3
        )
        stream = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], max_tokens=3, stream=True
        )

    assert answer.headers["x-ratelimit-limit-requests"] == "50"
    assert answer.headers["x-ratelimit-remaining-requests"] == "49"
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 100_000
    assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    assert int(stream.headers["x-ratelimit-remaining-requests"]) in {48, 49}, "as the worker knew a moment ago"


def test_a_key_is_refused_from_networks_that_are_not_its_own(gateway: GatewayProcess, committed_cast: Cast) -> None:
    here = committed_cast.alice.key(Scope.INFERENCE, name="here", networks=["127.0.0.0/8"])
    elsewhere = committed_cast.alice.key(
        Scope.INFERENCE, name="elsewhere", networks=["198.51.100.0/24", "2001:db8::/32"]
    )
    wait_until_knows(gateway, here, MODEL)

    refused = one(gateway, elsewhere)

    assert one(gateway, here).status == 200
    assert refused.status == 403
    assert json.loads(refused.body)["error"]["code"] == "network_not_allowed"


def test_a_suspension_is_one_row_and_reloads_no_key(
    gateway: GatewayProcess, committed_cast: Cast, alices_key: str
) -> None:
    wait_until(lambda: gateway.log.count("state_loaded") == 1, seconds=5)

    for standing, status in ((Standing.SUSPENDED, 402), (Standing.ACTIVE, 200)):
        accounts.set_standing(
            organization=committed_cast.alice.organization,
            standing=standing,
            reason="unpaid",
            by=committed_cast.alice.actor,
        )
        wait_until(lambda status=status: one(gateway, alices_key).status == status, seconds=1)  # type: ignore[misc]

    assert gateway.log.count("state_loaded") == 1


def test_what_no_notice_told_of_is_found_by_the_sweep(
    watchful: GatewayProcess, committed_cast: Cast, alices_key: str, unheard: psycopg.Connection
) -> None:
    secret = secrets.new_key()
    unheard.execute("CREATE TEMPORARY TABLE another AS SELECT * FROM api_key")
    unheard.execute("UPDATE another SET id = 'key_unheard', sha256 = %s", [secret.sha256])
    unheard.execute("INSERT INTO api_key SELECT * FROM another")
    wait_until_knows(watchful, secret.text, MODEL)

    unheard.execute("UPDATE api_key SET revoked_at = now() WHERE id = 'key_unheard'")
    wait_until(lambda: one(watchful, secret.text).status == 401, seconds=10)

    unheard.execute("UPDATE organization SET standing = 'suspended'")
    wait_until(lambda: one(watchful, alices_key).status == 402, seconds=10)
    assert ApiKey.objects.count() == 2


@contextlib.contextmanager
def away(database_url: str) -> Iterator[None]:
    """The database takes no connection and keeps none."""
    name = psycopg.sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]))
    allow = psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(database_url, dbname="postgres", autocommit=True) as other:
        other.execute(allow.format(name, psycopg.sql.SQL("false")))
        try:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'moorage-gateway'"
            )
            yield
        finally:
            other.execute(allow.format(name, psycopg.sql.SQL("true")))


def test_without_the_database_what_is_leased_is_served_and_not_one_call_more(
    gateway: GatewayProcess, committed_cast: Cast, alices_key: str, database_url: str
) -> None:
    limit(committed_cast, requests_per_minute=1000)
    wait_until(lambda: "x-ratelimit-limit-requests" in one(gateway, alices_key).headers, seconds=2)
    storm(gateway.port, alices_key, calls=100, model=MODEL, max_tokens=3)
    with away(database_url):
        wait_until(lambda: "leases_lost" in gateway.log, seconds=5)
        answers = storm(gateway.port, alices_key, calls=900, model=MODEL, max_tokens=3)

    assert statuses(answers).keys() == {200, 503}, "first what is at hand, then nothing"
    assert "limits_unavailable" in next(answer.body for answer in answers if answer.status == 503)
    wait_until(lambda: one(gateway, alices_key).status == 200, seconds=15)
    allowance = Allowance.objects.order_by("starts").last()
    assert allowance is not None
    assert allowance.used + allowance.leased <= 1000


def test_a_stream_that_is_cut_gives_back_what_it_did_not_use(
    gateway: GatewayProcess, engine: FakeEngine, committed_cast: Cast, alices_key: str
) -> None:
    limit(committed_cast, tokens_per_day=100_000)
    wait_until(lambda: "x-ratelimit-limit-tokens" in one(gateway, alices_key).headers, seconds=2)
    words = json.dumps({"say": [" w"] * 500, "delay": 0.05})
    with client_of(gateway, alices_key) as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": words}], max_tokens=2000, stream=True
        )
        next(iter(stream))
        stream.close()

    wait_until(lambda: 0 < Allowance.objects.get().used < 100, seconds=10)
    wait_until(lambda: Allowance.objects.get().leased == 0, seconds=15)
