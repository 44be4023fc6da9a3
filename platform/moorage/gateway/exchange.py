"""One billable request from its admission to its settlement, as a small machine that callbacks drive.

    admitted -> (held ->) opened in the journal -> sent -> answered -> settled in the journal -> last bytes out

Whatever happens on the way, exactly one usage event comes of it: :meth:`Exchange._settle` runs once. What is before the
engine's answer is :class:`~moorage.gateway.arrival.Arrival`'s.
"""

import time
from typing import Final

from msgspec.structs import replace

from moorage.gateway import errors
from moorage.gateway.admission import FREE_HOLD
from moorage.gateway.arrival import Arrival
from moorage.gateway.body import Body
from moorage.gateway.chunks import Chunks
from moorage.gateway.errors import EngineFailed
from moorage.gateway.large_bodies import LARGE
from moorage.gateway.operation import StreamFilter
from moorage.gateway.settled import Settled
from moorage.gateway.sse import FrameTooLarge
from moorage.gateway.usage import NOTHING, Meter
from moorage.kernel.errors import PlatformError
from moorage.wire.journal import Progress
from moorage.wire.journal_forms import close_record
from moorage.wire.records import Outcome

#: What is recorded as status when the client left before any answer (nginx's convention).
CLIENT_GONE_STATUS: Final = 499
#: How long after its last event the engine may take to end the body.
_DONE_SECONDS: Final = 1.0
#: What stands for the body of a stream that has begun.
_SPENT: Final = Body(path="", model="", members={}, is_stream=True, wants_usage=False)
_time_ns: Final = time.time_ns
_TOO_LARGE: Final = EngineFailed("The model's answer is larger than can be passed on.")


class Exchange(Arrival):
    """Owned by its client connection. The caller of its EngineCall."""

    def _goes_live(self) -> None:
        self._parts.live.add(self)

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
            if self._content_size > LARGE:
                self._client.let_go_of_body()

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
                self._first_token_us = _time_ns() // 1000
            self._forward(ready)
        self._look_for_the_end(stream)

    def answer_in_chunks(self, chunks: Chunks) -> None:
        """Many pieces of the engine's body in one read."""
        stream = self._filter
        if stream is None:
            self.answer_came(chunks.pieces())
            return
        if chunks.is_last:
            self._client.ends_soon()
        try:
            passage = stream.feed_chunks(chunks)
        except FrameTooLarge:
            self._engine_failed(EngineFailed())
            return
        if self._first_token_us is None and stream.meter.frames:
            self._first_token_us = _time_ns() // 1000
        if passage.before:
            self._forward(passage.before)
        alike = passage.alike
        if alike is not None:
            self._begin_stream()
            self._client.send_chunks(alike)
        if passage.behind:
            self._forward(passage.behind)
        self._look_for_the_end(stream)

    def _look_for_the_end(self, stream: StreamFilter) -> None:
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
        settled = NOTHING if self._is_over else self._delivered()
        if settled.source == "none":
            return None
        return Progress(
            request_id=self.request_id,
            input_tokens=settled.input_tokens,
            cached_tokens=settled.cached_tokens,
            output_tokens=settled.output_tokens,
            source=settled.source,
            at_us=_time_ns() // 1000,
        )

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
        ended_us = _time_ns() // 1000
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
        template = self._template or self._template_now()
        replica_id = self._call.replica_id
        event = self.event = replace(
            template.event,
            request_id=self.request_id,
            revision_id=self._revision_id(),
            replica_id=replica_id,
            started_at_us=self._started_us,
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
        first_us = None if content is not None else self._first_token_us
        parts.metrics.observe(settled, outcome, self._started_us, first_us, ended_us, self._held_us)
        trial = self._call.activity.trial
        if trial is not None:
            trial.observe(event)
        parts.access_log.settled(
            template, self.request_id, replica_id, outcome, status, settled, ended_us - self._started_us, self._held_us
        )
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

        parts.journal.close_as(self.request_id, close_record(event), None if outcome == "client_gone" else finish)

    def _finish_stream(self, data: bytes, *, must_close: bool) -> None:
        self._begin_stream()
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
