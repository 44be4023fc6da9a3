"""The first start of a home: an administrator, a demo organization, and the demo deployed through the REST API."""

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from moorage.config.instance.errors import StartFailed

#: The deployment of the demo, and the name by which clients call its model.
DEPLOYMENT: Final = "demo"
MODEL: Final = "demo/llm"
_DEPLOY_SECONDS: Final = 180


def make_accounts(environment: Mapping[str, str], *, kept: Path) -> dict[str, str] | None:
    """Make them and return their secrets, which are in ``kept`` until the caller has them safe and removes it.

    What an interrupted start has left there is returned too. None where the instance has users whose secrets are not
    there. Raises StartFailed.
    """
    command = [sys.executable, "-m", "django", "first_boot", str(kept)]
    made = subprocess.run(command, env=dict(environment), cwd="/", capture_output=True, text=True, check=False)
    if made.returncode:
        raise StartFailed(f"The administrator could not be made: {made.stderr.strip()[-2000:]}")
    boot: dict[str, str] | None = json.loads(kept.read_text()) if kept.exists() else None
    return boot


def deploy_demo(*, api_url: str, api_token: str, compose_file: Path) -> None:
    """PUT the demo's Compose file, as anybody would, and wait until it is ready. Raises StartFailed."""
    request = urllib.request.Request(  # noqa: S310 - an http:// address of our own making
        f"{api_url}/deployments/{DEPLOYMENT}?wait=ready&timeout={_DEPLOY_SECONDS - 10}",
        data=compose_file.read_bytes(),
        method="PUT",
        headers={"Authorization": f"Bearer {api_token}", "Content-Type": "application/yaml"},
    )
    # No proxy of the surroundings stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_DEPLOY_SECONDS) as response:
            deployment = json.load(response)
    except urllib.error.HTTPError as error:
        raise StartFailed(f"The demo was refused: {_message(error.read())}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StartFailed(f"The demo could not be deployed: {error}") from error
    if deployment.get("status") != "ready":
        why = deployment.get("reason") or deployment.get("message") or "no reason given"
        raise StartFailed(
            f"The demo is {deployment.get('status')}, not ready: {why}. See `./manage.py logs worker-provision`."
        )


def _message(body: bytes) -> str:
    try:
        envelope: dict[str, Any] = json.loads(body)
        return str(envelope["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:500].decode("utf-8", "replace")
