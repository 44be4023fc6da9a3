"""Some thousand requests through one worker, client and engine in the same process: what a C compiler learns from.

It lays out the branches that requests take as they took them here (gcc: -fprofile-generate, -fprofile-use). Nothing is
different from a worker at work but that keys and routes come from no database.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Final, cast

import uvloop

from moorage.gateway import compiled

_ORGANIZATION: Final = "org_" + "0" * 26
_MODEL: Final = "rehearsal/pilot"
_SECRET: Final = "mk_live_" + "0" * 39
_REQUESTS: Final = 250
_CLIENTS: Final = 4
_TOKENS: Final = 64
#: Streams at a pace are longer than others, and fewer are needed.
_PACED_PART: Final = 10
_USAGE: Final = {"prompt_tokens": 31, "completion_tokens": _TOKENS, "total_tokens": 31 + _TOKENS}


async def play() -> None:
    """All of them: answers in one piece, streams that come at once, streams of one token after the other."""
    # Not before: they may be native, which has to be said first.
    from moorage.gateway.client_protocol import ClientProtocol
    from moorage.gateway.keys import Keyring
    from moorage.gateway.routes import RouteTable
    from moorage.gateway.server import Server
    from moorage.gateway.settings import Settings
    from moorage.wire.records import KeyGrant, ReplicaAddress, Route

    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        parts = Server(Settings(database_url="", journal_dir=place / "journal")).parts
        parts.journal.start()
        replica = ReplicaAddress(id="rep_" + "0" * 26, socket=str(place / "engine"))
        deployment_id = "dep_" + "0" * 26
        route = Route(
            id=f"{deployment_id}:pilot",
            organization_id=_ORGANIZATION,
            served_name=_MODEL,
            deployment_id=deployment_id,
            deployment_name="rehearsal",
            model_key="pilot",
            revision_id="rev_" + "0" * 26,
            engine="llamacpp",
            kind="chat",
            context_size=131_072,
            status="ready",
            replicas=(replica,),
        )
        grant = KeyGrant(
            id="key_" + "0" * 26,
            sha256=hashlib.sha256(_SECRET.encode()).hexdigest(),
            organization_id=_ORGANIZATION,
            standing="active",
            scopes=("inference",),
        )
        parts.keys, parts.routes, parts.is_loaded = Keyring([grant]), RouteTable([route]), True
        engine = await asyncio.start_unix_server(_serve, place / "engine")
        gateway = await parts.loop.create_unix_server(
            lambda: cast(asyncio.Protocol, ClientProtocol(parts)), place / "gateway"
        )
        calls = [
            _call(place / "gateway", tokens=tokens, is_stream=is_stream, times=times)
            for _ in range(_CLIENTS)
            for tokens, is_stream, times in (
                *((_TOKENS, False, 4 * _REQUESTS), (_TOKENS, True, _REQUESTS)),
                (_TOKENS + 1, True, _REQUESTS // _PACED_PART),
            )
        ]
        await asyncio.gather(*calls)
        for listener in (gateway, engine):
            listener.close()
        while not parts.journal.is_idle or parts.connections:
            await asyncio.sleep(0.01)
        parts.pool.close()
        parts.journal.stop()


async def _call(address: Path, *, tokens: int, is_stream: bool, times: int) -> None:
    """One client that asks again and again on its connection. Raises RuntimeError for any answer but 200."""
    question = {"role": "user", "content": "Which berth is free, and until when?"}
    members = {"messages": [question], "model": _MODEL, "max_tokens": tokens, "temperature": 0.7}
    if is_stream:
        members |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(members, separators=(",", ":")).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAccept: application/json\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (_SECRET.encode(), len(body), body)
    reader, writer = await asyncio.open_unix_connection(address)
    for _ in range(times):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the gateway answered {head!r}")
        if is_stream:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        else:
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An engine that knows its answers by heart."""
    head = b"HTTP/1.1 200 OK\r\nServer: rehearsal\r\nContent-Type: %b\r\n%b\r\n\r\n"
    whole = {
        "id": "chatcmpl-rehearsal",
        "object": "chat.completion",
        "created": 1,
        "model": _MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Four."}, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
    content = json.dumps(whole, separators=(",", ":")).encode()
    answer = head % (b"application/json", b"Content-Length: %d" % len(content)) + content
    stream_head = head % (b"text/event-stream", b"Transfer-Encoding: chunked")
    frames = [_frame([{"index": 0, "delta": {"content": f" w{n}"}, "finish_reason": None}]) for n in range(_TOKENS)]
    last = _frame([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    end = b"%b%b%b0\r\n\r\n" % (last, _frame([], usage=_USAGE), _chunk(b"data: [DONE]\n\n"))
    # The gateway closes the connection when it needs it no more.
    with contextlib.suppress(asyncio.IncompleteReadError), contextlib.closing(writer):
        while True:
            received = await reader.readuntil(b"\r\n\r\n")
            size = int(received.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = json.loads(await reader.readexactly(size))
            if not body.get("stream"):
                writer.write(answer)
            elif body["max_tokens"] == _TOKENS:
                writer.write(stream_head + b"".join(frames) + end)
            else:
                for frame in (stream_head, *frames, end):
                    writer.write(frame)
                    await asyncio.sleep(0.001)


def _frame(choices: list[dict[str, object]], **more: object) -> bytes:
    chunk = {"id": "chatcmpl-rehearsal", "object": "chat.completion.chunk", "created": 1, "model": _MODEL}
    text = json.dumps({**chunk, "choices": choices, **more}, separators=(",", ":"))
    return _chunk(f"data: {text}\n\n".encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    compiled.use_from(Path(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())
