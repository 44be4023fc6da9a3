"""Which llama-server is new enough to run models of strangers.

The floor is llama.cpp b8146: below it a crafted GGUF file overflows the heap (CVE-2026-27940, which goes around the
mending of CVE-2025-53630).
"""

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Final

FLOOR_BUILD: Final = 8146
#: Releases count builds; `version: 8146 (1ab2c3d)`. Half a year after the floor llama.cpp took version numbers as
#: well: `version: 0.5.0-dev (build 0, commit 0c1e57098)`. A build without its git history calls itself 0 or 1.
_COUNTED: Final = re.compile(r"version:\s*b?(\d+)\s*\(")
_NUMBERED: Final = re.compile(r"version:\s*(\d+\.\d+\.\d+\S*)\s*\(build (\d+), commit (\w+)\)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a llama-server says about itself."""

    text: str
    is_new_enough: bool


def parse(output: str) -> Version | None:
    """The version in what `llama-server --version` prints; None if it says none."""
    if numbered := _NUMBERED.search(output):
        return Version(text=f"{numbered[1]} ({numbered[3]})", is_new_enough=True)
    if counted := _COUNTED.search(output):
        return Version(text=f"b{counted[1]}", is_new_enough=int(counted[1]) >= FLOOR_BUILD)
    return None


def ask(binary: Path) -> Version | None:
    """The version of ``binary``; None if it does not run or does not say."""
    try:
        asked = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(asked.stdout + asked.stderr)
