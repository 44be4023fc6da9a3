#!/usr/bin/env python3
"""The one door: `./manage.py up` runs Moorage on this machine, `./manage.py test` checks all of it.

Only the standard library is needed to begin. The first use makes a virtual environment under MOORAGE_HOME from the
locked, hashed requirements and runs itself again inside it. Whatever is not a door goes to Django
(`./manage.py shell`), with the environment of the instance in MOORAGE_HOME.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - it is exactly an older Python that must reach this sentence
    sys.exit("Moorage needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2])  # noqa: UP031

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
#: Written into an environment when everything in it is installed: one line a lock file, name and SHA-256.
STAMP = "moorage-locks"
DOORS = {
    "up": "start Moorage on this machine (--detach, --console-port, --gateway-port, --runtime)",
    "down": "stop it, engines included",
    "status": "what runs, where, and since when",
    "logs": "what the processes say ([-f] [name])",
    "test": "format, lint, types, import contract, migrations and pytest (arguments go to pytest)",
    "compile": "make native code of the gateway's hot path: a third less processor time (needs a C compiler)",
    "bench": "how fast and how well (gateway, rating, coldstart, pool, autoscale; --quick, --peers, --help)",
}


class SetupFailed(Exception):
    """A sentence that says what to do."""


def home_directory() -> Path:
    """MOORAGE_HOME, or `.moorage` beside this file."""
    return Path(os.environ.get("MOORAGE_HOME") or ROOT / ".moorage").expanduser().absolute()


def locks_for(command: str) -> list[Path]:
    """The lock files whose packages ``command`` needs. The test lock contains the other one, pin by pin, and mypyc."""
    names = ["requirements.lock", "requirements-test.lock"] if command in {"test", "compile"} else ["requirements.lock"]
    return [ROOT / "deploy" / name for name in names]


def stamp_lines(locks: list[Path]) -> set[str]:
    """What the stamp of an environment with these locks contains at least."""
    return {f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()}" for lock in locks}


def is_ready(environment: Path, locks: list[Path]) -> bool:
    """Whether ``environment`` was completely installed from exactly these locks."""
    stamp = environment / STAMP
    return stamp.is_file() and stamp_lines(locks) <= set(stamp.read_text().splitlines())


def ensure_environment(
    environment: Path,
    locks: list[Path],
    *,
    create: Callable[[Path], None] | None = None,
    install: Callable[[Path, Path], None] | None = None,
) -> Path:
    """Make ``environment`` hold what ``locks`` name and return its Python.

    The stamp is removed first and written last, so an installation that was interrupted is begun again. Two callers
    at once wait for each other. ``create`` and ``install`` are the two slow steps. Raises SetupFailed.
    """
    python = environment / "bin" / "python"
    environment.parent.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)  # PostgreSQL's programs run as another user where Moorage is started by root.
    with (environment.parent / "venv.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if is_ready(environment, locks) and python.exists():
            return python
        stamp = environment / STAMP
        # More packages beside the same locked ones are added in place; anything else begins from nothing.
        if not (is_ready(environment, locks[:1]) and python.exists()):
            shutil.rmtree(environment, ignore_errors=True)
            (create or create_environment)(environment)
        stamp.unlink(missing_ok=True)
        (install or install_lock)(python, locks[-1])
        stamp.write_text("".join(f"{line}\n" for line in sorted(stamp_lines(locks))))
    return python


def create_environment(environment: Path) -> None:
    """An empty virtual environment. Raises SetupFailed where Python came without the parts for it."""
    say(f"Making a virtual environment in {environment}")
    made = subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True, text=True, check=False)
    if made.returncode:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupFailed(
            "Python cannot make virtual environments here. On Debian and Ubuntu install it with "
            f"`apt-get install python{version}-venv`, then run the same command again.\n{made.stdout}{made.stderr}"
        )


def install_lock(python: Path, lock: Path) -> None:
    """Install ``lock`` with pip, hashes required, and say how far it is. Raises SetupFailed."""
    total = sum("==" in line for line in lock.read_text().splitlines())
    say(f"Installing up to {total} packages from {lock.name} (hashes checked)")
    command = [str(python), "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--requirement", str(lock)]
    began, count, tail = time.monotonic(), 0, [""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            tail = [*tail[-14:], line.rstrip()]
            if line.startswith(("Collecting ", "Processing ")):
                count += 1
                if count % 10 == 0:
                    say(f"  {count} of {total} packages, {time.monotonic() - began:.0f} s")
            elif line.startswith("Installing collected packages"):
                say(f"  unpacking {count} packages, {time.monotonic() - began:.0f} s")
    if pip.returncode:
        last_words = "\n".join(tail).strip()
        raise SetupFailed(
            f"{last_words}\n\nThe packages of {lock.name} could not be installed (the lines above are pip's). Check "
            "that this machine reaches its Python package registry, then run the same command again."
        )
    say(f"  packages ready after {time.monotonic() - began:.0f} s")


def say(sentence: str) -> None:
    """Progress goes to stderr at once: a door's own output stays clean."""
    print(sentence, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Set up, step into the environment, and do what is asked."""
    if not argv or (argv[0] in {"help", "-h", "--help"} and len(argv) == 1):
        print("Usage: ./manage.py <door>\n\n" + "\n".join(f"  {name:<8}{what}" for name, what in DOORS.items()))
        print("\nAnything else is a Django command on the instance in MOORAGE_HOME, such as `./manage.py shell`.")
        return 0
    command, home = argv[0], home_directory()
    locks = locks_for(command)
    if not is_ready(Path(sys.prefix), locks):
        try:
            python = ensure_environment(home / "venv", locks)
        except SetupFailed as error:
            say(str(error))
            return 1
        os.execv(python, [str(python), str(ROOT / "manage.py"), *argv])  # noqa: S606 - no shell is wanted

    sys.path.insert(0, str(ROOT / "platform"))
    os.environ["MOORAGE_HOME"] = str(home)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moorage.config.settings")
    from moorage.config.instance import doors, environment

    if command in doors.DOORS:
        return doors.main(argv, root=ROOT, environ=dict(os.environ))
    for name, value in environment.read(home / "instance.env").items():
        os.environ.setdefault(name, value)
    from django.core.management import execute_from_command_line

    execute_from_command_line([str(ROOT / "manage.py"), *argv])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
