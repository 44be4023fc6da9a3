"""`./manage.py bench gateway`: one gateway worker on one core, with everything on, against floors, aims and peers.
`./manage.py bench rating`: how fast usage becomes money.
`./manage.py bench autoscale`: the autoscaler beside a reference policy on the same seeded traces.
`./manage.py bench pool`: where replicas go, beside first-fit-decreasing; how long a decision takes.
`./manage.py bench coldstart`: how long a model that sleeps takes to its first token.
"""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from moorage.gateway import compiled
from tests.benchmarks import (
    costs,
    fetching,
    figures,
    gates,
    gateway,
    held,
    ingestion,
    machine,
    peers,
    pool,
    rating,
    soak,
    stage,
    stream,
    unary,
    where,
)
from tests.benchmarks.autoscale import table as autoscale
from tests.benchmarks.bench import Bench
from tests.benchmarks.coldstart import measure as coldstart
from tests.benchmarks.figures import Row
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.series import QUICK, Effort, say

Scenario = Callable[[Bench], tuple[list[Row], list[str]]]
SCENARIOS: Final[dict[str, Scenario]] = {
    "unary": unary.measure,
    "stream": stream.burst,
    "paced": stream.paced,
    "held": held.measure,
    "journal": ingestion.measure,
}
#: Only when asked for: it takes minutes.
_SOAK: Final = "soak"
_WHERE: Final = "where"
_SOAK_REQUESTS: Final = 1_000_000


def parser() -> argparse.ArgumentParser:
    """The door's options."""
    made = argparse.ArgumentParser(
        prog="./manage.py bench",
        description="Measures one gateway worker on one core: what a request and a frame cost, what the gateway adds, "
        "and how it stands beside other gateways under the same load, with the same fake engine, in one run. Or the "
        "rater: how many usage events a core rates and posts.",
        epilog="The headline is processor time for each request and frame: it survives a busy neighbour. Requests a "
        "second are compared within a round alone. The method is in tests/benchmarks/README.md.",
    )
    made.add_argument(
        "subject",
        nargs="?",
        choices=("gateway", "rating", "coldstart", "autoscale", "pool"),
        default="gateway",
        help="what is measured",
    )
    made.add_argument(
        "--only",
        type=_scenarios,
        default=(*SCENARIOS, _WHERE),
        metavar="NAMES",
        help=f"some of {', '.join((*SCENARIOS, _WHERE, _SOAK))}, with commas between",
    )
    made.add_argument("--quick", action="store_true", help="one round of one second each, no waiting for quiet")
    made.add_argument("--rounds", type=int, metavar="N", help="of coldstart")
    made.add_argument("--peers", action="store_true", help="first fetch the other gateways into places of their own")
    made.add_argument(
        "--soak", type=int, metavar="REQUESTS", help="also send so many requests and print the slope of memory"
    )
    return made


def _scenarios(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in names if name not in (*SCENARIOS, _WHERE, _SOAK)]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def main(arguments: list[str]) -> int:
    """Measure, print the table, keep it as JSON. 1 when a measurement failed; a missed floor is no failure."""
    asked = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended on the way out
    folder = Path(os.environ.get("MOORAGE_HOME") or ".moorage").absolute() / "bench"
    if asked.subject == "coldstart":
        return wake(folder, is_quick=asked.quick, rounds=asked.rounds)
    if asked.subject == "pool":
        return pool.main(is_quick=asked.quick)
    if asked.subject == "autoscale":
        return autoscale.main(is_quick=asked.quick)
    if asked.subject == "rating":
        return rate(folder, is_quick=asked.quick)
    try:
        if asked.peers:
            fetching.fetch(folder / "peers")
        began = dt.datetime.now(dt.UTC)
        with stage.built(folder) as scene:
            bench = Bench(scene=scene, peers=folder / "peers", effort=QUICK if asked.quick else Effort())
            about = describe(scene, bench)
            print("\n".join(about), flush=True)
            rows, words = measure(bench, asked)
    except BenchFailed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\n{figures.render(rows)}\n" if rows else "")
    for title, lines in words.items():
        print(f"{title}:\n  " + "\n  ".join("\n".join(lines).splitlines()) + "\n")
    file = keep(folder / "results", began, about=about, rows=rows, words=words)
    print(f"Kept in {file}")
    return 0


def rate(folder: Path, *, is_quick: bool) -> int:
    """Measure the rater, print the table, keep it as JSON. 1 when what was rated does not add up."""
    began = dt.datetime.now(dt.UTC)
    about = [f"{processor()}, Linux {platform.release()}, Python {platform.python_version()}"]
    print("\n".join(about), flush=True)
    try:
        rows, words = rating.measure(folder, is_quick=is_quick)
    except BenchFailed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\n{figures.render(rows)}\n")
    file = keep(folder / "results", began, about=about, rows=rows, words={"rating": words}, subject="rating")
    print(f"Kept in {file}")
    return 0


def wake(folder: Path, *, is_quick: bool, rounds: int | None) -> int:
    """Measure how long a model that sleeps takes to its first token, print the table, keep it as JSON."""
    began = dt.datetime.now(dt.UTC)
    about = [f"{processor()}, Linux {platform.release()}, Python {platform.python_version()}"]
    print("\n".join(about), flush=True)
    try:
        rows, words = coldstart.measure(is_quick=is_quick, rounds=rounds)
    except BenchFailed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\n{figures.render(rows)}\n")
    for title, lines in words.items():
        print(f"{title}:\n  " + "\n  ".join(lines) + "\n")
    file = keep(folder / "results", began, about=about, rows=rows, words=words, subject="coldstart")
    print(f"Kept in {file}")
    return 0


def measure(bench: Bench, asked: argparse.Namespace) -> tuple[list[Row], dict[str, list[str]]]:
    """All rows in the order of the scenarios, and by scenario what it says besides. Raises BenchFailed."""
    rows: list[Row] = []
    words: dict[str, list[str]] = {}
    for name, scenario in SCENARIOS.items():
        if name in asked.only:
            say(name)
            found, words[name] = scenario(bench)
            rows += found
    if asked.soak or _SOAK in asked.only:
        say(_SOAK)
        found, words[_SOAK] = soak.measure(bench, asked.soak or _SOAK_REQUESTS)
        rows += found
    if _WHERE in asked.only:
        say(_WHERE)
        words[_WHERE] = where.measure(bench)
    return rows, words


def describe(scene: stage.Stage, bench: Bench) -> list[str]:
    """The machine and the versions, without which figures say nothing."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("uvloop", "httptools", "msgspec"))
    present = [f"{name} {version}" for name in peers.NAMES if (version := peers.version_of(bench.peers, name))]
    near = gates.distance(scene.binaries["distance"])
    form = "native code" if compiled.folder(gateway.native_code()).is_dir() else "sources"
    python = f"Python {platform.python_version()} ({os.path.realpath(sys.executable)})"
    taken = costs.measured(scene.binaries["costs"], scene.work)
    return [
        f"{processor()}, Linux {platform.release()}, {python}, {versions}, gateway as {form}",
        f"gateway on core {machine.SYSTEM_CORE}, engine and load on core {machine.LOAD_CORE}; a cache line goes to the "
        f"other core and back in {near:.0f} ns (above {gates.NEAR_NS:.0f} everything costs up to twice as much)",
        f"the machine alone: {taken}",
        f"peers: {', '.join(present) or 'none; --peers fetches them'}",
    ]


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def keep(
    folder: Path,
    began: dt.datetime,
    *,
    about: list[str],
    rows: list[Row],
    words: dict[str, list[str]],
    subject: str = "gateway",
) -> Path:
    """Write everything as JSON; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{subject}-{began:%Y%m%d-%H%M%S}.json"
    document = {
        "began_at": began.isoformat(),
        "about": about,
        "rows": [figures.document(row) for row in rows],
        "words": words,
    }
    file.write_text(json.dumps(document, indent=1))
    return file


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
