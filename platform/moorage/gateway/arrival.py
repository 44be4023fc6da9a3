"""A billable request until its engine hears of it: admitted, held where nobody can take it, opened, sent."""

import math
import time
from typing import Final

from moorage.gateway import cache_salt, errors
from moorage.gateway.admission import FREE_HOLD, Hold
from moorage.gateway.body import Body
from moorage.gateway.client import Client
from moorage.gateway.engine_call import Answered, EngineCall
from moorage.gateway.errors import JournalUnavailable, NotServing
from moorage.gateway.event_templates import Template
from moorage.gateway.fair_queue import WEIGHTS
from moorage.gateway.holding import not_serving_sentence, waiting_comment
from moorage.gateway.operation import Operation, StreamFilter
from moorage.gateway.parts import Parts
from moorage.gateway.routes import is_serving, is_waking
from moorage.kernel.errors import PlatformError
from moorage.wire.records import KeyGrant, Outcome, Route, UsageEvent

_time_ns: Final = time.time_ns


class Arrival(Answered):
    """The half of an exchange that comes first. A Waiter while held, an Asker for its hold."""

    # Most requests never touch these: what is the same for all of them at first is the class's, and costs them nothing.
    hold_until = 0.0
    #: The client's span, where traces are taken.
    traceparent = b""
    #: How it was settled, once it is.
    event: UsageEvent | None = None
    #: Of its event, from when the journal has its open.
    _template: Template | None = None
    _tokens = 1
    _hold: Hold = FREE_HOLD
    _held_at: float | None = None
    _held_us = 0
    _comment_at = 0.0
    _is_over = False  # it is settled
    _status = 0
    _pieces: list[bytes] | None = None
    _size = 0
    _filter: StreamFilter | None = None
    _has_begun = False  # the client has a head
    _first_token_us: int | None = None
    _done_at: float | None = None
    _stalled_at: float | None = None
    _ends_at = 0.0
    _has_woken = False

    def __init__(
        self,
        parts: Parts,
        client: Client,
        request_id: str,
        grant: KeyGrant,
        operation: Operation,
        body: Body,
        route: Route,
        wait_seconds: float,
        content_size: int,
    ) -> None:
        self.request_id = request_id
        self.key_id = grant.id
        self.expires_at = grant.expires_at
        self._grant = grant
        self._parts = parts
        self._loop = parts.loop
        self._client = client
        self._operation = operation
        self._body = body
        self._route = route
        self._wait_seconds = wait_seconds
        self._content_size = content_size
        self._content = b""
        self._started_us = _time_ns() // 1000
        self._call = EngineCall(parts, self)

    # -- before the engine

    def start(self) -> None:
        """Admit the request: hold it, send it, or refuse it. Raises PlatformError when it does not even begin."""
        parts, route, body = self._parts, self._route, self._body
        if not parts.journal.admit():
            raise JournalUnavailable
        self._content = self._operation.for_engine(body, route, cache_salt=cache_salt.of(route.organization_id))
        most_in, most_out = self._operation.worst(body, route, self._content_size)
        hold = parts.admission.take(self, self._grant, route, input_tokens=most_in, output_tokens=most_out)
        self._goes_live()
        self._call.activity = parts.activity.arrived(route, self._started_us)
        if hold is not None:
            self.admitted(hold)

    def admitted(self, hold: Hold) -> None:
        """Admission says that the request is paid for, whatever it will cost."""
        self._hold = hold
        parts, route, body = self._parts, self._route, self._body
        answers = body.choices * body.inputs
        self._tokens = parts.pool.estimate(route.id, len(self._content), body.output_limit, answers)
        if is_serving(route):
            self._dispatch()
        elif is_waking(route):
            self._wait()
        else:
            self._end(NotServing(not_serving_sentence(route)), "refused")

    def not_admitted(self, error: PlatformError) -> None:
        """Admission says that there is no hold to be had."""
        self._parts.access_log.write(
            "request_refused",
            request=self.request_id,
            path=self._body.path,
            status=error.status_code,
            code=error.code,
            key=self._grant.id,
        )
        self._leave(error)

    def _wait(self) -> None:
        now = self._loop.time()
        self._held_at = now
        self._has_woken = self._route.status == "idle"
        self.hold_until = now + self._wait_seconds
        self._comment_at = now + self._parts.settings.hold_first_comment_seconds
        try:
            self._parts.holding.add(
                self,
                self._route,
                organization_id=self._grant.organization_id,
                key_id=self.key_id,
                tokens=self._tokens,
                weight=WEIGHTS.get(self._grant.priority, WEIGHTS["normal"]),
            )
        except errors.QueueFull as full:
            self._held_at = None
            self._end(full, "refused")
            return
        self._parts.metrics.held += 1
        if self._call.activity.waits(self.request_id):
            self._parts.activity.is_urgent = True
        if not self._wait_seconds:
            # The clock is looked at a few times a second; a replica that wakes faster would answer who does not wait.
            self._parts.holding.lose_patience(self, self._route.id)

    def still_waiting(self, now: float) -> None:
        """Holding says that time passes: a stream gets its head and a comment, so that nobody's proxy hangs up."""
        if self._body.is_stream and now >= self._comment_at:
            self._comment_at = now + self._parts.settings.hold_comment_seconds
            self._forward(waiting_comment(self._parts.routes.get(self._route.id) or self._route, time.time()))

    def released(self, route: Route) -> None:
        """Holding says that a replica is there."""
        self._stop_waiting()
        try:
            if route is not self._route:
                self._route = route
                salt = cache_salt.of(route.organization_id)
                self._content = self._operation.for_engine(self._body, route, cache_salt=salt)
        except errors.BadRequest as refusal:
            self._end(refusal, "refused")
            return
        if not self._parts.journal.admit():
            self._end(JournalUnavailable(), "refused")
            return
        self._dispatch()

    def gave_up(self, error: PlatformError) -> None:
        """Holding says that it will not be served."""
        self._stop_waiting()
        self._end(error, "refused")

    def _stop_waiting(self) -> None:
        if self._held_at is not None:
            self._held_us = int((self._loop.time() - self._held_at) * 1_000_000)
            self._held_at = None
            self._parts.metrics.held -= 1
            self._call.activity.waits_no_more(self.request_id)

    def _dispatch(self) -> None:
        if not self._call.choose(self._route, self._content, self._tokens):
            self._no_place()
            return
        template = self._template = self._template_now()
        form = template.opening(self._revision_id(), self._call.replica_id)
        record = form.record(self.request_id, self._started_us)
        self._parts.journal.open_as(self.request_id, record, self._opened)

    def _no_place(self) -> None:
        parts, route, now = self._parts, self._route, self._loop.time()
        match parts.pool.refusal(route, now):
            case "full":
                self._wait()
            case "broken":
                seconds = math.ceil(parts.pool.seconds_to_trial(route.id, now))
                self._end(errors.EngineResting(retry_after=max(1, seconds)), "refused")
            case "gone":
                now_known = parts.routes.get(route.id)
                if now_known is not None and is_waking(now_known):
                    # Its replicas left while the request was admitted: another is on its way.
                    self._route = now_known
                    self._wait()
                else:
                    self.engine_unreachable()

    def _opened(self, is_written: bool) -> None:
        if self._is_over:
            return
        if not is_written:
            self._leave(JournalUnavailable())
            return
        content, self._content = self._content, b""
        path = self._operation.engine_paths[self._route.engine]
        self._call.send(
            b"POST %b HTTP/1.1\r\nHost: runner\r\nContent-Type: application/json\r\n"
            b"X-Request-Id: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (path.encode(), self.request_id.encode(), len(content), content)
        )

    def _revision_id(self) -> str:
        return self._call.revision_id or self._route.revision_id

    def _template_now(self) -> Template:
        return self._parts.templates.of(self._route, self.key_id, self._operation.path, self._body.is_stream)

    def _begin_stream(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._client.begin_stream(self._hold.headers)

    def _forward(self, data: bytes) -> None:
        self._begin_stream()
        self._client.send_stream(data)

    # -- the other half

    def _goes_live(self) -> None:
        raise NotImplementedError

    def _end(self, error: PlatformError, outcome: Outcome) -> None:
        raise NotImplementedError

    def _leave(self, error: PlatformError) -> None:
        raise NotImplementedError
