"""Any OCI registry, through oras for what oras does well and around it for what it does not.

oras builds the addresses of the distribution API and walks the challenge-answer-retry dance. It verifies no digest,
follows any token realm with the credentials, sets no timeout, cannot resume and retries blindly for two minutes
(measured on 0.2.43), so here it works over a guarded session, with an authentication backend of ours, and without its
retry decorator. No other module imports oras.
"""

import base64
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import oras.auth
import oras.auth.utils
import oras.container
import oras.provider
import requests

from moorage.artifacts import strict_json
from moorage.artifacts.addresses import AddressPolicy, Resolver, system_resolver
from moorage.artifacts.errors import ArtifactNotFound, HeaderRefused, RegistryDenied, RegistryUnreachable
from moorage.artifacts.manifest import DOCKER_INDEX, MAX_MANIFEST_BYTES, OCI_INDEX, OCI_MANIFEST, Descriptor
from moorage.artifacts.reference import Reference
from moorage.artifacts.source import BlobStream, ResolvedManifest, checked_manifest
from moorage.artifacts.transport import GuardedSession, body, bounded_body

MAX_TOKEN_ANSWER_BYTES = 64 * 1024
MAX_TOKEN_LENGTH = 16 * 1024
# Registries whose tokens are given by another host of the same owner. With a credential no other pair is trusted.
KNOWN_REALMS = {
    "registry-1.docker.io": "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
}


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What an organization stored for one registry host."""

    username: str
    secret: str = field(repr=False)


class RegistrySource:
    """An ArtifactSource over one registry host. Make one for each conversation; it keeps a token for its time."""

    def __init__(
        self,
        host: str,
        *,
        plain_registries: frozenset[str] = frozenset(),
        credential: Credential | None = None,
        resolver: Resolver = system_resolver,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host = host.lower()
        self._has_credential = credential is not None
        policy = AddressPolicy.for_registry(self._host, plain_registries=plain_registries, resolver=resolver)
        session = GuardedSession(policy, sleep=sleep)
        self._registry = _Registry(hostname=self._host, insecure=bool(policy.listed))
        self._registry.session = session
        self._registry.auth = _Authentication(session, self._host, credential)

    def resolve(self, reference: Reference) -> ResolvedManifest:
        """See ArtifactSource."""
        wanted = reference.digest or reference.tag
        assert wanted is not None, reference
        url = f"{self._registry.prefix}://{self._container(reference).manifest_url(wanted)}"
        response = self._get(url, reference, {"Accept": ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_INDEX))})
        return checked_manifest(bounded_body(response, limit_bytes=MAX_MANIFEST_BYTES), reference)

    @contextmanager
    def open_blob(self, reference: Reference, descriptor: Descriptor, offset: int = 0) -> Iterator[BlobStream]:
        """See ArtifactSource."""
        url = f"{self._registry.prefix}://{self._container(reference).get_blob_url(descriptor.digest)}"
        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        with self._get(url, reference, wanted) as response:
            start = _start(response) if response.status_code == 206 else 0
            yield BlobStream(offset=start, chunks=body(response, limit_bytes=descriptor.size_bytes - start))

    def _container(self, reference: Reference) -> Any:
        return oras.container.Container(f"{self._host}/{reference.repository}")

    def _get(self, url: str, reference: Reference, headers: dict[str, str]) -> requests.Response:
        response: requests.Response = self._registry.do_request(url, "GET", headers=dict(headers), stream=True)
        if response.status_code in (200, 206):
            return response
        response.close()
        match response.status_code:
            case 401 | 403:
                raise denied(self._host, self._has_credential)
            case 404:
                raise ArtifactNotFound(f"The registry has no {reference}. Check the name and the tag.")
            case 416 if "Range" in headers:
                return self._get(url, reference, {})
            case 429:
                raise RegistryUnreachable(f"The registry {self._host} is busy. Try again in a few minutes.")
            case status:
                raise RegistryUnreachable(f"The registry {self._host} answered with {status}. Try again in a minute.")


def denied(host: str, has_credential: bool) -> RegistryDenied:
    """The sentence for a registry that said no."""
    if has_credential:
        return RegistryDenied(f"The registry {host} did not accept the stored credential. Store one that may read it.")
    return RegistryDenied(
        f"The registry {host} asks for a login. Check the name, or add a credential for {host} to the organization."
    )


def is_realm_trusted(realm: str, host: str, *, with_credential: bool) -> bool:
    """Whether a token may be asked for there. A credential goes to the registry's own host or a known partner only."""
    parts = urlsplit(realm)
    registry = urlsplit(f"//{host}")
    if parts.hostname == registry.hostname and parts.port in (None, registry.port):
        return True
    if parts.scheme == "https" and KNOWN_REALMS.get(host) == parts.hostname and parts.port is None:
        return True
    # The address policy of the session still demands https and public addresses.
    return not with_credential


def _start(response: requests.Response) -> int:
    """The first byte's position in a 206 answer. Raises RegistryUnreachable if it does not say."""
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or len(first) > 20:
        raise RegistryUnreachable("The registry answered a range request without saying which range. Try again.")
    return int(first)


class _Registry(oras.provider.Registry):
    """oras' registry without the decorator that sleeps through every error, our refusals included."""

    do_request = inspect.unwrap(oras.provider.Registry.do_request)


class _Authentication(oras.auth.TokenAuth):
    """Answers a challenge: Basic to the registry itself, a bearer token from a realm that is trusted."""

    def __init__(self, session: GuardedSession, host: str, credential: Credential | None) -> None:
        super().__init__()
        self.session = session
        self._host = host
        self._basic = ""
        if credential is not None:
            pair = f"{credential.username}:{credential.secret}".encode()
            self._basic = "Basic " + base64.b64encode(pair).decode("ascii")

    def load_configs(self, container: Any, configs: list[str] | None = None) -> None:
        """Docker's configuration files on this machine belong to the operator, not to an organization."""

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """The headers for the second attempt. Raises RegistryDenied where there is nothing to answer with."""
        original.close()
        challenge = original.headers.get("WWW-Authenticate", "")
        scheme = challenge.partition(" ")[0].lower()
        if refresh or len(challenge) > 4096:
            raise denied(self._host, bool(self._basic))
        if scheme == "basic" and self._basic:
            return {**headers, "Authorization": self._basic}, True
        if scheme == "bearer":
            self.token = self._token(challenge)
            return {**headers, "Authorization": f"Bearer {self.token}"}, True
        raise denied(self._host, bool(self._basic))

    def _token(self, challenge: str) -> str:
        asked = oras.auth.utils.parse_auth_header(challenge)
        realm = asked.realm or ""
        if not is_realm_trusted(realm, self._host, with_credential=bool(self._basic)):
            raise RegistryDenied(
                f"The registry {self._host} wants its credential sent to another host, which Moorage does not do."
            )
        parameters = {"service": asked.service, "scope": asked.scope}
        response = self.session.request(
            "GET",
            realm,
            params={name: value for name, value in parameters.items() if value},
            headers={"Authorization": self._basic} if self._basic else {},
        )
        if response.status_code != 200:
            response.close()
            raise denied(self._host, bool(self._basic))
        try:
            answer = strict_json.parse(
                bounded_body(response, limit_bytes=MAX_TOKEN_ANSWER_BYTES), what="The token answer"
            )
        except HeaderRefused as error:
            raise RegistryUnreachable(f"The registry {self._host} gives no usable token. Try again later.") from error
        token = answer.get("token") or answer.get("access_token")
        if (
            not isinstance(token, str)
            or len(token) > MAX_TOKEN_LENGTH
            or not token.isascii()
            or not token.isprintable()
        ):
            raise RegistryUnreachable(f"The registry {self._host} gives no usable token. Try again later.")
        return token
