"""The variables of the environment with their types: a wrong value stops the process and says what to set."""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


class Variables:
    """What is set, by name. Every reader raises ImproperlyConfigured for a value that it cannot read."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str, default: str | None = None) -> str:
        """As it is; without a default it has to be set."""
        value = self._given.get(name) or default
        if value is None:
            raise ImproperlyConfigured(f"Set {name} in the environment, or start Moorage with `./manage.py up`.")
        return value

    def whole(self, name: str) -> int | None:
        """A whole number; None: not set."""
        value = self._given.get(name)
        if not value:
            return None
        if not value.isdecimal():
            raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
        return int(value)

    def seconds(self, name: str, default: int) -> int:
        """A whole number of seconds, of which zero is one."""
        value = self.whole(name)
        return default if value is None else value

    def listed(self, name: str) -> tuple[str, ...]:
        """What stands between commas."""
        return tuple(part.strip() for part in self._given.get(name, "").split(",") if part.strip())

    def pairs(self, name: str) -> dict[str, str]:
        """``name=value`` between commas."""
        pairs = [part.partition("=") for part in self.listed(name)]
        if any(not (key and value) for key, _, value in pairs):
            raise ImproperlyConfigured(f"{name} must be a list of name=value, such as default=runc,untrusted=runsc.")
        return {key.strip(): value.strip() for key, _, value in pairs}


def database(url: str) -> dict[str, object]:
    """Django's DATABASES entry for ``postgresql://user:password@host:port/name`` (or ``?host=/socket/dir``)."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(f"DATABASE_URL must begin with postgresql://, not {parts.scheme}://.")
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "moorage",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(query.get("host", parts.hostname or "")),
        "PORT": query.get("port", str(parts.port or "")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "moorage"},
    }
