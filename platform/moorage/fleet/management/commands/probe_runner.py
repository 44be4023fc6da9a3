"""Look at the walls from inside: run a probe where a replica's engine would run, and say what it found."""

import itertools
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from moorage.fleet import probing, runtime_classes, runtimes, services
from moorage.fleet.engines import Engine
from moorage.fleet.errors import FleetError, ImageMissing
from moorage.fleet.inside_probe import Machine, Report


class Command(BaseCommand):
    """One table an engine; exit status 1 where a door is open or could not be tried."""

    help = "Try to get out of a runner's container, and print what stopped it. Kept for the page of nodes."

    def add_arguments(self, parser: CommandParser) -> None:
        """`--engine` and `--class`: all of them without."""
        parser.add_argument("--engine", choices=[engine.value for engine in Engine], help="one engine alone")
        parser.add_argument(
            "--class", dest="trust_class", default=runtime_classes.DEFAULT, help="a class of MOORAGE_RUNTIME_CLASSES"
        )

    def handle(self, *args: Any, engine: str | None, trust_class: str, **options: Any) -> None:  # noqa: ARG002
        """Runs it for each engine whose image is there, and stores what was found."""
        runtime = runtimes.of_operator()
        if not runtime.is_isolated:
            raise CommandError(
                f"The runtime is {runtime.name}: replicas are not isolated at all, and there is nothing to try."
            )
        if trust_class not in settings.MOORAGE_RUNTIME_CLASSES:
            raise CommandError(f"There is no class {trust_class!r}: {', '.join(runtime_classes.classes())}.")
        container_runtime = settings.MOORAGE_RUNTIME_CLASSES[trust_class]
        node = services.register_node()
        is_closed = True
        for each in [Engine(engine)] if engine else Engine:
            try:
                report = self._look(each, container_runtime)
            except ImageMissing as error:
                self.stdout.write(f"{each.value}: not tried. {error.message}\n")
                is_closed = is_closed and engine is None
                continue
            except FleetError as error:
                raise CommandError(error.message) from error
            probing.keep(report, node=node, engine=each, container_runtime=container_runtime)
            self._print(each, container_runtime, report)
            is_closed = is_closed and report.is_closed
        if not is_closed:
            sys.exit(1)

    def _look(self, engine: Engine, container_runtime: str) -> Report:
        """With things to find: a listener of the machine, a socket without a file, a neighbour's model."""
        runtime = runtimes.of_operator()
        with (
            tempfile.TemporaryDirectory(prefix="moorage-probe-") as directory,
            socket.create_server(("0.0.0.0", 0)) as listener,  # noqa: S104 - it has to be there to be tried
            socket.socket(socket.AF_UNIX) as abstract,
        ):
            model_dir = Path(directory) / "model"
            model_dir.mkdir(mode=0o755)
            Path(directory).chmod(0o755)
            name = f"moorage-probe-{os.getpid()}"
            abstract.bind(f"\0{name}")
            abstract.listen()
            spec = probing.replica_spec(
                engine,
                runtime=runtime,
                instance=settings.MOORAGE_INSTANCE,
                socket_root=settings.MOORAGE_SOCKET_DIR,
                model_dir=model_dir,
                container_runtime=container_runtime,
            )
            port = listener.getsockname()[1]
            machine = Machine(
                addresses=tuple(f"{address}:{port}" for address in _addresses()),
                hidden=(str(settings.MOORAGE_HOME), str(settings.MOORAGE_STORE), str(settings.MOORAGE_SOCKET_DIR)),
                engine_sockets=((settings.DOCKER_HOST or "").removeprefix("unix://"),) if settings.DOCKER_HOST else (),
                abstract_sockets=(name,),
            )
            return probing.look(spec, runtime=runtime, machine=machine)

    def _print(self, engine: Engine, container_runtime: str, report: Report) -> None:
        self.stdout.write(f"{engine.value}, started with {container_runtime}")
        for finding in report.findings:
            verdict = "closed" if finding.is_closed else "OPEN  "
            self.stdout.write(f"  {verdict}  {finding.claim:<66} {finding.found}")
        if report.trouble:
            self.stdout.write(f"  UNKNOWN {report.trouble}")
        self.stdout.write(f"{len(report.findings)} tried, {len(report.open)} open\n\n")


def _addresses() -> tuple[str, ...]:
    """IPv4 addresses of this machine's interfaces (the kernel's list of local ones), loopback left out: a runner has a
    loopback of its own."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    local = {before.split()[-1] for before, line in itertools.pairwise(lines) if line.split()[-2:] == ["host", "LOCAL"]}
    return tuple(sorted(address for address in local if not address.startswith("127.")))
