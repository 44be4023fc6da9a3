"""The doors of an instance as a person types them: up, down, status, logs, test, bench, compile."""

import argparse
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from moorage.config.instance import bench_door, compile_door, logs, report, runtime_choice, test_door, up
from moorage.config.instance.errors import InstanceError
from moorage.config.instance.home import Home
from moorage.config.instance.identity import Identity
from moorage.config.instance.progress import Progress
from moorage.config.instance.supervisor import end_leftovers

DOORS: Final = ("up", "down", "status", "logs", "test", "bench", "compile")
#: Long enough for every process and engine to stop one after the other.
_DOWN_SECONDS: Final = 120.0


def main(argv: Sequence[str], *, root: Path, environ: Mapping[str, str]) -> int:
    """Run one door; its exit status. Errors for a person go to stderr as one sentence."""
    place = Home(path=Path(environ["MOORAGE_HOME"]))
    if argv[0] == "test":
        return test_door.run(list(argv[1:]), root=root, place=place, environ=environ)
    if argv[0] == "bench":
        return bench_door.run(list(argv[1:]), root=root, place=place, environ=environ)
    if argv[0] == "compile":
        return compile_door.run(place=place)
    asked = _parser().parse_args(argv)
    try:
        match asked.door:
            case "up":
                return _up(asked, root=root, place=place, environ=environ)
            case "down":
                return _down(place)
            case "status":
                return _status(place)
            case _:
                return _logs(asked, place)
    except InstanceError as error:
        print(error.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `./manage.py logs | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./manage.py")
    doors = parser.add_subparsers(dest="door", required=True)
    door = doors.add_parser("up", help="start Moorage on this machine")
    door.add_argument("--detach", action="store_true", help="return when everything is ready, and leave it running")
    door.add_argument(
        "--console-port", type=_port, metavar="PORT", help="console and REST API (8400, else the next free)"
    )
    door.add_argument("--gateway-port", type=_port, metavar="PORT", help="gateway (8401, else the next free)")
    door.add_argument("--runtime", choices=runtime_choice.NAMES, help="Docker where an Engine answers, else processes")
    door.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    doors.add_parser("down", help="stop it, engines included")
    doors.add_parser("status", help="what runs, where, and since when")
    door = doors.add_parser("logs", help="what the processes say")
    door.add_argument("-f", "--follow", action="store_true", help="go on as lines are written")
    door.add_argument("-n", "--lines", type=int, default=50, help="how many lines of each log first (50)")
    door.add_argument("name", nargs="?", help="one process alone")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def _up(asked: argparse.Namespace, *, root: Path, place: Home, environ: Mapping[str, str]) -> int:
    place.prepare()
    if Identity.read(place.supervisor) is not None:
        return _already_up(place)
    is_first = place.unfinished.exists() or not place.up.exists()
    if asked.detach:
        return _detach(asked, root=root, place=place, environ=environ, is_first=is_first)
    wishes = up.Wishes(console_port=asked.console_port, gateway_port=asked.gateway_port, runtime=asked.runtime)

    def when_ready(warning: str | None) -> None:
        place.ready.write_text(warning or "")
        if not asked.quiet:
            _show_report(place, is_first=is_first, warning=warning)

    with up.claimed(place) as is_ours:
        if not is_ours:
            return _already_up(place)
        progress = Progress(steps=up.STEPS)
        up.run(place=place, root=root, operator=environ, wishes=wishes, progress=progress, when_ready=when_ready)
    return 0


def _detach(asked: argparse.Namespace, *, root: Path, place: Home, environ: Mapping[str, str], is_first: bool) -> int:
    """Start the supervisor in a session of its own, show its progress, return when everything is ready."""
    log = place.logs / "up.log"
    place.ready.unlink(missing_ok=True)  # One that a killed supervisor left is not the answer to wait for.
    options = [f"--console-port={asked.console_port}"] if asked.console_port else []
    options += [f"--gateway-port={asked.gateway_port}"] if asked.gateway_port else []
    options += [f"--runtime={asked.runtime}"] if asked.runtime else []
    with log.open("w") as written:
        log.chmod(0o600)
        # The report stays out of the log: it holds secrets.
        supervisor = subprocess.Popen(
            [sys.executable, str(root / "manage.py"), "up", "--quiet", *options],
            env=dict(environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        for _, line in logs.follow(
            [log], go_on=lambda: supervisor.poll() is None and not place.ready.exists(), begin=0
        ):
            print(line, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        raise
    if supervisor.poll() is not None:
        print(f"Moorage did not start; all of what it said is in {log}.", file=sys.stderr)
        return 1
    _show_report(place, is_first=is_first, warning=place.ready.read_text() or None)
    return 0


def _already_up(place: Home) -> int:
    if not place.ready.exists():
        print("Moorage is being started here already; `./manage.py logs -f up` shows how far it is.", file=sys.stderr)
        return 1
    print("Moorage is running here already.", file=sys.stderr)
    _show_report(place, is_first=False, warning=place.ready.read_text() or None)
    return 0


def _show_report(place: Home, *, is_first: bool, warning: str | None) -> None:
    if (known := report.read(place)) is not None:
        print(
            report.render(known, home=place, is_first=is_first and bool(known.admin_password), warning=warning),
            flush=True,
        )


def _down(place: Home) -> int:
    supervisor = Identity.read(place.supervisor)
    if supervisor is None:
        if place.supervisor.exists():  # It was killed: a supervisor that stops takes its note away.
            end_leftovers(place.run)
            up.stop_engines_of(place)
            place.ready.unlink(missing_ok=True)
            place.supervisor.unlink()
            print("Moorage had been killed; what it left is ended, engines included.")
        else:
            print("Moorage is not running here.")
        return 0
    if not supervisor.end(first=signal.SIGTERM, seconds=_DOWN_SECONDS):
        end_leftovers(place.run)
        place.supervisor.unlink(missing_ok=True)
        print("Moorage had to be killed; `./manage.py logs` may say why.", file=sys.stderr)
        return 1
    print("Moorage is down.")
    return 0


def _status(place: Home) -> int:
    """Print a table; 0 if everything runs, 3 if it is not running (as init scripts say), 1 if something is down."""
    if Identity.read(place.supervisor) is None:
        print(f"Moorage is not running in {place.path}.")
        return 3
    rows = json.loads(place.status.read_text()) if place.status.exists() else []
    is_ready = place.ready.exists()
    print(f"Moorage in {place.path}: {'ready' if is_ready else 'starting'}")
    all_run = True
    for row in rows:
        runs = row["pid"] is not None and Identity.of(row["pid"]) is not None
        all_run &= runs
        since = dt.datetime.fromtimestamp(row["since"], tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        state = f"running  pid {row['pid']:<8} since {since}" if runs else "down"
        print(f"  {row['name']:<18}{state}  restarts {row['restarts']}")
    if is_ready and (known := report.read(place)) is not None:
        print(f"  console {known.console_url}/\n  REST    {known.api_url}/\n  OpenAI  {known.gateway_url}/v1/")
    return 0 if all_run and is_ready else 1


def _logs(asked: argparse.Namespace, place: Home) -> int:
    shown = logs.show(place.logs, name=asked.name, lines=asked.lines, follows=asked.follow, out=sys.stdout)
    if not shown:
        raise InstanceError(
            f"There is no log called {asked.name!r}; there are: {', '.join(logs.names(place.logs)) or 'none'}."
        )
    return 0
