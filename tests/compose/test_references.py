"""References of models: one spelling each, checked before anybody connects."""

import pytest

from moorage.compose import reference
from tests.compose.reading import problems_of

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("smollm2", "ai/smollm2:latest"),
        ("ai/smollm2", "ai/smollm2:latest"),
        ("AI/SmolLM2:360M-Q4_K_M", "ai/smollm2:360M-Q4_K_M"),
        ("docker.io/ai/smollm2:1", "ai/smollm2:1"),
        ("docker.io/smollm2", "ai/smollm2:latest"),
        ("catalog/tiny:q8_0", "catalog/tiny:q8_0"),
        ("catalog/tiny", "catalog/tiny:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("Registry.Example.com/team/model", "registry.example.com/team/model:latest"),
        (f"ai/smollm2@{DIGEST}", f"ai/smollm2@{DIGEST}"),
        (f"ai/smollm2:1@{DIGEST}", f"ai/smollm2:1@{DIGEST}"),
    ],
)
def test_a_reference_has_one_spelling(written, canonical):
    assert reference.canonical(written) == canonical
    assert reference.canonical(canonical) == canonical


@pytest.mark.parametrize(
    "written",
    [
        "",
        "-v/:/h",
        "../../x",
        "x@sha256:short",
        f"x@{DIGEST.upper()}",
        f"x@sha512:{'0' * 128}",
        "x" * 300,
        "a//b",
        "a/",
        "/a",
        ":tag",
        "x:",
        "x:ta g",
        "https://example.com/x",
        "oci://x/y",
        "exаmple.com/x",
        "user@example.com/x",
        "host:0/x",
        "host:99999/x",
        "a..b/c",
        "host:80:80/x",
        "catalog/a/b",
        DIGEST,
        "0123456789abcdef" * 4,
        "a\nb",
        "x:" + "t" * 129,
        "a___b",
        "[::1]:5000/x",
    ],
)
def test_anything_else_is_refused_with_a_sentence(written):
    with pytest.raises(reference.BadReference) as caught:
        reference.canonical(written)

    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("written", ["hf.co/org/model", "huggingface.co/org/model:Q4_K_M", "HF.co/x/y"])
def test_model_hubs_are_refused_with_the_way_out(written):
    assert (
        "Package the model as an OCI artifact"
        in problems_of(f"models: {{llm: {{model: '{written}'}}}}")["models.llm.model"]
    )
