"""What a kept connection remembers: of its client's head, of its engine's; and what it must not."""

import json
import re

from moorage.accounts.models import ApiKey
from moorage.kernel import clock
from tests.gateway.conftest import MODEL, script
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until


def post(key: str, *, say: list[str], length: str = "", more: str = "") -> bytes:
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": script(say=say)}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {length or len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


class Connection:
    """Asks again and again on one socket."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._plug = gateway.connect()
        self._file = self._plug.makefile("rb")

    def ask(self, request: bytes) -> tuple[int, bytes]:
        self._plug.sendall(request)
        status = int(self._file.readline().split()[1])
        length = 0
        while (line := self._file.readline()) != b"\r\n":
            if found := re.match(rb"(?i)content-length: (\d+)", line):
                length = int(found[1])
        return status, self._file.read(length)

    def close(self) -> None:
        self._file.close()
        self._plug.close()


def test_requests_of_many_lengths_on_one_connection_are_each_answered_with_their_own(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    connection = Connection(gateway)
    texts = ["a" * size for size in (1, 9, 10, 99, 100, 5000, 1, 70_000)]

    answers = [connection.ask(post(alices_key, say=[text])) for text in texts]

    connection.close()
    assert [status for status, _ in answers] == [200] * len(texts)
    assert [json.loads(answer)["choices"][0]["message"]["content"] for _, answer in answers] == texts
    assert engine.connections == 1


def test_a_length_that_does_not_fit_the_known_head_is_judged_like_any_other(
    gateway: GatewayProcess, alices_key: str
) -> None:
    connection = Connection(gateway)
    assert connection.ask(post(alices_key, say=["a"]))[0] == 200

    status, answer = connection.ask(post(alices_key, say=["a"], length="99999999999"))

    connection.close()
    assert status == 413, answer


def test_another_header_makes_another_head(gateway: GatewayProcess, alices_key: str) -> None:
    connection = Connection(gateway)
    assert connection.ask(post(alices_key, say=["a"]))[0] == 200

    status, answer = connection.ask(post(alices_key, say=["a"], more="X_Tenant: other\r\n"))

    connection.close()
    assert status == 400 and b"underscore" in answer


def test_a_key_that_is_revoked_is_refused_on_a_connection_that_has_used_it(
    gateway: GatewayProcess, alices_key: str
) -> None:
    connection = Connection(gateway)
    assert connection.ask(post(alices_key, say=["a"]))[0] == 200
    ApiKey.objects.update(revoked_at=clock.now())

    def is_refused() -> bool:
        try:
            return connection.ask(post(alices_key, say=["a"]))[0] == 401
        except (IndexError, ConnectionError):
            return True

    wait_until(is_refused, seconds=5, what="the revoked key to be refused")
    connection.close()


def test_an_engine_that_answers_differently_under_the_same_kind_of_head_is_understood(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    connection = Connection(gateway)
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": json.dumps({"fault": "400"})}]}
    ).encode()
    refused = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {alices_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    statuses = [connection.ask(post(alices_key, say=["a"]))[0], connection.ask(refused)[0]]
    statuses.append(connection.ask(post(alices_key, say=["b"]))[0])

    connection.close()
    assert statuses == [200, 400, 200]
    assert engine.connections == 1
