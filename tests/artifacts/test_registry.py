"""What a registry says is not to be trusted: realms, redirects, sizes, silence; and an honest one is understood."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from moorage.artifacts import reference
from moorage.artifacts.addresses import AddressPolicy
from moorage.artifacts.errors import (
    ArtifactNotFound,
    DigestMismatch,
    PlainHttpRefused,
    RegistryDenied,
    RegistryRefused,
    RegistryUnreachable,
)
from moorage.artifacts.manifest import Descriptor
from moorage.artifacts.registry_oras import Credential, RegistrySource
from moorage.artifacts.source import ResolvedManifest
from moorage.artifacts.transport import GuardedSession
from tests.artifacts import weights
from tests.artifacts.harbour_master import Answer, Asked, Running, certificate_for, serving

MANIFEST = weights.gguf_parcel().content
ALICE = Credential(username="alice", secret="open sesame")
BASIC = "Basic " + base64.b64encode(b"alice:open sesame").decode()
BLOB = bytes(range(256)) * 1000
DESCRIPTOR = Descriptor(digest=weights.digest_of(BLOB), size_bytes=len(BLOB))


def source(
    *registries: Running, credential: Credential | None = None, waits: list[float] | None = None
) -> RegistrySource:
    return RegistrySource(
        registries[0].host,
        plain_registries=frozenset(registry.host for registry in registries),
        credential=credential,
        sleep=(waits if waits is not None else []).append,
    )


def resolve(from_: RegistrySource, registry: Running, written: str = "acme/tiny:latest") -> ResolvedManifest:
    return from_.resolve(reference.parse(f"{registry.host}/{written}"))


def protected(realm: Callable[[], str], token: str = "a-token") -> Callable[[Asked], Answer]:
    """A registry with bearer tokens, which are given at `realm`."""

    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(body=json.dumps({"token": token}).encode())
        if asked.headers.get("authorization") != f"Bearer {token}":
            challenge = f'Bearer realm="{realm()}",service="registry",scope="repository:acme/tiny:pull"'
            return Answer(status=401, headers={"WWW-Authenticate": challenge})
        return Answer(body=MANIFEST)

    return answer


def test_an_anonymous_pull_takes_a_token_and_asks_for_what_the_registry_names() -> None:
    with serving(protected(lambda: f"http://{registry.host}/token")) as registry:
        found = resolve(source(registry), registry)

    assert found.content == MANIFEST
    assert [asked.path.partition("?")[0] for asked in registry.asked] == [
        "/v2/acme/tiny/manifests/latest",
        "/token",
        "/v2/acme/tiny/manifests/latest",
    ]
    assert "scope=repository%3Aacme%2Ftiny%3Apull" in registry.asked[1].path
    assert "authorization" not in registry.asked[1].headers


def test_a_credential_buys_a_token_and_is_not_sent_with_anything_else() -> None:
    with serving(protected(lambda: f"http://{registry.host}/token")) as registry:
        resolve(source(registry, credential=ALICE), registry)

    sent = [asked.headers.get("authorization") for asked in registry.asked]
    assert sent == [None, BASIC, "Bearer a-token"]


def test_basic_authentication_goes_to_the_registry_itself() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.headers.get("authorization") == BASIC:
            return Answer(body=MANIFEST)
        return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    with serving(answer) as registry:
        assert resolve(source(registry, credential=ALICE), registry).content == MANIFEST

        with pytest.raises(RegistryDenied, match="add a credential"):
            resolve(source(registry), registry)


def test_a_realm_on_another_host_never_sees_the_credential() -> None:
    with (
        serving(lambda asked: Answer(body=b'{"token": "x"}')) as thief,
        serving(protected(lambda: f"http://{thief.host}/token/latest/meta-data/iam")) as registry,
        pytest.raises(RegistryDenied, match="another host"),
    ):
        resolve(source(registry, thief, credential=ALICE), registry)

    assert thief.asked == []


def test_a_realm_inside_is_not_asked_even_without_a_credential() -> None:
    with (
        serving(lambda asked: Answer(body=b'{"token": "x"}')) as inside,
        serving(protected(lambda: f"http://{inside.host}/latest/meta-data/iam")) as registry,
        pytest.raises(RegistryRefused),
    ):
        resolve(source(registry), registry)

    assert inside.asked == []


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"token": 7}', b'{"token": "a\\nb"}', b"{" * 70_000, b" " * 200_000])
def test_a_token_answer_that_makes_no_sense_is_a_sentence(answer: bytes) -> None:
    def confused(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(body=answer)
        return Answer(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{registry.host}/token"'})

    with serving(confused) as registry, pytest.raises(RegistryUnreachable):
        resolve(source(registry), registry)


def test_a_rejected_credential_says_so() -> None:
    def stern(asked: Asked) -> Answer:
        return Answer(status=403, headers={"WWW-Authenticate": 'Basic realm="x"'})

    with serving(stern) as registry, pytest.raises(RegistryDenied, match="did not accept the stored credential"):
        resolve(source(registry, credential=ALICE), registry)


def test_a_redirect_to_storage_loses_the_authorization() -> None:
    def storage_answer(asked: Asked) -> Answer:
        return Answer(body=BLOB)

    def registry_answer(asked: Asked) -> Answer:
        if "authorization" not in asked.headers:
            return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return Answer(status=307, headers={"Location": f"http://{storage.host}/bucket/object?signature=1"})

    with serving(storage_answer) as storage, serving(registry_answer) as registry:
        from_ = source(registry, storage, credential=ALICE)
        with from_.open_blob(reference.parse(f"{registry.host}/acme/tiny"), DESCRIPTOR) as stream:
            assert b"".join(stream.chunks) == BLOB

    assert len(storage.asked) == 1
    assert "authorization" not in storage.asked[0].headers


def test_a_redirect_inside_is_not_followed() -> None:
    with (
        serving(lambda asked: Answer(body=BLOB)) as inside,
        serving(lambda asked: Answer(status=302, headers={"Location": f"http://{inside.host}/secrets"})) as registry,
        pytest.raises(PlainHttpRefused),
    ):
        resolve(source(registry), registry)

    assert inside.asked == []


def test_a_redirect_in_circles_ends() -> None:
    with (
        serving(lambda asked: Answer(status=302, headers={"Location": asked.path})) as registry,
        pytest.raises(RegistryUnreachable, match="circles"),
    ):
        resolve(source(registry), registry)

    assert len(registry.asked) == 4


def test_a_busy_registry_is_asked_again_when_it_says() -> None:
    waits: list[float] = []

    def busy(asked: Asked) -> Answer:
        if len(registry.asked) < 3:
            return Answer(status=429, headers={"Retry-After": "7" if len(registry.asked) == 1 else "999999"})
        return Answer(body=MANIFEST)

    with serving(busy) as registry:
        resolve(source(registry, waits=waits), registry)

    assert waits == [7.0, 30.0]


def test_a_registry_that_stays_busy_is_a_sentence() -> None:
    waits: list[float] = []

    with serving(lambda asked: Answer(status=429)) as registry, pytest.raises(RegistryUnreachable, match="busy"):
        resolve(source(registry, waits=waits), registry)

    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status=404), ArtifactNotFound),
        (Answer(status=500, body=b"<script>"), RegistryUnreachable),
        (Answer(status=418), RegistryUnreachable),
        (Answer(body=b"x" * (5 * 1024 * 1024)), RegistryUnreachable),
        (Answer(body=MANIFEST, cut_to=10), RegistryUnreachable),
        (Answer(body=MANIFEST, headers={"Content-Encoding": "gzip"}), DigestMismatch),
    ],
    ids=["unknown", "broken", "teapot", "far too much", "cut", "compressed"],
)
def test_an_answer_that_is_none_becomes_a_sentence(answer: Answer, error: type[Exception]) -> None:
    with serving(lambda asked: answer) as registry, pytest.raises(error) as refusal:
        resolve(source(registry), registry)

    assert "script" not in str(refusal.value)


def test_a_manifest_that_is_not_the_one_asked_for_is_refused() -> None:
    wanted = f"acme/tiny@sha256:{'0' * 64}"

    with serving(lambda asked: Answer(body=MANIFEST)) as registry, pytest.raises(DigestMismatch):
        resolve(source(registry), registry, wanted)


def test_a_resumed_blob_is_asked_for_by_range() -> None:
    def ranged(asked: Asked) -> Answer:
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"
        return Answer(status=206, body=BLOB[start:], headers={"Content-Range": span})

    with (
        serving(ranged) as registry,
        source(registry).open_blob(reference.parse(f"{registry.host}/a/b"), DESCRIPTOR, 1000) as stream,
    ):
        assert stream.offset == 1000
        assert b"".join(stream.chunks) == BLOB[1000:]


@pytest.mark.parametrize("first", [Answer(status=200, body=BLOB), Answer(status=416)])
def test_a_registry_without_ranges_begins_at_the_beginning(first: Answer) -> None:
    def answer(asked: Asked) -> Answer:
        return first if "range" in asked.headers else Answer(body=BLOB)

    with (
        serving(answer) as registry,
        source(registry).open_blob(reference.parse(f"{registry.host}/a/b"), DESCRIPTOR, 1000) as stream,
    ):
        assert stream.offset == 0
        assert b"".join(stream.chunks) == BLOB


def test_an_endless_blob_is_cut_off_near_its_promised_size() -> None:
    small = Descriptor(digest=DESCRIPTOR.digest, size_bytes=10)

    with (
        serving(lambda asked: Answer(body=BLOB * 20)) as registry,
        source(registry).open_blob(reference.parse(f"{registry.host}/a/b"), small) as stream,
    ):
        got = sum(len(chunk) for chunk in stream.chunks)

    assert got <= 10 + 256 * 1024


def test_a_registry_that_is_not_listed_is_never_connected_to() -> None:
    with serving(lambda asked: Answer(body=MANIFEST)) as registry:
        unlisted = RegistrySource(registry.host)

        with pytest.raises(RegistryRefused, match="not at a public address"):
            resolve(unlisted, registry)

    assert registry.asked == []


def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """Only our resolver knows this name, so a second look-up, which could be answered otherwise, would fail."""
    lookups: list[str] = []

    def once(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"]

    with serving(lambda asked: Answer(body=MANIFEST)) as registry:
        name = f"registry.test:{registry.host.partition(':')[2]}"
        from_ = RegistrySource(name, plain_registries=frozenset({name}), resolver=once)

        from_.resolve(reference.parse(f"{name}/acme/tiny"))

    assert lookups == ["registry.test"]
    assert registry.asked[0].headers["host"] == name


def test_https_checks_the_certificate_of_the_name_at_the_checked_address(tmp_path: Path) -> None:
    certificate = certificate_for("registry.test", tmp_path)
    with serving(lambda asked: Answer(body=MANIFEST), certificate=certificate) as registry:
        port = registry.host.partition(":")[2]
        policy = AddressPolicy(
            listed=frozenset({f"registry.test:{port}", f"other.test:{port}"}), resolver=lambda host, port: ["127.0.0.1"]
        )
        session = GuardedSession(policy)

        answer = session.request("GET", f"https://registry.test:{port}/", verify=str(certificate))

        assert answer.status_code == 200
        answer.close()
        with pytest.raises(RegistryUnreachable, match="no valid certificate"):
            session.request("GET", f"https://other.test:{port}/", verify=str(certificate))
        with pytest.raises(RegistryUnreachable, match="no valid certificate"):
            GuardedSession(policy).request("GET", f"https://registry.test:{port}/")
        session.close()


def test_a_registry_that_is_not_there_is_a_sentence() -> None:
    with serving(lambda asked: Answer()) as registry:
        pass

    with pytest.raises(RegistryUnreachable, match="cannot be reached"):
        resolve(source(registry), registry)


def test_a_secret_is_not_in_the_credential_s_representation() -> None:
    assert "sesame" not in repr(ALICE)
