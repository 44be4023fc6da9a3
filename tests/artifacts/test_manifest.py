"""Manifests of both dialects are read strictly; whole models are inspected before and after a pull."""

import json
import tarfile
from typing import Any

import pytest

from moorage.artifacts import manifest, manifest_reader, services
from moorage.artifacts.errors import DigestMismatch, HeaderRefused, UnsupportedArtifact
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.manifest import ArtifactManifest, Role
from moorage.artifacts.source_memory import MemorySource
from tests.artifacts import weights
from tests.artifacts.weights import Parcel, gguf_parcel, safetensors_parcel, tarred_parcel


def described(parcel: Parcel, name: str = "catalog/tiny:latest") -> tuple[ArtifactManifest, ModelFacts]:
    source = MemorySource()
    found = parcel.into(source, name)
    return services.describe(source, found, services.resolve_manifest(source, found))


def outline_of(**changes: Any) -> manifest_reader.Outline:
    return manifest_reader.read_outline(json.dumps({**gguf_parcel().document, **changes}).encode())


def test_a_gguf_model_of_version_01_gets_customary_names() -> None:
    read, facts = described(gguf_parcel())

    assert (read.dialect, read.format) == ("v0.1", "gguf")
    assert [(layer.file_path, layer.role) for layer in read.layers] == [
        ("model.gguf", Role.WEIGHTS),
        ("LICENSE", Role.LICENSE),
    ]
    assert facts.architecture == "llama"
    assert (read.entry_path, read.projector_path, read.template_path) == ("model.gguf", "", "")


def test_a_projector_and_a_template_are_found_by_their_role() -> None:
    projector = weights.gguf({"general.architecture": weights.string("clip")})

    read, facts = described(gguf_parcel().add("mmproj", projector).add("chat.template.jinja", b"{{ messages }}"))

    assert (read.entry_path, read.projector_path) == ("model.gguf", "mmproj.gguf")
    assert read.template_path == "chat_template.jinja"
    assert facts.projector_bytes == 8704
    with pytest.raises(HeaderRefused, match="not a file of the architecture clip"):
        described(gguf_parcel().add("mmproj", weights.gguf()))
    with pytest.raises(HeaderRefused, match="belongs to a GGUF model"):
        described(safetensors_parcel().add("mmproj", projector, "mmproj.gguf"))


def test_a_safetensors_model_of_version_02_keeps_its_paths() -> None:
    read, facts = described(safetensors_parcel(tokenizer_config__json=b'{"chat_template": "{{ messages }}"}'))
    _, with_tools = described(safetensors_parcel(tokenizer_config__json=b'{"chat_template": "{{ tools }}"}'))

    assert (facts.template_has_tools, with_tools.template_has_tools) == (False, True)
    assert (read.dialect, read.format) == ("v0.2", "safetensors")
    assert [layer.file_path for layer in read.layers] == ["model.safetensors", "config.json", "tokenizer_config.json"]
    assert facts.chat_template_digest == weights.digest_of(b"{{ messages }}")


def test_a_safetensors_model_of_version_01_is_read_through_its_tar() -> None:
    read, facts = described(tarred_parcel())

    assert [layer.role for layer in read.layers] == [Role.WEIGHTS, Role.ARCHIVE]
    assert facts.architecture == "LlamaForCausalLM"


def test_a_manifest_survives_its_way_through_the_database() -> None:
    parcel = safetensors_parcel()
    parcel.claims = {"context_size": 4096, "quantization": "F16", "parameters": "1 M"}

    read, facts = described(parcel)

    assert ArtifactManifest.from_json(json.loads(json.dumps(read.to_json()))) == read
    assert ModelFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert (read.context_size, read.claimed_quantization, read.claimed_parameters) == (4096, "F16", "1 M")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"schemaVersion": 1}, UnsupportedArtifact),
        ({"mediaType": "application/vnd.docker.distribution.manifest.v2+json"}, UnsupportedArtifact),
        ({"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, UnsupportedArtifact),
        ({"config": None}, UnsupportedArtifact),
        ({"layers": []}, HeaderRefused),
        ({"layers": [{}] * 513}, HeaderRefused),
        ({"layers": ["layer"]}, HeaderRefused),
        ({"layers": {"0": {}}}, HeaderRefused),
    ],
)
def test_a_broken_manifest_is_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        outline_of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "sha256:short"},
        {"digest": "sha256:../../../../etc/passwd"},
        {"digest": "sha512:" + "a" * 128},
        {"digest": None},
        {"size": 0},
        {"size": -1},
        {"size": 2**63},
        {"size": True},
        {"size": 1.5},
        {"annotations": {manifest.FILEPATH: "../../evil.gguf"}},
        {"annotations": {manifest.FILEPATH: "/etc/evil.gguf"}},
        {"annotations": {manifest.FILEPATH: "evil.py"}},
        {"annotations": {manifest.FILEPATH: "config.json"}},
    ],
    ids=str,
)
def test_a_broken_layer_is_refused(changes: dict[str, Any]) -> None:
    parcel = gguf_parcel()
    parcel.layers[0].update(changes)

    with pytest.raises(HeaderRefused):
        manifest_reader.read_manifest(
            manifest_reader.read_outline(parcel.content), digest=parcel.digest, config=parcel.config
        )


def test_a_manifest_larger_than_four_mebibytes_is_refused_unread() -> None:
    with pytest.raises(HeaderRefused, match="more than"):
        manifest_reader.read_outline(b" " * (4 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("parcel", "reason"),
    [
        (gguf_parcel().add("dduf", b"x"), "which Moorage does not serve"),
        (gguf_parcel().add("safetensors", weights.safetensors()), "exactly one format"),
        (Parcel(manifest.CONFIG_V01, "safetensors").add("gguf.v3", weights.gguf()), "but the layers are gguf"),
        (Parcel(manifest.CONFIG_V01, "gguf").add("license", b"x"), "exactly one format"),
    ],
)
def test_what_cannot_be_served_is_named(parcel: Parcel, reason: str) -> None:
    with pytest.raises(UnsupportedArtifact, match=reason):
        described(parcel)


def pathless(parcel: Parcel) -> Parcel:
    del parcel.layers[1]["annotations"]
    return parcel


@pytest.mark.parametrize(
    ("parcel", "reason"),
    [
        (pathless(safetensors_parcel()), "annotation"),
        (safetensors_parcel(modeling__py=b"import os"), "Programs"),
        (safetensors_parcel(CONFIG__json=b"{}"), "twice"),
        (safetensors_parcel(config__json=weights.config_json(auto_map={"AutoModel": "x.Y"})), "auto_map"),
        (safetensors_parcel(config__json=b'{"architectures": ["A"], "architectures": ["B"]}'), "twice"),
        (safetensors_parcel(tokenizer_config__json=b'{"a": {"trust_remote_code": true}}'), "trust_remote_code"),
        (safetensors_parcel(b"\x00" * 64), "not a JSON object"),
        (
            Parcel(manifest.CONFIG_V02, "safetensors").add("safetensors", weights.safetensors(), "m.safetensors"),
            "config.json",
        ),
        (tarred_parcel([("config.json", weights.config_json()), ("setup.py", b"")]), "Programs"),
        (tarred_parcel([("config.json", weights.config_json()), ("w.safetensors", b"x")]), "layer of their own"),
        (tarred_parcel([("config.json", weights.config_json(auto_map={}))]), "auto_map"),
        (gguf_parcel(b"PK" + weights.gguf()[2:]), "begin with GGUF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_with_a_hostile_file_is_refused(parcel: Parcel, reason: str) -> None:
    with pytest.raises(HeaderRefused, match=reason):
        described(parcel)


def test_a_symbolic_link_in_the_tar_is_refused() -> None:
    link = tarfile.TarInfo("config.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"

    with pytest.raises(HeaderRefused, match="no regular file"):
        described(tarred_parcel([(link, b"")]))


@pytest.mark.parametrize("number", [1, 2])
def test_a_small_file_that_lies_about_its_digest_is_refused_before_any_pull(number: int) -> None:
    parcel = safetensors_parcel()
    source = MemorySource()
    found = parcel.into(source)
    victim = parcel.layers[1]["digest"] if number == 1 else weights.digest_of(parcel.config)
    source.serve(victim, weights.config_json(vocab_size=5))

    with pytest.raises(DigestMismatch):
        services.describe(source, found, services.resolve_manifest(source, found))


def index_of(*digests: tuple[str, int]) -> bytes:
    entries = [{"mediaType": manifest.OCI_MANIFEST, "digest": digest, "size": size} for digest, size in digests]
    return json.dumps({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": entries}).encode()


def test_an_index_of_one_manifest_stands_for_it_and_a_longer_one_is_refused() -> None:
    parcel, source = gguf_parcel(), MemorySource()
    found = parcel.into(source)
    entry = (parcel.digest, len(parcel.content))
    source.put_manifest(found, index_of(entry))

    assert services.resolve_manifest(source, found).digest == parcel.digest

    source.put_manifest(found, index_of(entry, entry))
    with pytest.raises(UnsupportedArtifact, match="list of manifests"):
        services.resolve_manifest(source, found)


@pytest.mark.parametrize(
    ("tag", "kind", "is_kept"),
    [
        ("1M-F16", weights.F16_TYPE, True),
        ("1M-Q8_0", weights.Q8_0_TYPE, True),
        ("q8_0", weights.Q8_0_TYPE, True),
        ("latest", weights.Q8_0_TYPE, True),
        ("1M-Q4_K_M", weights.Q8_0_TYPE, False),
        ("1M-UD-Q4_K_XL", weights.F16_TYPE, False),
        ("F16", weights.Q8_0_TYPE, False),
    ],
)
def test_a_tag_that_promises_a_quantization_keeps_it(tag: str, kind: int, is_kept: bool) -> None:
    parcel = gguf_parcel(weights.gguf(kind=kind))

    if is_kept:
        described(parcel, f"catalog/tiny:{tag}")
    else:
        with pytest.raises(UnsupportedArtifact, match="promises"):
            described(parcel, f"catalog/tiny:{tag}")
