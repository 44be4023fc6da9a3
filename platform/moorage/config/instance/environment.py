"""The environment of an instance's processes: composed here, kept in one file, read by config/settings.py.

The file is plain `NAME=value` lines, quoted for a shell, so that `set -a; . instance.env` works too.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from moorage.config.instance.home import Home
from moorage.config.instance.ports import Ports
from moorage.config.instance.runtime_choice import Runtime
from moorage.config.instance.secrets import Secrets

#: What an operator may set before `./manage.py up` and the processes get as it is.
PASSED_ON: Final = (
    "MOORAGE_ALLOWED_HOSTS",
    "MOORAGE_CATALOG",
    "MOORAGE_CONSOLE_URL",
    "MOORAGE_GATEWAY_URL",
    "MOORAGE_LOG_LEVEL",
    "MOORAGE_NODE_MEMORY_BYTES",
    "MOORAGE_PLAIN_REGISTRIES",
    "MOORAGE_REVIEW_ABOVE_CENTS",
    "MOORAGE_REVIEW_FIRST_INVOICE",
    "MOORAGE_STORE",
    "MOORAGE_VLLM_IMAGE",
    "MOORAGE_VLLM_PYTHON",
    "STRIPE_API_KEY",
    "STRIPE_BASE_URL",
    "STRIPE_WEBHOOK_SECRET",
)


def compose(
    *,
    home: Home,
    root: Path,
    ports: Ports,
    secrets: Secrets,
    runtime: Runtime,
    database_url: str,
    broker_url: str,
    operator: Mapping[str, str],
) -> dict[str, str]:
    """Every variable that the instance's processes need, and those that the operator set."""
    composed = {
        "MOORAGE_HOME": str(home.path),
        "MOORAGE_INSTANCE": home.instance,
        "MOORAGE_SECRET_KEY": secrets.secret_key,
        "MOORAGE_CONSOLE_URL": f"http://127.0.0.1:{ports.console}",
        "MOORAGE_GATEWAY_URL": f"http://127.0.0.1:{ports.gateway}",
        "MOORAGE_GATEWAY_HOST": "127.0.0.1",
        "MOORAGE_GATEWAY_PORT": str(ports.gateway),
        "MOORAGE_STORE": str(home.store),
        "MOORAGE_JOURNAL_DIR": str(home.journal),
        "MOORAGE_SOCKET_DIR": str(home.replica_sockets),
        "MOORAGE_RUNTIME": runtime.name,
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": str(root / "platform"),
        "PYTHONUNBUFFERED": "1",
    }
    composed.update(runtime.environment)
    composed.update({name: operator[name] for name in PASSED_ON if operator.get(name)})
    return composed


def render(variables: Mapping[str, str]) -> str:
    """The file's text: sorted, each value quoted where a shell needs it."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def parse(text: str) -> dict[str, str]:
    """The inverse of :func:`render`; also reads comments and values that span lines inside quotes."""
    words = shlex.split(text, comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)


def read(path: Path) -> dict[str, str]:
    """The variables in ``path``; none if there is no such file."""
    return parse(path.read_text()) if path.exists() else {}
