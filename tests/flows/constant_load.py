"""Callers that never pause: streams and whole answers, each remembered with what came of it."""

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from openai import APIError, APIStatusError, OpenAI

PROMPT = "Where do the boats of the harbour lie at low tide, and who looks after them?"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """One request as its caller saw it."""

    phase: str
    is_stream: bool
    request_id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    failure: str = ""


class Load:
    """Some callers of one model, each with one request at a time, until told to stop."""

    def __init__(self, client: OpenAI, *, model: str, streams: int = 2, whole: int = 2, max_tokens: int = 24) -> None:
        self.calls: list[Call] = []
        self.phase = "begin"
        self._client, self._model, self._max_tokens = client, model, max_tokens
        self._stop = threading.Event()
        kinds = [True] * streams + [False] * whole
        self._threads = [threading.Thread(target=self._run, args=(is_stream,), daemon=True) for is_stream in kinds]

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Calls while the block runs; at its end every caller has its last answer."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(timeout=120)

    @property
    def failures(self) -> list[Call]:
        """What did not end well."""
        return [call for call in self.calls if call.failure]

    def count(self, phase: str) -> int:
        """Requests begun in a phase that have ended."""
        return sum(call.phase == phase for call in self.calls)

    def _run(self, is_stream: bool) -> None:
        while not self._stop.is_set():
            self.calls.append(self._stream() if is_stream else self._whole())

    def _whole(self) -> Call:
        phase = self.phase
        try:
            raw = self._client.chat.completions.with_raw_response.create(
                model=self._model, messages=[{"role": "user", "content": PROMPT}], max_tokens=self._max_tokens
            )
            usage = raw.parse().usage
            assert usage is not None
        except APIError as error:
            return Call(phase=phase, is_stream=False, request_id=_id_of(error), failure=repr(error))
        return Call(
            phase=phase,
            is_stream=False,
            request_id=raw.headers["x-request-id"],
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
        )

    def _stream(self) -> Call:
        phase = self.phase
        request_id = ""
        try:
            with self._client.chat.completions.with_streaming_response.create(
                model=self._model,
                messages=[{"role": "user", "content": PROMPT}],
                max_tokens=self._max_tokens,
                stream=True,
                stream_options={"include_usage": True},
            ) as response:
                request_id = response.headers["x-request-id"]
                chunks = list(response.parse())
        except (APIError, httpx.HTTPError) as error:
            return Call(phase=phase, is_stream=True, request_id=request_id or _id_of(error), failure=repr(error))
        usage = chunks[-1].usage if chunks else None
        if usage is None:
            return Call(phase=phase, is_stream=True, request_id=request_id, failure=f"{len(chunks)} frames, no usage")
        return Call(
            phase=phase,
            is_stream=True,
            request_id=request_id,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
        )


def _id_of(error: Exception) -> str:
    """The id of the request that an answer refuses; empty where there was no answer."""
    return str(error.response.headers.get("x-request-id", "")) if isinstance(error, APIStatusError) else ""
