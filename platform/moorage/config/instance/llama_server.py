"""The llama-server of an instance: the operator's, the machine's if it is new enough, else one built here, once.

Built by runners/llamacpp/compile from the hash-pinned source release of llama-cpp-python, which vendors llama.cpp: a
C++ compiler is all that the machine has to have. Kept in a directory named after everything that decides the
outcome, and moved there only when complete.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from moorage.config.instance import llama_version, logs
from moorage.config.instance.errors import PartMissing, StartFailed
from moorage.config.instance.progress import Percent

#: Ninja's progress: `[12/340] Building CXX object …`.
_NINJA: Final = re.compile(r"^\[(\d+)/(\d+)\]")


def get(*, root: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """A llama-server that is new enough. Raises PartMissing or StartFailed."""
    if found := find(cache=cache, root=root, environ=environ, say=say):
        return found
    return build(root=root, cache=cache, environ=environ, say=say)


def find(*, root: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path | None:
    """One that is here already; None if one has to be built.

    The one named by MOORAGE_LLAMA_SERVER is used or refused, never passed over: PartMissing says why.
    """
    named = environ.get("MOORAGE_LLAMA_SERVER")
    if named:
        path = Path(named).expanduser().absolute()
        version = llama_version.ask(path)
        if version is None:
            raise PartMissing(f"MOORAGE_LLAMA_SERVER names {path}, which is no llama-server that runs here.")
        if not version.is_new_enough:
            raise PartMissing(
                f"{path} is llama.cpp {version.text}; below b{llama_version.FLOOR_BUILD} a hostile model file can take "
                "it over. Name a newer one, or unset MOORAGE_LLAMA_SERVER and one is built."
            )
        say(f"llama-server {version.text} from MOORAGE_LLAMA_SERVER")
        return path
    on_path = shutil.which("llama-server", path=environ.get("PATH"))
    if on_path:
        version = llama_version.ask(Path(on_path))
        if version is not None and version.is_new_enough:
            say(f"llama-server {version.text} from {on_path}")
            return Path(on_path).absolute()
        say(f"not using {on_path}: {version.text if version else 'it does not say its version'}, too old to be safe")
    built = cache / recipe(root) / "llama-server"
    return built if built.is_file() else None


def recipe(root: Path) -> str:
    """The name of what would be built: the release's version and a hash of all that decides the outcome."""
    folder = _recipe_folder(root)
    pinned = re.search(r"^llama-cpp-python==(\S+)", (folder / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned, f"{folder / 'requirements.txt'} pins llama-cpp-python"
    digest = hashlib.sha256(platform.machine().encode())
    for name in ("requirements.txt", "cmake-flags.txt", "ggml-release.cmake", "compile"):
        digest.update((folder / name).read_bytes())
    return f"{pinned[1]}-{digest.hexdigest()[:8]}"


def build(*, root: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Fetch, check, compile, keep. Raises PartMissing without a compiler and StartFailed with the compiler's words."""
    if not any(
        shutil.which(name, path=environ.get("PATH")) for name in (environ.get("CXX") or "c++", "g++", "clang++")
    ):
        raise PartMissing(
            "There is no C++ compiler on this machine, and llama-server has to be built. On Debian and Ubuntu install "
            "one with `apt-get install g++`, or name a llama-server with MOORAGE_LLAMA_SERVER."
        )
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # `up` and `test` may both want it now.
        kept = cache / recipe(root)
        if not (kept / "llama-server").is_file():
            for abandoned in cache.glob("unfinished-*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as workshop:
                _compile(root, Path(workshop), log=cache / "build.log", environ=environ, say=say)
                (Path(workshop) / "finished").rename(kept)
    return kept / "llama-server"


def _compile(root: Path, workshop: Path, *, log: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Run runners/llamacpp/compile, the one recipe for machines and images, with all its leavings in ``workshop``."""
    binary = workshop / "finished" / "llama-server"
    command = ["/bin/sh", str(_recipe_folder(root) / "compile"), str(binary)]
    surroundings = {
        **environ,
        "TMPDIR": str(workshop),
        "PATH": f"{Path(sys.executable).parent}:{environ.get('PATH', os.defpath)}",
        "JOBS": str(len(os.sched_getaffinity(0))),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    say("fetching the source release of llama-cpp-python (77 MB), cmake and ninja, hashes checked")
    percent = Percent(say, what="compiling llama-server")
    with log.open("w") as written:
        compiling = subprocess.Popen(
            command,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            assert compiling.stdout is not None
            for line in compiling.stdout:
                written.write(line)
                if step := _NINJA.match(line):
                    percent.reached(100 * int(step[1]) // int(step[2]))
            compiling.wait()
        finally:  # Interrupted: the compilers must not go on for minutes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(compiling.pid, signal.SIGKILL)
            compiling.wait()
    if compiling.returncode or not binary.is_file():
        end = "\n".join(f"  {line}" for line in logs.tail(log, 15))
        raise StartFailed(f"llama-server could not be built. The end of {log}:\n{end}")


def _recipe_folder(root: Path) -> Path:
    return root / "runners" / "llamacpp"
