"""A full disk on pull: one clear sentence in the status, nothing left behind, and it goes on when there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.artifacts.store import RESERVE_BYTES
from tests.flows import remains
from tests.flows.stack import Stack
from tests.flows.test_a_compose_to_ready import COMPOSE
from tests.waiting import wait_until

SIZE = RESERVE_BYTES + 32 * 1024 * 1024


@pytest.fixture(scope="module")
def small_disk(stack_home: Path) -> Iterator[Path]:
    """A file system of its own for the store of weights."""
    store = stack_home / "store"
    store.mkdir(mode=0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "moorage-test", str(store)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield store
    subprocess.run(["umount", "--lazy", str(store)], check=True)


@pytest.fixture(scope="module")
def stack_environment(small_disk: Path) -> dict[str, str]:
    """The store lies on the small disk."""
    return {"MOORAGE_STORE": str(small_disk)}


def test_a_full_disk_is_said_leaves_nothing_and_is_got_over(secret: str, stack: Stack, small_disk: Path) -> None:
    before = remains.of(stack)
    ballast = small_disk.with_name("store") / "ballast"
    with ballast.open("wb") as file:
        file.write(b"\1" * (SIZE - RESERVE_BYTES - 1024 * 1024))

    with stack.api(secret) as api:
        assert api.put("/deployments/demo", content=COMPOSE).status_code == 202

        told = wait_until(
            lambda: (shown := api.get("/deployments/demo").json())["reason_code"] == "waiting_to_retry" and shown,
            seconds=30,
            what="the full disk in the status",
        )
        assert "The model needs" in told["reason"] and "are free." in told["reason"]
        wait_until(lambda: remains.of(stack).reservations == frozenset(), seconds=20, what="no reservation")
        held = remains.of(stack)
        assert held.weights - {"ballast"} == before.weights
        assert (held.containers, held.sockets, held.routes) == (before.containers, before.sockets, held.routes)

        ballast.unlink()

        wait_until(lambda: api.get("/deployments/demo").json()["status"] == "ready", seconds=60, what="ready")
        assert stack.openai(secret).completions.create(model="demo/llm", prompt="The sea", max_tokens=2).usage
        assert api.delete("/deployments/demo", params={"wait": "gone"}).status_code == 204
    assert remains.of(stack).that_run == frozenset()
