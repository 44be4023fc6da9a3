"""TLS in the gateway itself: what is shown, what is refused, and a certificate that changes under running streams."""

import contextlib
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.gateway.certificates import Pair, serial_of, trusting_all
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

HEALTH = b"GET /-/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def pair(short_tmp: Path) -> Pair:
    pair = Pair(short_tmp)
    pair.renew()
    return pair


@pytest.fixture
def gateway(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, pair: Pair, alices_key: str
) -> GatewayProcess:
    """A gateway that speaks TLS and serves Alice's model."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(
        MOORAGE_GATEWAY_TLS_CERTIFICATE=str(pair.certificate), MOORAGE_GATEWAY_TLS_KEY=str(pair.key)
    )
    wait_until(lambda: hello(gateway, b"/-/readyz").startswith(b"HTTP/1.1 200 "), seconds=15)
    return gateway


@pytest.fixture
def client(gateway: GatewayProcess, pair: Pair, alices_key: str) -> Iterator[openai.OpenAI]:
    """The official client, which trusts the first certificate and no other."""
    trusting = ssl.create_default_context(cafile=str(pair.certificate))
    with openai.OpenAI(
        base_url=f"https://localhost:{gateway.port}/v1",
        api_key=alices_key,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=trusting),
    ) as client:
        yield client


@contextlib.contextmanager
def connected(
    gateway: GatewayProcess, context: ssl.SSLContext | None = None, *, name: str | None = "localhost"
) -> Iterator[ssl.SSLSocket]:
    with (
        gateway.connect() as plug,
        (context or trusting_all()).wrap_socket(plug, server_hostname=name) as connection,
    ):
        yield connection


def hello(gateway: GatewayProcess, path: bytes = b"/-/healthz") -> bytes:
    with connected(gateway) as connection:
        connection.sendall(HEALTH.replace(b"/-/healthz", path))
        return connection.recv(65536)


def shown(gateway: GatewayProcess, *, name: str | None = "localhost") -> int:
    with connected(gateway, name=name) as connection:
        return serial_of(connection)


def test_the_official_client_is_served_over_tls(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Moor us"}])
    stream = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Moor us"}], stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert whole.choices[0].message.content == said == "Tied up well"
    wait_until(lambda: len(gateway.events()) == 2)


def test_http_1_1_is_agreed_on_and_nothing_below_tls_1_2(gateway: GatewayProcess) -> None:
    asking = trusting_all()
    asking.set_alpn_protocols(["h2", "http/1.1"])
    old = trusting_all()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    with connected(gateway, asking) as connection:
        agreed, version = connection.selected_alpn_protocol(), connection.version()
    with pytest.raises((ssl.SSLError, ConnectionError)), connected(gateway, old):
        pass

    assert (agreed, version) == ("http/1.1", "TLSv1.3")


def test_plain_http_is_not_answered_where_tls_is_spoken(gateway: GatewayProcess) -> None:
    assert b"HTTP/1.1 200" not in gateway.exchange(HEALTH)


def test_a_new_certificate_serves_new_connections_while_a_stream_goes_on(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine, pair: Pair
) -> None:
    words = [f" {number}" for number in range(40)]
    stream = iter(
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": script(say=words, delay=0.1)}], stream=True
        )
    )
    first = next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    with connected(gateway) as kept_open:
        kept_open.sendall(HEALTH)
        assert kept_open.recv(65536).startswith(b"HTTP/1.1 200 ")

        serial = pair.renew()
        wait_until(lambda: shown(gateway) == serial, seconds=10)
        sent = engine.seen[-1].sent

        kept_open.sendall(HEALTH)
        assert kept_open.recv(65536).startswith(b"HTTP/1.1 200 ")
    said = (first.choices[0].delta.content or "") + "".join(
        chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices
    )

    assert sent < len(words), "the stream had ended before the certificate changed"
    assert said == "".join(words)
    # By its address too, where a client names no host.
    assert shown(gateway, name=None) == serial
    assert "tls_certificate_loaded" in gateway.log


def test_files_that_cannot_be_used_keep_the_old_certificate_and_are_told_of_once(
    gateway: GatewayProcess, pair: Pair
) -> None:
    good = pair.certificate.read_bytes()
    pair.certificate.write_bytes(good[: len(good) // 2])
    wait_until(lambda: "tls_certificate_refused" in gateway.log, seconds=10)
    before = shown(gateway)

    serial = pair.renew()
    wait_until(lambda: shown(gateway) == serial, seconds=10)

    assert before == 1
    assert gateway.log.count("tls_certificate_refused") == 1
    assert "PRIVATE KEY" not in gateway.log
    metrics = httpx.get(f"https://localhost:{gateway.port}/-/metrics", verify=trusting_all()).text
    assert "moorage_gateway_tls_reload_failures_total 1.0" in metrics
    assert "moorage_gateway_tls_certificate_expires_timestamp_seconds" in metrics


def test_sighup_reads_the_files_at_once(gateway: GatewayProcess, pair: Pair) -> None:
    serial = pair.renew()

    gateway.process.send_signal(signal.SIGHUP)

    wait_until(lambda: shown(gateway) == serial, seconds=10)
    assert gateway.process.poll() is None


def test_a_handshake_that_never_ends_is_given_up(gateway: GatewayProcess) -> None:
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(b"\x16\x03\x01")
        plug.settimeout(15)

        with contextlib.suppress(ConnectionResetError):
            assert plug.recv(1024) == b""


def test_a_gateway_does_not_start_with_a_key_of_another_certificate(short_tmp: Path, database_url: str) -> None:
    directories = [short_tmp / "one", short_tmp / "other"]
    pairs = []
    for directory in directories:
        directory.mkdir()
        pairs.append(Pair(directory))
        pairs[-1].renew()

    failed = GatewayProcess.refused(
        database_url=database_url,
        directory=short_tmp,
        MOORAGE_GATEWAY_TLS_CERTIFICATE=str(pairs[0].certificate),
        MOORAGE_GATEWAY_TLS_KEY=str(pairs[1].key),
    )

    assert "MOORAGE_GATEWAY_TLS_CERTIFICATE" in failed


def test_one_file_without_the_other_is_refused(short_tmp: Path, database_url: str, pair: Pair) -> None:
    failed = GatewayProcess.refused(
        database_url=database_url, directory=short_tmp, MOORAGE_GATEWAY_TLS_CERTIFICATE=str(pair.certificate)
    )

    assert "MOORAGE_GATEWAY_TLS_KEY" in failed
