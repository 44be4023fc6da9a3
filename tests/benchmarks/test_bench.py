"""The door, and one run of a second: that it measures, not how fast."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import programs
from tests.benchmarks.__main__ import parser
from tests.benchmarks.programs import BenchFailed

ROOT = Path(__file__).parents[2]


def bench(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}",
        "MOORAGE_HOME": str(home),
        "MOORAGE_BENCH_KEYS": "500",
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks", *arguments],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_help_names_every_scenario() -> None:
    text = parser().format_help()

    assert all(name in text for name in ("unary", "stream", "paced", "held", "journal", "where", "soak"))


def test_a_scenario_that_does_not_exist_is_refused(short_tmp: Path) -> None:
    done = bench(short_tmp, "gateway", "--only", "unary,rowing")

    assert done.returncode == 2
    assert "unknown: rowing" in done.stderr


def test_the_rater_is_measured_and_what_it_rated_adds_up(short_tmp: Path) -> None:
    done = bench(short_tmp, "rating", "--quick")

    assert done.returncode == 0, done.stderr
    (kept,) = (short_tmp / "bench" / "results").glob("rating-*.json")
    assert all(row["reached"] > 0 for row in json.loads(kept.read_text())["rows"])


def test_without_a_compiler_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BenchFailed, match="no C compiler here: install one"):
        programs.build(tmp_path / "bin")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_quick_look_at_answers_in_one_piece_gives_a_table_and_keeps_it(short_tmp: Path) -> None:
    done = bench(short_tmp, "gateway", "--quick", "--only", "unary")

    assert done.returncode == 0, done.stderr
    assert re.search(r"system call takes [1-9]\d* ns, .* other core [1-9]\d* us, .* disk [1-9]\d* us", done.stdout)
    assert "CPU per request" in done.stdout and "added latency, one connection, p99" in done.stdout
    (kept,) = (short_tmp / "bench" / "results").glob("gateway-*.json")
    rows = {row["measure"]: row for row in json.loads(kept.read_text())["rows"]}
    assert rows["CPU per request"]["reached"] > 0
    assert rows["requests/s against litellm"]["verdict"] == "skipped"
    assert "--peers" in rows["requests/s against litellm"]["remark"]
