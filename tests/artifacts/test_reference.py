"""References: Docker's defaults, and nothing that could become a path, a flag or another host."""

import pytest

from moorage.artifacts import reference
from moorage.artifacts.errors import InvalidReference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("written", "registry", "repository", "tag", "digest"),
    [
        ("smollm2", "docker.io", "ai/smollm2", "latest", None),
        ("ai/Qwen3:4B-Q4_K_M", "docker.io", "ai/qwen3", "4B-Q4_K_M", None),
        ("docker.io/tiny", "docker.io", "ai/tiny", "latest", None),
        ("ghcr.io/acme/deep/er:1.0", "ghcr.io", "acme/deep/er", "1.0", None),
        ("localhost:5000/tiny", "localhost:5000", "tiny", "latest", None),
        ("catalog/harbour:q8_0", "catalog", "harbour", "q8_0", None),
        (f"ghcr.io/acme/tiny@{DIGEST}", "ghcr.io", "acme/tiny", None, DIGEST),
        (f"ghcr.io/acme/tiny:v1@{DIGEST}", "ghcr.io", "acme/tiny", "v1", DIGEST),
    ],
)
def test_a_reference_is_read_with_dockers_defaults(
    written: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    parsed = reference.parse(written)

    assert (parsed.registry, parsed.repository, parsed.tag, parsed.digest) == (registry, repository, tag, digest)
    assert reference.parse(str(parsed)) == parsed


def test_the_hub_is_asked_under_its_api_host() -> None:
    assert reference.parse("smollm2").api_host == "registry-1.docker.io"
    assert reference.parse("ghcr.io/acme/tiny").api_host == "ghcr.io"


@pytest.mark.parametrize(
    "written",
    [
        "", "https://ghcr.io/a/b", "-v/:/h", "../../x", "a/../b", "ghcr.io/", "ghcr.io/a:", "ghcr.io/a:-x", "x" * 300,
        "ghcr.io/a@sha256:short", "ghcr.io/a@sha512:" + "a" * 128, "ghcr.io/a@" + DIGEST.upper(), "gһcr.io/a",
        "user@ghcr.io/a", "localhost:99999/a", "a b", "a\nb", "catalog/a/b", "catalog/..:x",
    ],
)  # fmt: skip
def test_a_broken_reference_gets_one_sentence(written: str) -> None:
    with pytest.raises(InvalidReference) as refusal:
        reference.parse(written)

    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300
