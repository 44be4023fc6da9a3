"""`./manage.py compile`: the gateway's hot modules as native code, by mypyc and the machine's C compiler.

The folder appears as a whole or not at all; a gateway that is running goes on as it is until it is started again.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from moorage.config.instance.home import Home
from moorage.gateway import compiled

_LINES: Final = 15


def run(*, place: Home) -> int:
    """Compile what is not compiled yet; the exit status. What went wrong goes to stderr in the compiler's words."""
    parent = place.compiled
    target = compiled.folder(parent)
    if target.is_dir():
        print(f"The gateway is compiled: {target}")
        return 0
    if shutil.which(os.environ.get("CC", "cc")) is None:
        print("There is no C compiler here (cc). Install one, such as Debian's gcc.", file=sys.stderr)
        return 1
    parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    print(f"Compiling {len(compiled.MODULES)} modules of the gateway; this takes a minute or two.", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as work:
        built = _build(Path(work))
        if built is None:
            return 1
        for other in parent.iterdir():
            if other != Path(work):
                shutil.rmtree(other, ignore_errors=True)
        built.rename(target)
    print(f"Compiled in {time.monotonic() - began:.0f} s. It is used from the gateway's next start on.")
    return 0


def _build(work: Path) -> Path | None:
    """The folder of native code; None when it could not be made, which was said."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "moorage.config.instance.compile_door", str(work)],
        cwd=compiled.PLATFORM,
        env={**os.environ, "PYTHONPATH": str(compiled.PLATFORM)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    built = work / "native"
    if done.returncode or not all(compiled.file_of(built, module).is_file() for module in compiled.MODULES):
        last_words = "\n".join(done.stdout.splitlines()[-_LINES:])
        print(
            f"{last_words}\n\nThe gateway could not be compiled (the lines above are the compiler's).", file=sys.stderr
        )
        return None
    return built


def _compile(work: Path) -> None:
    """In a process of its own, for both tools speak to stdout and take the process for theirs."""
    from mypyc.build import mypycify
    from setuptools import setup

    extensions = mypycify(
        [
            "--config-file=",
            "--strict",
            "--ignore-missing-imports",
            "--follow-imports=silent",
            f"--cache-dir={work / 'mypy'}",
            *(str(compiled.source(module).relative_to(Path.cwd())) for module in compiled.MODULES),
        ],
        opt_level="3",
        debug_level="0",
        target_dir=str(work / "c"),
        group_name=compiled.LIBRARY,
    )
    order = ["--quiet", "build_ext", f"--build-lib={work / 'native'}", f"--build-temp={work / 'objects'}"]
    setup(name="moorage-gateway", packages=[], ext_modules=extensions, script_args=order)


if __name__ == "__main__":
    _compile(Path(sys.argv[1]))
