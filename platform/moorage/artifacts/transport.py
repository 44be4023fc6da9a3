"""An HTTP session for hostile servers: checked addresses, few redirects, no cookies, no proxies, bounded patience.

It is a `requests.Session`, because that is what oras speaks through; everything a registry could use against us
(redirects to private hosts, credentials carried along, compressed bombs, endless bodies) is decided here.
"""

import time
from collections.abc import Callable, Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from moorage.artifacts.addresses import AddressPolicy
from moorage.artifacts.errors import DigestMismatch, RegistryUnreachable

CONNECT_SECONDS = 10
READ_SECONDS = 30
MAX_REDIRECTS = 3
MAX_TRIES_WHEN_BUSY = 4
MAX_RETRY_AFTER_SECONDS = 30
# A server that drips is as good as one that does not answer.
STALL_SECONDS = 60
STALL_BYTES_PER_SECOND = 1024
CHUNK_BYTES = 256 * 1024

_REDIRECTS = (301, 302, 303, 307, 308)


class GuardedSession(requests.Session):
    """Every request of one conversation with one registry. `sleep` waits when the registry says that it is busy."""

    def __init__(self, policy: AddressPolicy, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__()
        self._policy = policy
        self._sleep = sleep
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("https://", _PinnedAdapter(policy))
        self.mount("http://", _PinnedAdapter(policy))

    def request(self, method: str | bytes, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """As in requests, but redirects are followed here, timeouts are set and the body is never read ahead.

        Raises RegistryRefused, PlainHttpRefused, RegistryUnreachable.
        """
        target = url if isinstance(url, str) else url.decode()
        headers = {"Accept-Encoding": "identity", **(options.pop("headers", None) or {})}
        options.update(stream=True, allow_redirects=False, timeout=(CONNECT_SECONDS, READ_SECONDS))
        for _ in range(MAX_REDIRECTS + 1):
            response = self._patiently(method, target, headers=headers, **options)
            if response.status_code not in _REDIRECTS:
                return response
            following = urljoin(target, response.headers.get("Location", ""))
            response.close()
            if _origin(following) != _origin(target):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            options.pop("params", None)
            target = following
        raise RegistryUnreachable(f"The registry {_origin(target)[1]} redirects in circles. Try again later.")

    def _patiently(self, method: str | bytes, url: str, **options: Any) -> requests.Response:
        """One request, repeated a few times while the server says 429 or 503 with Retry-After."""
        for attempt in range(MAX_TRIES_WHEN_BUSY):
            response = self._once(method, url, **options)
            wait = _asked_to_wait(response, attempt)
            if wait is None or attempt == MAX_TRIES_WHEN_BUSY - 1:
                break
            response.close()
            self._sleep(wait)
        return response

    def _once(self, method: str | bytes, url: str, **options: Any) -> requests.Response:
        self._policy.check_url(url)
        host = _origin(url)[1]
        try:
            return super().request(method, url, **options)
        except requests.exceptions.SSLError as error:
            raise RegistryUnreachable(
                f"The registry {host} has no valid certificate, or speaks plain HTTP. Use a registry with https."
            ) from error
        except requests.exceptions.Timeout as error:
            raise RegistryUnreachable(f"The registry {host} did not answer in time. Try again in a minute.") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise RegistryUnreachable(f"The registry {host} cannot be reached. Check its name and port.") from error


def body(response: requests.Response, *, limit_bytes: int) -> Iterator[bytes]:
    """The body's raw bytes, at most one chunk more than the limit. Raises RegistryUnreachable if it breaks."""
    host = _origin(response.url)[1]
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DigestMismatch(f"The registry {host} sends compressed bytes in place of the blob. Nothing was kept.")
    began, got = time.monotonic(), 0
    while got <= limit_bytes:
        try:
            chunk = response.raw.read(CHUNK_BYTES, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RegistryUnreachable(f"The registry {host} broke off in the middle. Try again.") from error
        if not chunk:
            return
        got += len(chunk)
        elapsed = time.monotonic() - began
        if elapsed > STALL_SECONDS and got < elapsed * STALL_BYTES_PER_SECOND:
            raise RegistryUnreachable(f"The registry {host} sends almost nothing. Try again later.")
        yield chunk


def bounded_body(response: requests.Response, *, limit_bytes: int) -> bytes:
    """A small body whole. Raises RegistryUnreachable if it is larger than the limit."""
    with response:
        content = b"".join(body(response, limit_bytes=limit_bytes))
    if len(content) > limit_bytes:
        raise RegistryUnreachable(f"The registry {_origin(response.url)[1]} answers with far too much. Try another.")
    return content


def _asked_to_wait(response: requests.Response, attempt: int) -> float | None:
    """Seconds to wait before asking again; None if the answer is an answer."""
    after = response.headers.get("Retry-After", "")
    if response.status_code == 429 or (response.status_code == 503 and after):
        seconds = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else 2**attempt
        return float(min(seconds, MAX_RETRY_AFTER_SECONDS))
    return None


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RegistryUnreachable("The registry names an address that cannot be read.") from error
    return parts.scheme, (parts.hostname or "").lower(), port or {"https": 443, "http": 80}.get(parts.scheme)


class _PinnedAdapter(HTTPAdapter):
    """Connects to the addresses that the policy checked; names stay in SNI, Host and the certificate check."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        super().__init__(pool_connections=4, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._policy)


def _pools(policy: AddressPolicy) -> dict[str, type[HTTPConnectionPool]]:
    class PinnedConnection(HTTPConnection):
        def _new_conn(self) -> Any:
            return _connect(self, policy)

    class PinnedTlsConnection(HTTPSConnection):
        def _new_conn(self) -> Any:
            return _connect(self, policy)

    class PinnedPool(HTTPConnectionPool):
        ConnectionCls = PinnedConnection

    class PinnedTlsPool(HTTPSConnectionPool):
        ConnectionCls = PinnedTlsConnection

    return {"http": PinnedPool, "https": PinnedTlsPool}


def _connect(connection: HTTPConnection, policy: AddressPolicy) -> Any:
    """A socket to the first checked address that answers."""
    failure: OSError | None = None
    for address in policy.addresses(connection.host, connection.port):
        try:
            return create_connection(
                (address, connection.port), connection.timeout, socket_options=connection.socket_options
            )
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(connection, "no answer in time") from error
        except OSError as error:
            failure = error
    raise urllib3.exceptions.NewConnectionError(connection, "no address answers") from failure
