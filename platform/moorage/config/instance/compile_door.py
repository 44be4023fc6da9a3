"""`./manage.py compile`: the gateway's hot modules as native code, by mypyc and the machine's C compiler.

Compiled twice: the first result counts its branches while it goes through ``gateway.rehearsal``, and the second is laid
out by what was counted. Where a compiler cannot do that, the code is compiled once, as it is.

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
_NATIVE: Final = "native"
#: gcc's: one thread runs the rehearsal; what it does not come past is compiled as if there were no profile.
_COUNTING: Final = "-fprofile-generate -fprofile-update=single"
_COUNTED: Final = "-fprofile-use -fprofile-partial-training -Wno-missing-profile"


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
    print(f"Compiling {len(compiled.MODULES)} modules of the gateway; this takes some minutes.", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as work:
        built = _build(Path(work))
        if built is None:
            return 1
        if compiled.folder(parent) != target:
            print("The sources changed while they were compiled. Compile them again.", file=sys.stderr)
            return 1
        for other in parent.iterdir():
            if other != Path(work):
                shutil.rmtree(other, ignore_errors=True)
        built.rename(target)
    print(f"Compiled in {time.monotonic() - began:.0f} s. It is used from the gateway's next start on.")
    return 0


def _build(work: Path) -> Path | None:
    """The folder of native code; None when it could not be made, which was said."""
    said = _step(work, "moorage.config.instance.compile_door", _COUNTING)
    if said is None:
        said = _step(work, "moorage.gateway.rehearsal")
    if said is None:
        said = _step(work, "moorage.config.instance.compile_door", _COUNTED)
    if said is not None:
        print(f"{said}\n\nThere is no profile of its branches (see above), so it is compiled without.", file=sys.stderr)
        said = _step(work, "moorage.config.instance.compile_door")
    if said is None:
        return work / _NATIVE
    print(f"{said}\n\nThe gateway could not be compiled (the lines above are the compiler's).", file=sys.stderr)
    return None


def _step(work: Path, module: str, *arguments: str) -> str | None:
    """Run one of our modules in a process of its own; its last words if it failed, or if no native code is there."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, str(work / _NATIVE), *arguments],
        cwd=compiled.PLATFORM,
        env={**os.environ, "PYTHONPATH": str(compiled.PLATFORM)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0 and compiled.is_whole(work / _NATIVE):
        return None
    return "\n".join(done.stdout.splitlines()[-_LINES:])


def _compile(native: Path, options: list[str]) -> None:
    """Make ``native``. In a process of its own, for both tools speak to stdout and take the process for theirs."""
    from mypyc.build import mypycify
    from setuptools import setup

    work = native.parent
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
    for extension in extensions:
        extension.extra_compile_args += options
        extension.extra_link_args += options
    order = ["--quiet", "build_ext", "--force", f"--build-lib={native}", f"--build-temp={work / 'objects'}"]
    setup(name="moorage-gateway", packages=[], ext_modules=extensions, script_args=order)


if __name__ == "__main__":
    _compile(Path(sys.argv[1]), " ".join(sys.argv[2:]).split())
