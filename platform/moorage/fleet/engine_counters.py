"""What an engine itself has counted since it started: prompt and generated tokens, from its Prometheus metrics.

The runner is a stranger's program: its answer is bounded, and read for two names alone.
llama-server: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md (GET /metrics);
vLLM: https://docs.vllm.ai/en/latest/design/metrics.html
"""

import dataclasses
import re
from pathlib import Path
from typing import Final

import httpx

#: An engine that is busy answers this all the same.
PATIENCE_SECONDS: Final = 2.0
_MOST_BYTES: Final = 1 << 20
_MOST: Final = 2**62
_INPUT: Final = frozenset({"llamacpp:prompt_tokens_total", "vllm:prompt_tokens_total"})
_OUTPUT: Final = frozenset({"llamacpp:tokens_predicted_total", "vllm:generation_tokens_total"})
_SAMPLE: Final = re.compile(r"([a-z]+:[a-z_]+)(?:\{[^{}]*\})? ([0-9.]+(?:[eE]\+?[0-9]+)?)(?: [0-9]+)?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Tokens since the engine started. ``input_tokens`` are those it has worked through; some engines leave out what
    came from their cache."""

    input_tokens: int
    output_tokens: int


def read(socket: Path) -> Counters | None:
    """The counters of the engine behind ``socket``; None when it does not answer, or does not count."""
    transport = httpx.HTTPTransport(uds=str(socket))
    try:
        with (
            httpx.Client(transport=transport, timeout=PATIENCE_SECONDS, trust_env=False) as client,
            client.stream("GET", "http://runner/metrics") as answer,
        ):
            if answer.status_code != 200:
                return None
            content = b""
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > _MOST_BYTES:
                    return None
    except (httpx.HTTPError, OSError):
        return None
    return parse(content.decode("utf-8", "replace"))


def parse(text: str) -> Counters | None:
    """The counters in an exposition; samples of several engine cores are added up. None where one is missing."""
    sums: dict[str, int] = {}
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line)
        if sample is None:
            continue
        for meter, names in (("input", _INPUT), ("output", _OUTPUT)):
            if sample[1] in names:
                sums[meter] = sums.get(meter, 0) + _whole(sample[2])
    if len(sums) < 2 or max(sums.values()) > _MOST:
        return None
    return Counters(input_tokens=sums["input"], output_tokens=sums["output"])


def _whole(text: str) -> int:
    """``1.234e+06`` as 1234000; a count is whole, whatever its notation."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(exponent or 0)
    if shift > 18 or len(whole) > 19:
        return _MOST + 1
    digits = (fraction + "0" * shift)[:shift]
    return int((whole or "0") + digits)
