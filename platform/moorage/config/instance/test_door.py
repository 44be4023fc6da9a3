"""`./manage.py test`: every check of the project in one go, the fast ones first, pytest last; each failure is named.

Arguments go to pytest. `--only lint,types` runs some of the checks alone.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from moorage.config.instance import environment, llama_server, ports, secrets
from moorage.config.instance.errors import InstanceError
from moorage.config.instance.home import Home
from moorage.config.instance.postgres import Postgres
from moorage.config.instance.runtime_choice import Runtime
from moorage.config.instance.supervisor import Supervisor
from moorage.config.instance.valkey import Valkey

CHECKED: Final = ("manage.py", "platform", "tests", "runners")


def checks(python: str) -> dict[str, tuple[str, ...]]:
    """The fast checks, by the name that a person sees: argument lists to run in the repository."""
    tool = Path(python).parent
    return {
        "format": (python, "-m", "ruff", "format", "--check", "--quiet", "--diff", *CHECKED),
        "lint": (python, "-m", "ruff", "check", "--quiet", *CHECKED),
        "imports": (str(tool / "lint-imports"),),
        "types": (python, "-m", "mypy"),
        "migrations": (python, "-m", "django", "makemigrations", "--check", "--dry-run"),
    }


def choose(arguments: list[str], *, known: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """What to run, and what to hand to pytest. Raises InstanceError for a check that does not exist."""
    if "--only" not in arguments:
        return known, arguments
    place = arguments.index("--only")
    wanted = tuple(arguments[place + 1].split(",")) if len(arguments) > place + 1 else ()
    if unknown := [name for name in wanted if name not in known] or not wanted:
        raise InstanceError(f"--only takes some of {', '.join(known)} with commas between, not {unknown or 'nothing'}.")
    return wanted, arguments[:place] + arguments[place + 2 :]


def run(arguments: list[str], *, root: Path, place: Home, environ: Mapping[str, str]) -> int:
    """Run the checks and pytest; 0 only if all of them passed."""
    fast = checks(sys.executable)
    try:
        wanted, for_pytest = choose(arguments, known=(*fast, "pytest"))
        place.prepare()
        with services(environ=environ, root=root) as variables:
            failed = [
                name for name in fast if name in wanted and not _check(name, fast[name], root=root, environ=variables)
            ]
            if "pytest" in wanted and not _pytest(
                for_pytest, root=root, place=place, environ=environ, services=variables
            ):
                failed.append("pytest")
    except InstanceError as error:
        print(error.message, file=sys.stderr)
        return 1
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def services(*, environ: Mapping[str, str], root: Path) -> Iterator[dict[str, str]]:
    """A throwaway PostgreSQL and Valkey, gone afterwards, and the whole environment of an instance on them."""
    with tempfile.TemporaryDirectory(prefix="moorage-", dir="/tmp") as folder:  # short: sockets live in it
        home = Home(path=Path(folder))
        home.prepare()
        own = secrets.load(home)
        database = Postgres(
            directory=home.postgres, socket=home.postgres_socket, password=own.postgres_password, is_durable=False
        )
        broker = Valkey(directory=home.valkey, port=ports.any_free(), password=own.valkey_password)
        supervisor = Supervisor(run_directory=home.run, log_directory=home.logs, environment=environ)
        try:
            database.prepare()
            broker.prepare()
            supervisor.start([database.program(), broker.program()])
            database.ensure_database()
            variables = environment.compose(
                home=home,
                root=root,
                ports=ports.Ports(console=ports.CONSOLE, gateway=ports.GATEWAY),
                secrets=own,
                runtime=Runtime(name="memory", environment={}),
                database_url=environ.get("DATABASE_URL") or database.url,
                broker_url=environ.get("BROKER_URL") or broker.url,
                operator={},
            )
            yield {**environ, **variables}
        finally:
            supervisor.stop()


def _check(name: str, command: tuple[str, ...], *, root: Path, environ: Mapping[str, str]) -> bool:
    """Run one check and say in one line how it went; its output only if it failed."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=root, env=dict(environ), capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        print(f"{done.stdout}{done.stderr}".rstrip(), file=sys.stderr)
    print(f"{'FAILED' if done.returncode else 'ok':<8}{name:<12}{seconds:5.1f} s", file=sys.stderr, flush=True)
    return done.returncode == 0


def _pytest(
    arguments: list[str], *, root: Path, place: Home, environ: Mapping[str, str], services: Mapping[str, str]
) -> bool:
    """Run pytest on the throwaway services, with a llama-server; its output as it comes."""

    def say(sentence: str) -> None:
        print(f"        {sentence}", file=sys.stderr, flush=True)

    binary = llama_server.get(root=root, cache=place.llama_server, environ=environ, say=say)
    chosen = {name: services[name] for name in ("DATABASE_URL", "BROKER_URL", "DJANGO_SETTINGS_MODULE")}
    surroundings = {**environ, **chosen, "MOORAGE_LLAMA_SERVER": str(binary)}
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=root, env=surroundings, check=False).returncode == 0
