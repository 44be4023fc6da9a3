"""A Compose file read against the world: parsed, its references resolved, its models pinned. The network is here.

The result is what `apply` writes and what a dry run shows; nothing is written but what artifacts remembers.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from moorage import compose
from moorage.accounts.models import Organization
from moorage.artifacts import services as artifacts
from moorage.compose import problems
from moorage.compose.spec import Spec
from moorage.deployments.errors import InvalidName
from moorage.deployments.pins import Pin, pin
from moorage.kernel.errors import PlatformError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """Everything a revision consists of."""

    name: str
    compose_text: str
    variables: dict[str, str]
    spec: Spec
    pins: tuple[Pin, ...]
    warnings: tuple[problems.Problem, ...]

    @property
    def content(self) -> dict[str, Any]:
        """What makes two revisions the same: the meaning of the file and the pinned digests."""
        return {"spec": self.spec.to_json(), "pins": {pin.model_key: pin.to_json() for pin in self.pins}}

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical content, without ids of rows."""
        content = self.content
        for document in content["pins"].values():
            document.pop("artifact_id")
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def draft(*, organization: Organization, name: str, compose_text: str, variables: Mapping[str, str]) -> Draft:
    """Reads the file for ``organization``. Raises InvalidName, or SpecInvalid with every problem, each with its line.

    A model that its registry does not have, denies or serves wrongly is a problem of its line like any other, unless
    the registry could not be reached: that is not the file's fault and is raised as it is.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(param="name")
    parsed = compose.parse(compose_text, variables=variables, deployment_name=name)
    names = compose.served_names(parsed.spec, name)
    lines = dict(parsed.lines)
    found: list[problems.Problem] = []
    pins: list[Pin] = []
    for model in parsed.spec.models:
        try:
            artifact = artifacts.resolve(organization=organization, reference=model.reference)
        except PlatformError as error:
            if not error.permanent or error.status_code >= 500:
                raise
            path = f"models.{model.key}.model"
            line = lines.get(path, lines.get(f"models.{model.key}", 1))
            found.append(problems.Problem(path=path, line=line, column=1, message=error.message, severity="error"))
            continue
        pinned, flaws = pin(model, artifact, served_name=names[model.key], lines=lines)
        found += flaws
        if pinned is not None:
            pins.append(pinned)
    if found:
        raise problems.SpecInvalid((*found, *parsed.warnings))
    return Draft(
        name=name,
        compose_text=compose_text,
        variables=dict(variables),
        spec=parsed.spec,
        pins=tuple(pins),
        warnings=parsed.warnings,
    )
