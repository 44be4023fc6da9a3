"""The environment of an instance's processes: composed here, kept in one file, read by config/settings.py.

The file is plain `NAME=value` lines, quoted for a shell, so that `set -a; . instance.env` works too.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from moorage.config.instance.errors import InstanceError
from moorage.config.instance.home import Home
from moorage.config.instance.ports import Ports
from moorage.config.instance.runtime_choice import Runtime
from moorage.config.instance.secrets import Secrets

#: More workers than this on one machine are a typing mistake.
_MOST_WORKERS: Final = 64
#: What an operator may set before `./manage.py up` and the processes get as it is.
PASSED_ON: Final = (
    "MOORAGE_ALLOWED_HOSTS",
    "MOORAGE_CATALOG",
    "MOORAGE_CONSOLE_URL",
    "MOORAGE_EMPTY_SECONDS",
    "MOORAGE_GATEWAY_DOMAIN",
    "MOORAGE_GATEWAY_METRICS",
    "MOORAGE_GATEWAY_TLS_CERTIFICATE",
    "MOORAGE_GATEWAY_TLS_KEY",
    "MOORAGE_GATEWAY_URL",
    "MOORAGE_GATEWAY_WORKERS",
    "MOORAGE_FOUR_EYES_PICO",
    "MOORAGE_LOG_LEVEL",
    "MOORAGE_NODE_MEMORY_BYTES",
    "MOORAGE_PLACEMENT",
    "MOORAGE_PLACEMENT_PATIENCE_SECONDS",
    "MOORAGE_POOL",
    "MOORAGE_PLAIN_REGISTRIES",
    "MOORAGE_PARK_FLOOR_CENTS",
    "MOORAGE_PARK_LINES",
    "MOORAGE_PARK_TIMES",
    "MOORAGE_REVIEW_ABOVE_CENTS",
    "MOORAGE_REVIEW_FIRST_INVOICE",
    "MOORAGE_RUNTIME_CLASSES",
    "MOORAGE_SELLER_ADDRESS",
    "MOORAGE_SELLER_EMAIL",
    "MOORAGE_SELLER_NAME",
    "MOORAGE_SELLER_PAYMENT",
    "MOORAGE_SELLER_TAX_ID",
    "MOORAGE_SLEEP_FROZEN_MOST_SECONDS",
    "MOORAGE_SLEEP_FROZEN_SECONDS",
    "MOORAGE_SLEEP_STOPPED_MOST_SECONDS",
    "MOORAGE_SLEEP_STOPPED_SECONDS",
    "MOORAGE_STORE",
    "MOORAGE_TAX_BASIS_POINTS",
    "MOORAGE_TAX_NAME",
    "MOORAGE_VLLM_IMAGE",
    "MOORAGE_VLLM_PYTHON",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_SAMPLER_ARG",
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
    scheme = "https" if operator.get("MOORAGE_GATEWAY_TLS_CERTIFICATE") else "http"
    composed = {
        "MOORAGE_HOME": str(home.path),
        "MOORAGE_INSTANCE": home.instance,
        "MOORAGE_SECRET_KEY": secrets.secret_key,
        "MOORAGE_CONSOLE_URL": f"http://127.0.0.1:{ports.console}",
        "MOORAGE_GATEWAY_URL": f"{scheme}://127.0.0.1:{ports.gateway}",
        "MOORAGE_GATEWAY_HOST": "127.0.0.1",
        "MOORAGE_GATEWAY_PORT": str(ports.gateway),
        "MOORAGE_GATEWAY_SECRET": secrets.gateway_secret,
        "MOORAGE_GATEWAY_COMPILED": str(home.compiled),
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
    if gateway_workers(operator) > 1:
        composed["MOORAGE_GATEWAY_REUSE_PORT"] = "1"
    composed.update(runtime.environment)
    composed.update({name: operator[name] for name in PASSED_ON if operator.get(name)})
    return composed


def gateway_workers(operator: Mapping[str, str]) -> int:
    """How many gateway processes share the port. Raises InstanceError."""
    text = operator.get("MOORAGE_GATEWAY_WORKERS") or "1"
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_WORKERS):
        raise InstanceError(
            f"MOORAGE_GATEWAY_WORKERS must be a whole number from 1 to {_MOST_WORKERS}, one for each core that is to"
            f" serve; it is {text!r}."
        )
    return int(text)


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
