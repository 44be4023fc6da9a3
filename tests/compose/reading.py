"""Short questions to the parser: what a file means, and what is wrong with it."""

from collections.abc import Mapping

import pytest

from moorage import compose


def spec_of(text: str, **options: object) -> compose.Spec:
    """The Spec of a file that is in order."""
    return compose.parse(text, **options).spec  # type: ignore[arg-type]


def model_of(text: str, variables: Mapping[str, str] | None = None) -> compose.ModelSpec:
    """The one model of a file that is in order."""
    (model,) = compose.parse(text, variables=variables).spec.models
    return model


def problems_of(text: str | bytes, **options: object) -> dict[str, str]:
    """Path -> sentence of every error in a file that must be refused; the last of several on one path."""
    with pytest.raises(compose.SpecInvalid) as caught:
        compose.parse(text, **options)  # type: ignore[arg-type]
    return {problem.path: problem.message for problem in caught.value.problems if problem.severity == "error"}


def flags_of(*items: str, driver: str | None = None) -> dict[str, str | None]:
    """Canonical flags of a model with these runtime_flags."""
    return {flag.name: flag.value for flag in model_of(with_flags(*items, driver=driver)).flags}


def with_flags(*items: str, driver: str | None = None) -> str:
    """A file whose one model has these runtime_flags, quoted so that YAML changes nothing."""
    lines = ["models:", "  llm:", "    model: ai/smollm2"]
    if driver:
        lines.append(f"    driver: {driver}")
    lines.append("    runtime_flags:")
    lines.extend("      - '{}'".format(item.replace("'", "''").replace("$", "$$")) for item in items)
    return "\n".join(lines)


def with_extension(body: str) -> str:
    """A file whose one model has this under x-moorage."""
    return f"models:\n  llm:\n    model: ai/smollm2\n    x-moorage: {body}"
