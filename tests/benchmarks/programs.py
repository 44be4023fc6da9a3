"""The programs in C beside this file, compiled into the bench's own folder when they are needed."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

_SOURCES: Final = Path(__file__).parent
_NAMES: Final = ("engine", "load", "distance", "costs")


class BenchFailed(Exception):
    """A sentence that says why the bench cannot go on, and what to do."""


def build(folder: Path) -> dict[str, Path]:
    """Each program's path by its name; compiled anew only when its source changed. Raises BenchFailed."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in _NAMES:
        source = _SOURCES / f"{name}.c"
        binary = folder / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
        if not binary.exists():
            if compiler is None:
                raise BenchFailed(
                    "The bench's engine and load generator are small C programs and there is no C compiler here: "
                    "install one (`apt-get install gcc libc6-dev`) and run the same command again."
                )
            unfinished = binary.with_suffix(".new")
            command = [compiler, "-O2", "-pthread", "-o", str(unfinished), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchFailed(f"{source.name} could not be compiled:\n{done.stderr}")
            unfinished.rename(binary)
        found[name] = binary
    return found
