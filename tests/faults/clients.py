"""Clients under load, and what each of them got: the journal that the judge believes."""

import asyncio
import dataclasses
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence

#: How long a client repeats a call that broke.
REPEAT_SECONDS = 30.0
MODELS = ("harbour/llamacpp", "harbour/vllm")


@dataclasses.dataclass
class Call:
    """One request as its client saw it."""

    kind: str  # whole | stream | burst | cut | slow
    tokens: int  # what the engine was asked for
    pace: float = 0.0
    model: str = MODELS[0]
    #: The same for each attempt at one call; also its Idempotency-Key where it is repeated until it is answered.
    name: str = "-"
    is_repeated: bool = False
    #: The code of a refusal.
    code: str = ""
    #: How many tokens the client takes before it hangs up.
    patience: int | None = None
    request_id: str = ""
    status: int = 0
    #: When each token came.
    arrivals: list[float] = dataclasses.field(default_factory=list)
    is_complete: bool = False
    #: The gateway said that it broke, inside the stream.
    has_error: bool = False
    #: When nothing more came.
    ended_at: float = 0.0

    @property
    def is_answered(self) -> bool:
        """Nothing is to be gained by asking again."""
        return self.is_complete or self.code == "already_answered"

    @property
    def received(self) -> int:
        """Tokens that reached the client."""
        return self.tokens if self.kind == "whole" and self.is_complete else len(self.arrivals)


class Load:
    """``count`` clients, each one call after the other, on a thread of their own."""

    def __init__(
        self, *, ports: Callable[[], Sequence[int]], key: str, seed: int, count: int, repeats: bool = True
    ) -> None:
        self.calls: list[Call] = []
        #: Repeated calls that were given up.
        self.unanswered = 0
        self._ports = ports
        self._key = key
        self._seed = seed
        self._count = count
        self._repeats = repeats
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Lets every call end by itself."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    @property
    def answered(self) -> int:
        """Calls that brought something."""
        return sum(call.received > 0 for call in self.calls)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(random.Random(f"{self._seed}/{each}")) for each in range(self._count)))

    async def _client(self, chance: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            call = some_call(chance)
            call.is_repeated = call.is_repeated and self._repeats
            call.name = f"{chance.getrandbits(64):x}-{number}"
            await self._attempt(call, chance)
            deadline = time.monotonic() + REPEAT_SECONDS
            while call.is_repeated and not call.is_answered and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
                call = dataclasses.replace(call, request_id="", status=0, code="", arrivals=[], has_error=False)
                await self._attempt(call, chance)
            self.unanswered += call.is_repeated and not call.is_answered

    async def _attempt(self, call: Call, chance: random.Random) -> None:
        port = chance.choice(self._ports())
        try:
            await asyncio.wait_for(make(call, port=port, key=self._key), 60)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if not call.request_id:
                await asyncio.sleep(0.05)  # nobody is there yet
        call.ended_at = time.monotonic()
        if call.request_id:
            self.calls.append(call)
        if call.status >= 400:
            await asyncio.sleep(0.05)


def some_call(chance: random.Random) -> Call:
    """A call of some kind."""
    model = chance.choice(MODELS)
    match chance.choice(["whole", "whole", "stream", "stream", "stream", "burst", "cut", "slow"]):
        case "whole":
            tokens, pace = chance.randint(1, 50), chance.choice([0, 0.01, 0.2])
            return Call(kind="whole", tokens=tokens, pace=pace, model=model, is_repeated=chance.random() < 0.5)
        case "stream":
            return Call(kind="stream", tokens=chance.randint(5, 150), pace=chance.choice([0.005, 0.02]), model=model)
        case "burst":
            return Call(kind="burst", tokens=chance.randint(50, 400), model=model)
        case "cut":
            tokens = chance.randint(20, 100)
            return Call(kind="cut", tokens=tokens, pace=0.01, model=model, patience=chance.randint(1, tokens - 5))
        case kind:
            return Call(kind=kind, tokens=chance.randint(200, 2000), model=model)


async def make(call: Call, *, port: int, key: str) -> None:
    """Makes the call and writes into it what came. Raises what sockets raise when it breaks."""
    is_stream = call.kind != "whole"
    script = json.dumps({"tokens": call.tokens, "pace": call.pace, "name": call.name})
    body = json.dumps({"model": call.model, "stream": is_stream, "messages": [{"role": "user", "content": script}]})
    repeated = f"Idempotency-Key: {call.name}\r\n" if call.is_repeated else ""
    plug = socket.socket()
    if call.kind == "slow":
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plug.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
    except OSError:
        plug.close()
        raise
    reader, writer = await asyncio.open_connection(sock=plug, limit=2048 if call.kind == "slow" else 1 << 16)
    try:
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {key}\r\n"
            f"{repeated}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        call.status = int(status.split(" ")[1])
        call.request_id = headers.get("x-request-id", "")
        if "content-length" in headers:
            content = await reader.readexactly(int(headers["content-length"]))
            call.is_complete = call.status == 200
            call.code = "" if call.is_complete else str(json.loads(content)["error"]["code"])
        else:
            await _read_stream(call, reader)
    finally:
        writer.transport.abort()


async def _read_stream(call: Call, reader: asyncio.StreamReader) -> None:
    buffered = b""
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        buffered += (await reader.readexactly(size + 2))[:size]
        if size == 0:
            return
        *frames, buffered = buffered.split(b"\n\n")
        for frame in frames:
            if b'"content": " w' in frame or b'"content":" w' in frame:
                call.arrivals.append(time.monotonic())
            elif frame == b"data: [DONE]":
                call.is_complete = True
            elif b'"error"' in frame:
                call.has_error = True
            if call.patience is not None and len(call.arrivals) >= call.patience:
                return
        if call.kind == "slow":
            await asyncio.sleep(0.001)
