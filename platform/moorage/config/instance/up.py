"""`./manage.py up`: the walk from nothing to a ready instance, step by step, then the watch over it.

1. the home, its secrets and ports     2. the runtime and its engine       3. PostgreSQL and Valkey
4. migrations                          5. the processes of Moorage         6. first boot: accounts and the demo
"""

import contextlib
import dataclasses
import fcntl
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from moorage.config.instance import (
    databases,
    environment,
    first_boot,
    home,
    passage,
    ports,
    report,
    runtime_choice,
    secrets,
)
from moorage.config.instance.databases import Databases
from moorage.config.instance.errors import StartFailed
from moorage.config.instance.identity import Identity
from moorage.config.instance.postgres import Postgres
from moorage.config.instance.processes import platform_programs
from moorage.config.instance.progress import Progress
from moorage.config.instance.supervisor import Supervisor, end_leftovers
from moorage.config.instance.valkey import Valkey

STEPS = 6
#: Services that hold state: last to stop, since whoever stops before them may still have something to write.
_STATE = ("postgres", "valkey")
#: Of what the operator's environment holds, this is not every process's business.
_NOT_PASSED_ON = frozenset({"DOCKER_HOST", "MOORAGE_LLAMA_SERVER", *databases.OWN})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asked for."""

    console_port: int | None = None
    gateway_port: int | None = None
    runtime: str | None = None


def run(
    *,
    place: home.Home,
    root: Path,
    operator: Mapping[str, str],
    wishes: Wishes,
    progress: Progress,
    when_ready: Callable[[str | None], None],
) -> None:
    """Start everything, call ``when_ready`` with the runtime's warning, watch until asked to stop, stop everything.

    Raises InstanceError where something does not start; whatever had been started is stopped by then.
    """
    supervisor = Supervisor(run_directory=place.run, log_directory=place.logs, environment=operator, say=progress.note)
    supervisor.listen_to_signals()
    variables: dict[str, str] = {}
    try:
        warning = _start(
            supervisor, variables, place=place, root=root, operator=operator, wishes=wishes, progress=progress
        )
        when_ready(warning)
        supervisor.watch()
    finally:
        place.ready.unlink(missing_ok=True)
        print("Stopping Moorage, engines included.", file=sys.stderr, flush=True)
        _stop(supervisor, variables)


@contextlib.contextmanager
def claimed(place: home.Home) -> Iterator[bool]:
    """Take the home for this process alone while the context lasts; False if another supervisor has it.

    The notes and children of a supervisor that was killed are cleared away first.
    """
    place.prepare()
    with (place.run / "supervisor.lock").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)  # The kernel lets go of it when this process dies.
        except BlockingIOError:
            yield False
            return
        place.ready.unlink(missing_ok=True)
        end_leftovers(place.run)
        myself = Identity.of(os.getpid())
        assert myself is not None
        myself.write(place.supervisor)
        try:
            yield True
        finally:
            place.supervisor.unlink(missing_ok=True)


def _start(
    supervisor: Supervisor,
    variables: dict[str, str],
    *,
    place: home.Home,
    root: Path,
    operator: Mapping[str, str],
    wishes: Wishes,
    progress: Progress,
) -> str | None:
    """The walk itself; returns what a person should know about the runtime."""
    with progress.step(f"Home in {place.path}"):
        own = secrets.load(place)
        chosen = ports.choose(place, console=wishes.console_port, gateway=wishes.gateway_port)
        progress.note(f"console on port {chosen.console}, gateway on port {chosen.gateway}")

    with progress.step("Container runtime and llama-server"):
        name = runtime_choice.choose(forced=wishes.runtime, environ=operator)
        runtime = runtime_choice.make_ready(
            name, home=place, root=root, environ=operator, is_forced=wishes.runtime is not None, say=progress.note
        )
        if runtime.warning:
            progress.note(runtime.warning)

    with progress.step("PostgreSQL and Valkey"):
        urls, broker_url = _state_services(supervisor, place, own, operator, progress)

    variables |= {name: value for name, value in operator.items() if name not in _NOT_PASSED_ON}
    instance = environment.compose(
        home=place, root=root, ports=chosen, secrets=own, runtime=runtime,
        database_url=urls.app, broker_url=broker_url, operator=operator,
    )  # fmt: skip
    variables |= instance
    supervisor.use(variables)
    home.write_private(place.environment, environment.render(instance))

    with progress.step("Database schema"):
        _django(
            ["migrate", "--no-input", "--verbosity", "0"],
            {**variables, "DATABASE_URL": urls.owner},
            what="The database schema could not be brought up to date",
        )
        # Before the first request: usage without a price in force would wait for one.
        _django(["ensure_prices"], variables, what="The first price list could not be written")
        # Before the gateway serves: what was ready the last time may have ended with the machine.
        _django(["settle_routes"], variables, what="The routes could not be settled")

    with progress.step("Processes"):
        programs = platform_programs(
            python=sys.executable,
            ports=chosen,
            run_directory=str(place.run),
            answers=_answers,
            gateway_scheme="https" if variables.get("MOORAGE_GATEWAY_TLS_CERTIFICATE") else "http",
            gateway_workers=environment.gateway_workers(variables),
            database_urls=urls.of_processes,
        )
        supervisor.start(programs)
        progress.note(", ".join(program.name for program in programs))

    _first_boot(place, root=root, variables=variables, progress=progress)
    return runtime.warning


def _state_services(
    supervisor: Supervisor, place: home.Home, own: secrets.Secrets, operator: Mapping[str, str], progress: Progress
) -> tuple[Databases, str]:
    """The databases' addresses and BROKER_URL: the operator's, or those of embedded services, started here."""
    broker_url = operator.get("BROKER_URL")
    programs = []
    if operator.get("DATABASE_URL"):
        progress.note("using the PostgreSQL that DATABASE_URL names")
        urls = Databases.of_operator(operator)
    else:
        database = Postgres(
            directory=place.postgres,
            socket=place.postgres_socket,
            password=own.postgres_password,
            logins=secrets.database_logins(own),
        )
        database.prepare()
        urls = Databases.embedded(database)
        programs.append(database.program())
    if broker_url:
        progress.note("using the broker that BROKER_URL names")
    else:
        broker = Valkey(directory=place.valkey, port=ports.any_free(), password=own.valkey_password)
        broker.prepare()
        broker_url = broker.url
        programs.append(broker.program())
    supervisor.start(programs)
    if not operator.get("DATABASE_URL"):
        database.ensure_database()
    return urls, broker_url


def _first_boot(place: home.Home, *, root: Path, variables: Mapping[str, str], progress: Progress) -> None:
    """Make the accounts if there are none, deploy the demo once, and write up.json."""
    known = report.read(place)
    addresses = {
        "console_url": variables["MOORAGE_CONSOLE_URL"],
        "api_url": f"{variables['MOORAGE_CONSOLE_URL']}/api/v1",
        "gateway_url": variables["MOORAGE_GATEWAY_URL"],
    }
    if known is not None and not place.unfinished.exists():
        with progress.step("Accounts and demo are there"):
            report.write(place, dataclasses.replace(known, **addresses))
        return
    with progress.step("First start: administrator, demo organization, demo deployment"):
        if known is None:
            # Written before the accounts are made: whatever happens next, the demo is not forgotten.
            place.unfinished.touch()
            boot = first_boot.make_accounts(variables, kept=place.first_secrets)
            if boot is None:
                progress.note("this database has users already: their secrets are where they were first shown")
                place.unfinished.unlink()
            known = report.Report(**addresses, **({**boot, "model": first_boot.MODEL} if boot else {}))
        known = dataclasses.replace(known, **addresses)
        report.write(place, known)
        place.first_secrets.unlink(missing_ok=True)
        if known.api_token:
            progress.note(f"deploying {first_boot.DEPLOYMENT} through the REST API and waiting for its first token")
            compose_file = root / "runners" / "demo" / "compose.yaml"
            first_boot.deploy_demo(api_url=known.api_url, api_token=known.api_token, compose_file=compose_file)
            place.unfinished.unlink(missing_ok=True)


def stop_engines_of(place: home.Home) -> None:
    """Remove the engines of an instance whose supervisor is gone, and the mount that it had made."""
    known = environment.read(place.environment)
    if known:
        _stop_engines({**known, "PATH": os.defpath})
    if said := passage.close(place.replica_sockets):
        print(said, file=sys.stderr)


def _stop(supervisor: Supervisor, variables: Mapping[str, str]) -> None:
    """Doors and workers, then engines, then what holds state. A second signal does not cut this short."""
    workers = [name for name in supervisor.running() if name not in _STATE]
    supervisor.stop(names=workers)
    _stop_engines(variables)
    supervisor.stop()


def _stop_engines(variables: Mapping[str, str]) -> None:
    """Remove every container or engine process of this instance."""
    if "DATABASE_URL" in variables:
        command = [sys.executable, "-m", "django", "stop_engines"]
        stopped = subprocess.run(
            command, env=dict(variables), cwd="/", capture_output=True, text=True, check=False, start_new_session=True
        )
        if stopped.returncode:
            print(f"Engines could not be stopped: {stopped.stderr.strip()[-1000:]}", file=sys.stderr, flush=True)


def _django(arguments: list[str], variables: Mapping[str, str], *, what: str) -> None:
    command = [sys.executable, "-m", "django", *arguments]
    done = subprocess.run(command, env=dict(variables), cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartFailed(f"{what}: {(done.stderr or done.stdout).strip()[-2000:]}")


def _answers(url: str) -> bool:
    """Whether an HTTP server answers at ``url`` with anything but an error of its own."""
    # Asked on loopback whether it is there, not who it is: its certificate names another host.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting))
    try:
        opener.open(url, timeout=3).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except (OSError, ValueError):
        return False
    return True
