"""The first door, as a new user goes through it: `./manage.py up`, what it prints, and the README's lines."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT_ENVIRONMENT
from tests.flows.stack import ROOT, free_port

pytestmark = pytest.mark.engine


class Instance:
    """One home, driven by the door alone."""

    def __init__(self, home: Path, llama_server: Path) -> None:
        self.home = home
        self.ports = (free_port(), free_port())
        self._environment = {
            name: value for name, value in ROOT_ENVIRONMENT.items() if name not in {"BROKER_URL", "MOORAGE_SECRET_KEY"}
        } | {"MOORAGE_HOME": str(home), "MOORAGE_LLAMA_SERVER": str(llama_server)}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One call of the door."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self._environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=280,
        )

    def up(self) -> str:
        """Up, and what it said."""
        console, gateway = self.ports
        done = self.manage(
            *("up", "--detach", "--runtime", "process"),
            *("--console-port", str(console), "--gateway-port", str(gateway)),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def report(self) -> dict[str, Any]:
        """up.json."""
        return dict(json.loads((self.home / "up.json").read_text()))


@pytest.fixture(scope="module")
def instance(llama_server: Path) -> Iterator[tuple[Instance, str]]:
    """A first start in a fresh home, and what it printed."""
    directory = Path(tempfile.mkdtemp(prefix="mu", dir="/tmp"))
    directory.chmod(0o755)
    made = Instance(directory / "home", llama_server)
    try:
        yield made, made.up()
    finally:
        made.manage("down")
        shutil.rmtree(directory, ignore_errors=True)


def shell(script: str, *, cwd: Path) -> str:
    done = subprocess.run(["bash", "-euc", script], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_up_ends_with_a_curl_and_a_python_snippet_that_work_as_printed(instance: tuple[Instance, str]) -> None:
    made, printed = instance
    (curl,) = re.findall(r"^curl .*?(?:\\\n.*?)*$(?=\n\n)", printed, re.MULTILINE)
    python = printed.partition("or from Python:\n\n")[2].partition("\n\n")[0]

    answer = json.loads(shell(f"{curl} -sS", cwd=made.home))
    said = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, timeout=60)

    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] > 0
    assert said.returncode == 0, said.stderr
    assert len(said.stdout.split()) > 3
    assert "NOT ISOLATED" in printed


def test_up_json_is_private_and_complete(instance: tuple[Instance, str]) -> None:
    made, printed = instance

    report = made.report

    assert set(report) == {
        *("console_url", "api_url", "gateway_url", "organization", "admin_email", "admin_password"),
        *("api_token", "api_key", "model"),
    }
    assert stat.S_IMODE((made.home / "up.json").stat().st_mode) == 0o600
    assert report["admin_password"] in printed


def test_the_administrator_signs_in_with_the_password_that_was_shown(instance: tuple[Instance, str]) -> None:
    report = instance[0].report
    with httpx.Client(base_url=report["console_url"], follow_redirects=True, trust_env=False) as browser:
        form = browser.get("/sign-in")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert token is not None

        home = browser.post(
            "/sign-in",
            data={
                "csrfmiddlewaretoken": token.group(1),
                "email": report["admin_email"],
                "password": report["admin_password"],
            },
            headers={"Referer": report["console_url"]},
        )

        assert home.status_code == 200
        assert "demo" in home.text


def test_the_lines_of_the_readme_work_as_written(instance: tuple[Instance, str]) -> None:
    made, _ = instance
    readme = (ROOT / "README.md").read_text()
    (compose,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (lines,) = re.findall(r"```sh\n(export API=.*?)```", readme, re.DOTALL)
    folder = made.home.parent
    (folder / "compose.yaml").write_text(compose)
    (folder / ".moorage").symlink_to(made.home)
    # Each command's answer on lines of its own.
    script = re.sub(r"^(curl .*)$", r"echo '>>>'; \1; echo", lines, flags=re.MULTILINE)

    answers = [part.strip() for part in shell(script, cwd=folder).split(">>>")[1:]]

    plan, applied, environment, called, usage, statement, deleted = answers
    assert json.loads(plan)["is_new"] is True
    assert json.loads(applied)["status"] == "ready"
    assert "LLM_URL=" in environment
    assert json.loads(called)["choices"][0]["message"]["content"]
    assert json.loads(usage)
    assert "lines" in json.loads(statement)
    assert json.loads(deleted)["status"] == "deleting"


def test_a_second_up_is_quick_and_everything_is_still_there(instance: tuple[Instance, str]) -> None:
    made, _ = instance
    before = made.report
    assert made.manage("down").returncode == 0
    assert not _answers(before["console_url"])

    started = time.monotonic()
    printed = made.up()
    seconds = time.monotonic() - started

    print(f"the second up took {seconds:.1f} s")
    assert before["admin_password"] not in printed, "the password is shown once"
    assert made.report == before
    status = made.manage("status")
    assert "gateway" in status.stdout
    assert "gateway" in made.manage("logs", "gateway").stdout
    client = httpx.Client(headers={"Authorization": f"Bearer {before['api_key']}"}, timeout=60, trust_env=False)
    answer = client.post(
        f"{before['gateway_url']}/v1/completions",
        json={"model": before["model"], "prompt": "The sea", "max_tokens": 4},
    )
    assert answer.status_code == 200, answer.text


def test_two_instances_run_side_by_side(instance: tuple[Instance, str], llama_server: Path) -> None:
    first, _ = instance
    directory = Path(tempfile.mkdtemp(prefix="mv", dir="/tmp"))
    directory.chmod(0o755)
    second = Instance(directory / "home", llama_server)
    try:
        second.up()

        assert _answers(first.report["console_url"]) and _answers(second.report["console_url"])
        crossed = httpx.get(
            f"{second.report['gateway_url']}/v1/models",
            headers={"Authorization": f"Bearer {first.report['api_key']}"},
            trust_env=False,
        )
        assert crossed.status_code == 401
    finally:
        assert second.manage("down").returncode == 0
        shutil.rmtree(directory, ignore_errors=True)
    assert _answers(first.report["console_url"])


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/healthz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_down_leaves_no_process(instance: tuple[Instance, str]) -> None:
    made, _ = instance

    assert made.manage("down").returncode == 0

    mine = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                words = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"MOORAGE_HOME={made.home}\0".encode() in words:
                mine.append((process / "cmdline").read_bytes())
    assert mine == []
