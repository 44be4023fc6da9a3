"""The Spec: what an organization wants running, validated and canonical.

Same meaning, same Spec, same JSON: names are sorted, defaults are resolved, flags are in long form. Deployments hash
the JSON to recognise a revision, so unset fields are left out of it and a new optional field changes no old hash.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from moorage.compose import export

Driver = Literal["llamacpp", "vllm"]
Gpus = int | Literal["all"]

DEFAULT_IDLE_SECONDS = 15 * 60


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One engine argument in canonical long form, hyphens included; `value` is None for a switch."""

    name: str
    value: str | None = None


@dataclass(frozen=True, kw_only=True)
class HealthSpec:
    """How the platform probes, in seconds; None leaves its default."""

    interval_seconds: int | None = None
    timeout_seconds: int | None = None
    retries: int | None = None
    start_period_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class ScaleSpec:
    """How many replicas, and after how many idle seconds down to `min`; `idle_seconds` None means never."""

    min: int = 0
    max: int = 1
    idle_seconds: int | None = DEFAULT_IDLE_SECONDS


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: `reference` is canonical (see reference.py), `name` the served name if one was given."""

    key: str
    reference: str
    name: str | None = None
    driver: Driver | None = None
    context_size: int | None = None
    flags: tuple[Flag, ...] = ()
    gpus: Gpus | None = None
    health: HealthSpec | None = None
    scale: ScaleSpec = ScaleSpec()
    environment: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A service that uses a model, and the names of the two variables it reads."""

    service: str
    model_key: str
    endpoint_var: str
    model_var: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A whole file: `name` is the deployment's, models are sorted by key, bindings by service and key."""

    name: str | None
    models: tuple[ModelSpec, ...]
    bindings: tuple[Binding, ...] = ()

    def model(self, key: str) -> ModelSpec:
        """The model with this key. Raises KeyError."""
        for model in self.models:
            if model.key == key:
                return model
        raise KeyError(key)

    def to_json(self) -> dict[str, Any]:
        """JSON types only; equal Specs give equal documents."""
        return _pruned(
            {
                "name": self.name,
                "models": [_model_to_json(model) for model in self.models],
                "bindings": [vars(binding).copy() for binding in self.bindings],
            }
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Spec":
        """The Spec that gave this document. Raises KeyError or TypeError for anything else."""
        return cls(
            name=document.get("name"),
            models=tuple(_model_from_json(model) for model in document["models"]),
            bindings=tuple(Binding(**binding) for binding in document.get("bindings", ())),
        )

    def to_compose(self) -> str:
        """A Compose file that parses to this Spec: official fields plain, everything else under x-moorage."""
        return export.compose_text(self)


def _model_to_json(model: ModelSpec) -> dict[str, Any]:
    return _pruned(
        {
            "key": model.key,
            "reference": model.reference,
            "name": model.name,
            "driver": model.driver,
            "context_size": model.context_size,
            "flags": [_pruned(vars(flag)) for flag in model.flags],
            "gpus": model.gpus,
            "health": _pruned(vars(model.health)) if model.health else None,
            # Written in full: None is a decision here ("never"), not an absence.
            "scale": vars(model.scale).copy(),
            "environment": dict(model.environment),
            "labels": dict(model.labels),
        }
    )


def _model_from_json(document: Mapping[str, Any]) -> ModelSpec:
    fields = dict(document)
    health = fields.pop("health", None)
    return ModelSpec(
        key=fields.pop("key"),
        reference=fields.pop("reference"),
        flags=tuple(Flag(**flag) for flag in fields.pop("flags", ())),
        health=HealthSpec(**health) if health else None,
        scale=ScaleSpec(**fields.pop("scale")),
        environment=tuple(sorted(fields.pop("environment", {}).items())),
        labels=tuple(sorted(fields.pop("labels", {}).items())),
        **fields,
    )


def _pruned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None and value != [] and value != {}}
