"""The engines' own Prometheus metrics, merged: asked of every replica over its socket, each sample told from the others
by a ``replica`` label.

An engine runs a stranger's model, so its text is read strictly and bounded: only families of its own name space, only
lines of the text format, only labels that say nothing about a tenant.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

from moorage.gateway import engine_address
from moorage.wire.records import ReplicaAddress

#: All engines together; who has not answered by then is left out.
PATIENCE_SECONDS: Final = 1.0
_MOST_BYTES: Final = 512 * 1024
_MOST_SAMPLES: Final = 2000
_AT_ONCE: Final = 32
_REQUEST: Final = b"GET /metrics HTTP/1.1\r\nHost: runner\r\nConnection: close\r\n\r\n"
_FAMILIES: Final = ("llamacpp:", "vllm:")
#: A tenant's own words: the served name and what is derived from it.
_WITHHELD: Final = frozenset({"model_name", "model", "served_model_name", "lora_name", "replica"})
_TYPES: Final = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})
_COMMENT: Final = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) ([ -~]{0,500})")
_SAMPLE: Final = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^{}]*)\})? ([+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|Inf|inf)|NaN|nan)(?: [0-9]+)?"
)
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([a-zA-Z0-9_.:+ /-]{0,100})"(?:, ?|$)')
_SUFFIX: Final = re.compile(r"_(?:bucket|sum|count)$")


class _Family:
    __slots__ = ("help", "samples", "type")

    def __init__(self) -> None:
        self.help = ""
        self.type = ""
        self.samples: list[str] = []


async def gather(replicas: Iterable[ReplicaAddress]) -> bytes:
    """What all ``replicas`` tell, as one text in the format of Prometheus; takes about a second at most."""
    families: dict[str, _Family] = {}
    answered: set[str] = set()
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(replica: ReplicaAddress) -> None:
        async with places:
            text = await fetch(replica.socket)
        merge(families, replica.id, text)
        answered.add(replica.id)

    asked = {replica.id: asyncio.ensure_future(ask(replica)) for replica in replicas}
    if asked:
        await asyncio.wait(asked.values(), timeout=PATIENCE_SECONDS)
    for task in asked.values():
        task.cancel()
    ended = await asyncio.gather(*asked.values(), return_exceptions=True)
    for failure in ended:
        if isinstance(failure, BaseException) and not isinstance(
            failure,
            OSError | ValueError | asyncio.CancelledError | asyncio.IncompleteReadError | asyncio.LimitOverrunError,
        ):
            raise failure
    up = _Family()
    up.help, up.type = "1 when the engine told its metrics in time.", "gauge"
    up.samples = [f'moorage_engine_metrics_up{{replica="{each}"}} {int(each in answered)}' for each in sorted(asked)]
    return render({"moorage_engine_metrics_up": up, **families})


async def fetch(socket: str) -> str:
    """The body of one engine's answer. Raises OSError, ValueError or IncompleteReadError."""
    with engine_address.opened(socket) as path:
        reader, writer = await asyncio.open_unix_connection(path, limit=_MOST_BYTES)
    try:
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
            raise ValueError("the engine shows no metrics")
        lowered = head.lower()
        if b"\r\ntransfer-encoding: chunked\r\n" in lowered:
            return (await _read_chunks(reader)).decode("utf-8")
        length = re.search(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", lowered)
        if length is not None:
            if int(length[1]) > _MOST_BYTES:
                raise ValueError("the engine's metrics are too long")
            return (await reader.readexactly(int(length[1]))).decode("utf-8")
        return (await _read_to_the_end(reader)).decode("utf-8")
    finally:
        writer.close()


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while piece := await reader.read(_MOST_BYTES):
        content += piece
        if len(content) > _MOST_BYTES:
            raise ValueError("the engine's metrics are too long")
    return content


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    content = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if not 0 < size <= _MOST_BYTES - len(content):
            raise ValueError("the engine's metrics are too long")
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    return content


def merge(families: dict[str, _Family], replica_id: str, text: str) -> None:
    """Add what one replica told. Lines that are not understood, or not wanted, are left out."""
    room = _MOST_SAMPLES
    for line in text.splitlines():
        comment = _COMMENT.fullmatch(line)
        if comment is not None:
            kind, name, words = comment.groups()
            if name.startswith(_FAMILIES):
                family = families.setdefault(name, _Family())
                if kind == "HELP":
                    family.help = family.help or words
                elif words in _TYPES:
                    family.type = family.type or words
            continue
        sample = _SAMPLE.fullmatch(line)
        if sample is None or not sample[1].startswith(_FAMILIES) or not room:
            continue
        labels = _labels(sample[2] or "")
        if labels is None:
            continue
        room -= 1
        name = _SUFFIX.sub("", sample[1])
        owner = families.get(name if name in families else sample[1])
        if owner is None:
            owner = families[sample[1]] = _Family()
        labels.append(f'replica="{replica_id}"')
        owner.samples.append(f"{sample[1]}{{{','.join(labels)}}} {sample[3]}")


def render(families: dict[str, _Family]) -> bytes:
    """Each family once: HELP, TYPE, then the samples of all replicas."""
    lines: list[str] = []
    for name, family in families.items():
        if family.samples:
            lines.append(f"# HELP {name} {family.help or 'As told by the engine.'}")
            lines.append(f"# TYPE {name} {family.type or 'untyped'}")
            lines.extend(family.samples)
    return ("\n".join(lines) + "\n").encode()


def _labels(text: str) -> list[str] | None:
    """The labels that may be shown, as text; None when they are not labels."""
    kept: list[str] = []
    position = 0
    while position < len(text):
        label = _LABEL.match(text, position)
        if label is None:
            return None
        if label[1] not in _WITHHELD:
            kept.append(f'{label[1]}="{label[2]}"')
        position = label.end()
    return kept
