"""One billable request from its admission to its settlement, as a small machine that callbacks drive.

    admitted -> (held ->) opened in the journal -> sent -> answered -> settled in the journal -> last bytes out

Whatever happens on the way, exactly one usage event comes of it: :meth:`Exchange._settle` runs once.
"""

import math
import time
from typing import Final

from msgspec.structs import replace

from moorage.gateway import cache_salt, errors
from moorage.gateway.admission import FREE_HOLD, Hold
from moorage.gateway.client import Client
from moorage.gateway.counts import Settled
from moorage.gateway.engine_call import EngineCall
from moorage.gateway.errors import EngineFailed, JournalUnavailable, NotServing
from moorage.gateway.fair_queue import WEIGHTS
from moorage.gateway.holding import not_serving_sentence, waiting_comment
from moorage.gateway.operation import Operation, StreamFilter
from moorage.gateway.parts import Parts
from moorage.gateway.request_body import Body
from moorage.gateway.routes import is_serving, is_waking
from moorage.gateway.sse import FrameTooLarge
from moorage.gateway.usage import NOTHING, Meter
from moorage.kernel.errors import PlatformError
from moorage.wire.journal import Progress
from moorage.wire.records import KeyGrant, Outcome, Route, UsageEvent

#: What is recorded as status when the client left before any answer (nginx's convention).
CLIENT_GONE_STATUS: Final = 499
#: How long after its last event the engine may take to end the body.
_DONE_SECONDS: Final = 1.0
#: What stands for the body of a stream that has begun.
_SPENT: Final = Body(path="", model="", members={}, is_stream=True, wants_usage=False)
_TOO_LARGE: Final = EngineFailed("The model's answer is larger than can be passed on.")


class Exchange:
    """Owned by its client connection. A Waiter while held, an Asker for its hold, the caller of its EngineCall."""

    # Most requests never touch these: what is the same for all of them at first is the class's, and costs them nothing.
    hold_until = 0.0
    #: The client's span, where traces are taken.
    traceparent = b""
    #: How it was settled, once it is.
    event: UsageEvent | None = None
    #: The event as the journal's open has it.
    _draft: UsageEvent | None = None
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
        self._started_us = time.time_ns() // 1000
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
        parts.live.add(self)
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
        self._draft = self._event()
        self._parts.journal.open(self._draft, self._opened)

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

    # -- the engine's answer

    def answer_began(self, status: int, media_type: bytes) -> None:
        """The engine's head is complete."""
        self._status = status
        if status == 200 and self._body.is_stream and media_type == b"text/event-stream":
            body = self._body
            meter = Meter(context_size=self._route.context_size, choices=body.choices * body.inputs)
            self._filter = self._operation.stream(meter, body)
            # The prompt is not needed any more, and a stream may be long.
            self._body = _SPENT

    def answer_came(self, pieces: list[bytes]) -> None:
        """What came of the engine's body in one read."""
        stream = self._filter
        if stream is None:
            self._size += sum(map(len, pieces))
            if self._size > self._parts.settings.max_answer_bytes:
                self._engine_failed(_TOO_LARGE)
            elif self._pieces is None:
                self._pieces = pieces.copy()
            else:
                self._pieces.extend(pieces)
            return
        try:
            ready = stream.feed_pieces(pieces)
        except FrameTooLarge:
            self._engine_failed(EngineFailed())
            return
        if ready:
            if self._first_token_us is None and stream.meter.frames:
                self._first_token_us = time.time_ns() // 1000
            if self._has_begun:
                self._client.send_stream(ready)
            else:
                self._forward(ready)
        if stream.has_error:
            self._engine_failed(EngineFailed())
        elif stream.is_done and self._done_at is None:
            self._done_at = self._loop.time()

    def answer_ended(self) -> None:
        """The engine's body is complete."""
        if self._filter is not None:
            self._settle("completed", 200, self._filter.meter.settle())
            return
        self.answer_whole(self._status, b"".join(self._pieces or ()))

    def answer_whole(self, status: int, content: bytes) -> None:
        """The engine's answer, in one piece."""
        if len(content) > self._parts.settings.max_answer_bytes:
            self._engine_failed(_TOO_LARGE)
            return
        try:
            answer = self._operation.whole(status, content, self._body, self._route)
        except PlatformError as error:
            was_refused = isinstance(error, errors.EngineRefused | errors.EngineBusy)
            self._end(error, "refused" if was_refused else "engine_failed")
            return
        self._settle("completed", 200, answer.settled, None, answer.content)

    def answer_lost(self) -> None:
        """The connection to the engine broke."""
        if self._filter is not None and self._filter.is_done:
            self.answer_ended()
        else:
            self._engine_failed(EngineFailed())

    def engine_unreachable(self) -> None:
        """No replica could be connected to."""
        self._engine_failed(errors.EngineUnreachable())

    def _engine_failed(self, error: PlatformError) -> None:
        self._end(error, "engine_failed")

    # -- the client

    def client_gone(self) -> None:
        """The client closed its connection: the engine stops, what was delivered is settled."""
        if not self._is_over:
            self._settle("client_gone", 200 if self._has_begun else CLIENT_GONE_STATUS, self._delivered())

    def client_stalled(self) -> None:
        """The client's buffer is full: take no more from the engine."""
        if self._stalled_at is None:
            self._stalled_at = self._loop.time()
        self._call.pause()

    def client_resumed(self) -> None:
        """The client takes again."""
        self._stalled_at = None
        self._call.resume()

    def cut(self, error: PlatformError, outcome: Outcome) -> None:
        """End it now for a reason of ours: the key was revoked, the gateway stops."""
        if not self._is_over:
            self._end(error, outcome)

    def tick(self, now: float) -> None:
        """Check the clocks; ``now`` is the loop's time."""
        settings = self._parts.settings
        if self._is_over:
            return
        self._ends_at = self._ends_at or now + settings.total_seconds
        if now > self._ends_at:
            self.cut(errors.TookTooLong(), "refused")
        elif self._stalled_at is not None:
            if now - self._stalled_at > settings.stall_seconds:
                self._client.abort()
        elif self._done_at is not None:
            if now - self._done_at > _DONE_SECONDS:
                self.answer_ended()
        elif self._call.is_waiting and now - self._call.heard_at > settings.engine_silence_seconds:
            self._engine_failed(errors.EngineSilent())

    def progress(self) -> Progress | None:
        """For the journal's checkpoint: what was delivered so far, if anything was."""
        if self._is_over or self._filter is None:
            return None
        settled = self._filter.meter.settle()
        if settled.source == "none":
            return None
        return Progress(
            request_id=self.request_id,
            input_tokens=settled.input_tokens,
            cached_tokens=settled.cached_tokens,
            output_tokens=settled.output_tokens,
            source=settled.source,
            at_us=time.time_ns() // 1000,
        )

    def _forward(self, data: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._client.begin_stream(self._hold.headers)
        self._client.send_stream(data)

    # -- the end

    def _delivered(self) -> Settled:
        return self._filter.meter.settle() if self._filter is not None else NOTHING

    def _end(self, error: PlatformError, outcome: Outcome) -> None:
        """Settle what was delivered and tell the client why there is no more."""
        self._settle(outcome, 200 if self._has_begun else error.status_code, self._delivered(), error)

    def _settle(
        self,
        outcome: Outcome,
        status: int,
        settled: Settled,
        error: PlatformError | None = None,
        content: bytes | None = None,
    ) -> None:
        """The one usage event of this request; the client's last bytes go out when it is on disk."""
        assert not self._is_over
        ended_us = time.time_ns() // 1000
        if content is not None:
            self._first_token_us = ended_us
        if outcome == "completed":
            self._parts.pool.learn(self._route.id, settled.output_tokens)
        elif outcome == "engine_failed":
            self._call.is_good = False
        self._clean_up(settled)
        if self._filter is not None:
            self._parts.metrics.malformed_frames += self._filter.malformed
        parts = self._parts
        event = self.event = replace(
            self._draft or self._event(),
            revision_id=self._call.revision_id or self._route.revision_id,
            replica_id=self._call.replica_id,
            outcome=outcome,
            status=status,
            input_tokens=settled.input_tokens,
            cached_tokens=settled.cached_tokens,
            output_tokens=settled.output_tokens,
            source=settled.source,
            first_token_at_us=self._first_token_us,
            ended_at_us=ended_us,
            held_us=self._held_us,
            is_disputed=settled.is_disputed,
        )
        parts.metrics.observe(event)
        trial = self._call.activity.trial
        if trial is not None:
            trial.observe(event)
        parts.access_log.settled(event)
        if parts.traces is not None:
            parts.traces.tell(event, self.traceparent, has_woken=self._has_woken)

        def finish(_is_durable: bool) -> None:
            if error is None and content is not None:
                self._client.answer(200, content, self._hold.headers)
            elif error is None:
                assert self._filter is not None
                self._finish_stream(self._filter.last, must_close=False)
            elif self._has_begun:
                self._finish_stream(self._operation.error_event(error, self.request_id), must_close=True)
            else:
                self._client.answer_error(error)

        parts.journal.close(event, None if outcome == "client_gone" else finish)

    def _finish_stream(self, data: bytes, *, must_close: bool) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._client.begin_stream(self._hold.headers)
        self._client.end_stream(data, must_close=must_close)

    def _leave(self, error: PlatformError) -> None:
        """Refuse without a usage event: nothing was begun."""
        self._clean_up(NOTHING)
        self._client.answer_error(error)

    def _clean_up(self, settled: Settled) -> None:
        self._is_over = True
        self._parts.live.discard(self)
        if self._held_us and settled is not NOTHING:
            self._parts.holding.correct(
                self._route.id,
                organization_id=self._grant.organization_id,
                key_id=self.key_id,
                tokens=settled.input_tokens - settled.cached_tokens + settled.output_tokens - self._tokens,
            )
        if self._held_at is not None:
            self._parts.holding.remove(self, self._route.id)
            self._stop_waiting()
        if self._hold is FREE_HOLD:
            self._parts.admission.forget(self)
        else:
            self._hold.settle(
                input_tokens=settled.input_tokens,
                cached_tokens=settled.cached_tokens,
                output_tokens=settled.output_tokens,
            )
        self._call.drop()

    def _event(self) -> UsageEvent:
        """The event as it stands before the engine hears of the request."""
        template = self._parts.templates.of(self._route, self.key_id, self._operation.path, self._body.is_stream)
        return replace(
            template,
            request_id=self.request_id,
            revision_id=self._call.revision_id or self._route.revision_id,
            replica_id=self._call.replica_id,
            started_at_us=self._started_us,
        )
