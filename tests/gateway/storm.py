"""Many calls at once, each on a connection of its own, so that the kernel deals them out to all workers of a port."""

import asyncio
import collections
import dataclasses
import json
import socket

#: How many connections are being opened at a time: a listening queue is finite.
_OPENING = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: status 0 where the connection broke."""

    status: int
    headers: dict[str, str]
    body: str


def storm(
    port: int,
    key: str,
    *,
    calls: int,
    model: str,
    at_once: int = 1000,
    came: list[Answer] | None = None,
    **members: object,
) -> list[Answer]:
    """``calls`` chat completions, ``at_once`` of them at the same time; ``came`` grows with each answer."""
    answers: list[Answer] = [] if came is None else came
    content = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}], **members}).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    ).encode() + content

    async def run() -> list[Answer]:
        places, opening = asyncio.Semaphore(at_once), asyncio.Semaphore(_OPENING)

        async def call() -> None:
            answers.append(await _call(port, request, places, opening))

        await asyncio.gather(*(call() for _ in range(calls)))
        return answers

    return asyncio.run(run())


def statuses(answers: list[Answer]) -> collections.Counter[int]:
    """How many there are of each status."""
    return collections.Counter(answer.status for answer in answers)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _call(port: int, request: bytes, places: asyncio.Semaphore, opening: asyncio.Semaphore) -> Answer:
    async with places:
        try:
            async with opening:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            content = await reader.read()
            writer.close()
        except OSError:
            return Answer(status=0, headers={}, body="")
    head, _, body = content.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    if not lines[0].startswith("HTTP/1.1 "):
        return Answer(status=0, headers={}, body="")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return Answer(status=int(lines[0].split(" ")[1]), headers=headers, body=body.decode(errors="replace"))
