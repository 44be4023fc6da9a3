"""Traces as a real collector receives them: OTLP over HTTP, decoded with OpenTelemetry's own protobuf."""

import http.server
import threading
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from moorage.gateway.traces import Parent, Traces, parent_of
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until
from tests.wire.events import event

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CANARY = "cormorant-over-the-mole"


class Collector(http.server.ThreadingHTTPServer):
    """Takes traces on a port of its own; holds its answers back while ``go`` is clear."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.requests: list[ExportTraceServiceRequest] = []
        self.content = b""
        self.go = threading.Event()
        self.go.set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.go.set()
        self.shutdown()
        self.server_close()
        self._thread.join(10)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def trace_of(self, request_id: str) -> dict[str, Span]:
        """All spans of one request by name, once its own is there."""

        def found() -> dict[str, Span]:
            spans = self.spans
            own = [span for span in spans if attributes(span).get("moorage.request.id") == request_id]
            return {span.name: span for span in spans if own and span.trace_id == own[0].trace_id}

        return wait_until(found, seconds=15)


class Taking(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.go.wait(60)
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.server.content += content
        self.server.requests.append(ExportTraceServiceRequest.FromString(content))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def gateway(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, collector: Collector, alices_key: str
) -> GatewayProcess:
    """A gateway that tells the collector of Alice's requests."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


def attributes(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def ask(gateway: GatewayProcess, key: str, content: str = "Moor us", **headers: str) -> str:
    """One streamed chat; returns its request id."""
    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": MODEL, "stream": True, "messages": [{"role": "user", "content": content}]},
        headers={"Authorization": f"Bearer {key}", **headers},
        timeout=30,
    )
    assert answer.status_code == 200
    return answer.headers["x-request-id"]


def test_a_request_is_one_trace_from_the_first_byte_to_the_last(
    gateway: GatewayProcess, collector: Collector, alices_key: str
) -> None:
    request_id = ask(gateway, alices_key, script(say=[CANARY, " sleeps"]))

    trace = collector.trace_of(request_id)
    event = gateway.event(request_id)

    own, engine = trace["POST /v1/chat/completions"], trace["engine"]
    assert (own.start_time_unix_nano, own.end_time_unix_nano) == (event.started_at_us * 1000, event.ended_at_us * 1000)
    assert engine.parent_span_id == own.span_id
    assert own.parent_span_id == b""
    assert [(each.name, each.time_unix_nano) for each in engine.events] == [
        ("first_token", (event.first_token_at_us or 0) * 1000)
    ]
    assert [each.name for each in own.events] == ["done"]
    told = attributes(own)
    assert told["gen_ai.usage.output_tokens"] == event.output_tokens
    assert told["moorage.organization.id"] == event.organization_id
    assert CANARY.encode() not in collector.content
    assert MODEL.encode() not in collector.content
    assert alices_key.encode() not in collector.content


def test_the_clients_trace_is_continued_and_its_wish_not_to_sample_is_obeyed(
    gateway: GatewayProcess, collector: Collector, alices_key: str
) -> None:
    unwanted = ask(gateway, alices_key, traceparent=f"00-{TRACE}-{PARENT}-00")
    wanted = ask(gateway, alices_key, traceparent=f"00-{TRACE}-{PARENT}-01")

    own = collector.trace_of(wanted)["POST /v1/chat/completions"]

    assert (own.trace_id.hex(), own.parent_span_id.hex()) == (TRACE, PARENT)
    assert unwanted not in {attributes(span).get("moorage.request.id") for span in collector.spans}


def test_a_request_that_woke_a_model_shows_its_time_in_the_queue(
    gateway: GatewayProcess, control: ControlPlane, engine: FakeEngine, collector: Collector, alices_key: str
) -> None:
    control.put_route(name="harbour/sleeper", status="idle")
    wait_until_knows(gateway, alices_key, "harbour/sleeper")
    ids: list[str] = []

    def wait_for_an_answer() -> None:
        answer = httpx.post(
            f"{gateway.url}/v1/chat/completions",
            json={"model": "harbour/sleeper", "messages": [{"role": "user", "content": "Wake up"}]},
            headers={"Authorization": f"Bearer {alices_key}"},
            timeout=30,
        )
        ids.append(answer.headers["x-request-id"])

    caller = threading.Thread(target=wait_for_an_answer)
    caller.start()
    wait_until(lambda: control.rows("SELECT 1 FROM wake"))
    control.put_route(name="harbour/sleeper", replicas=(replica(engine, 2),))
    caller.join(30)

    trace = collector.trace_of(ids[0])

    queue, event = trace["queue"], gateway.event(ids[0])
    assert (queue.end_time_unix_nano - queue.start_time_unix_nano) // 1000 == event.held_us > 0
    assert [each.name for each in queue.events] == ["wake"]
    assert trace["engine"].start_time_unix_nano == queue.end_time_unix_nano


def test_a_collector_that_hangs_keeps_no_request_waiting(
    gateway: GatewayProcess, collector: Collector, alices_key: str
) -> None:
    collector.go.clear()

    for _ in range(10):
        ask(gateway, alices_key)

    assert len(wait_until(gateway.events)) == 10
    assert collector.requests == []


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE}-{PARENT}-01", Parent(int(TRACE, 16), int(PARENT, 16), True)),
        (f"00-{TRACE}-{PARENT}-02", Parent(int(TRACE, 16), int(PARENT, 16), False)),
        ("", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-01-more", None),
    ],
)
def test_traceparent_is_read_strictly(header: str, parent: Parent | None) -> None:
    assert parent_of(header.encode()) == parent


def test_what_cannot_be_exported_in_time_is_dropped_and_counted() -> None:
    traces = Traces(make=lambda _told: [], export=lambda _spans: False)

    for _ in range(5000):
        traces.tell(event())
    overflow = traces.dropped
    traces.start()
    traces.stop()

    assert overflow == 5000 - 4096
    assert (traces.exported, traces.dropped) == (0, 5000)
