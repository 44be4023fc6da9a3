"""vLLM's own sleep: the weights leave the GPU while the process stays, and come back without its start.

Level 1 keeps the weights in the host's memory and forgets the KV cache; level 2 forgets both and reads the weights
again when it wakes. vLLM serves this (``/sleep``, ``/wake_up``, ``/is_sleeping``) beside other development routes when
it is started with ``--enable-sleep-mode`` and ``VLLM_SERVER_DEV_MODE=1`` [docs.vllm.ai, Sleep Mode]. They can do
anything to the engine; only a worker asks them, over the socket. The gateway builds what it asks an engine from a list
of paths of its own, on which none of these is.
"""

from pathlib import Path
from typing import Final, Literal

from moorage.fleet import runner_http
from moorage.fleet.engines import Engine
from moorage.fleet.errors import EngineDidNotSleep

Level = Literal[1, 2]

#: The weights go to or come from the host's memory: gigabytes at the speed of the bus; at level 2, of the disk.
_SLEEP_SECONDS: Final = 60.0
_WAKE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 5.0


def can_sleep(engine: Engine, argv: tuple[str, ...]) -> bool:
    """Whether an engine that was started so knows how."""
    return engine is Engine.VLLM and "--enable-sleep-mode" in argv


def sleep(socket: Path, *, level: Level = 1) -> None:
    """Lets the engine put its weights away. Idempotent. Raises EngineDidNotSleep; it may then serve on."""
    _post(socket, f"/sleep?level={level}", seconds=_SLEEP_SECONDS)
    if not is_asleep(socket):
        raise EngineDidNotSleep("vLLM says that it did not fall asleep.")


def wake(socket: Path) -> None:
    """Lets the engine take its weights back, and returns when it can serve. Idempotent. Raises EngineDidNotSleep."""
    if not is_asleep(socket):
        return
    _post(socket, "/wake_up", seconds=_WAKE_SECONDS)
    if is_asleep(socket):
        raise EngineDidNotSleep("vLLM says that it did not wake up.")


def is_asleep(socket: Path) -> bool:
    """What the engine says of itself. Raises EngineDidNotSleep where it does not say."""
    answer = _ask(socket, "GET", "/is_sleeping", seconds=_LOOK_SECONDS)
    try:
        return bool(answer.json()["is_sleeping"])
    except (ValueError, KeyError, TypeError) as error:
        raise EngineDidNotSleep(f"/is_sleeping answered {answer.status} without saying.") from error


def _post(socket: Path, target: str, *, seconds: float) -> None:
    _ask(socket, "POST", target, seconds=seconds)


def _ask(socket: Path, method: str, target: str, *, seconds: float) -> runner_http.Answer:
    try:
        answer = runner_http.ask(socket, method, target, seconds=seconds)
    except (runner_http.NobodyListens, runner_http.NoAnswer) as error:
        raise EngineDidNotSleep(f"{target}: {error}.") from error
    if answer.status != 200:
        said = answer.content[:200].decode(errors="replace")
        raise EngineDidNotSleep(f"{target} answered {answer.status}: {said}")
    return answer
