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
Strategy = Literal["surge", "hold", "recreate"]
Priority = Literal["low", "normal", "high"]

DEFAULT_IDLE_SECONDS = 15 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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
class ScheduleSpec:
    """On these days, from one minute of the day to another (the next day's where it is not later), at least `min`."""

    days: tuple[str, ...]
    from_minute: int
    to_minute: int
    timezone: str
    min: int

    @property
    def from_text(self) -> str:
        """`08:30`."""
        return f"{self.from_minute // 60:02d}:{self.from_minute % 60:02d}"

    @property
    def to_text(self) -> str:
        """`18:00`; `24:00` for the end of the day."""
        return f"{self.to_minute // 60:02d}:{self.to_minute % 60:02d}"


@dataclass(frozen=True, kw_only=True)
class ScaleSpec:
    """How many replicas, and after how many idle seconds down to `min`; `idle_seconds` None means never.

    `target` is the requests in flight that one replica is meant for (None: as many as its engine answers at once),
    `warm` so many replicas more than are needed, `down_delay_seconds` how long fewer must have been enough.
    """

    min: int = 0
    max: int = 1
    idle_seconds: int | None = DEFAULT_IDLE_SECONDS
    warm: int = 0
    target: int | None = None
    down_delay_seconds: int = 0
    schedule: tuple[ScheduleSpec, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SleepSpec:
    """How long an idle replica stays frozen, and then stopped; 0 means never. None leaves the operator's default."""

    frozen_seconds: int | None = None
    stopped_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class CanarySpec:
    """A trial beside the revision that serves: its share of the requests in per cent, for how long, and what must not
    become worse: the share of errors, the time to first token, the token rate (in hundredths: 2% is 200, 1.5x is 150).
    """

    weight: int = 10
    for_seconds: int = 300
    errors_hundredths: int = 200
    first_token_hundredths: int = 150
    tokens_hundredths: int = 80


@dataclass(frozen=True, kw_only=True)
class UpdateSpec:
    """How a revision takes over from the one before."""

    strategy: Strategy = "surge"
    canary: CanarySpec | None = None


@dataclass(frozen=True, kw_only=True)
class PlacementSpec:
    """Where a model may run, and who goes first: a share of one GPU in bytes, a priority, labels that its node has."""

    gpu_memory_bytes: int | None = None
    priority: Priority = "normal"
    node_labels: tuple[tuple[str, str], ...] = ()


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
    placement: PlacementSpec = PlacementSpec()
    health: HealthSpec | None = None
    scale: ScaleSpec = ScaleSpec()
    sleep: SleepSpec = SleepSpec()
    update: UpdateSpec = UpdateSpec()
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
            "placement": _placement_to_json(model.placement),
            "health": _pruned(vars(model.health)) if model.health else None,
            "scale": _scale_to_json(model.scale),
            "sleep": _pruned(vars(model.sleep)),
            "update": _update_to_json(model.update),
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
        placement=_placement_from_json(fields.pop("placement", {})),
        health=HealthSpec(**health) if health else None,
        scale=_scale_from_json(fields.pop("scale")),
        sleep=SleepSpec(**fields.pop("sleep", {})),
        update=_update_from_json(fields.pop("update", {})),
        environment=tuple(sorted(fields.pop("environment", {}).items())),
        labels=tuple(sorted(fields.pop("labels", {}).items())),
        **fields,
    )


def _scale_to_json(scale: ScaleSpec) -> dict[str, Any]:
    # The first three are written in full: None is a decision here ("never"), not an absence.
    document: dict[str, Any] = {"min": scale.min, "max": scale.max, "idle_seconds": scale.idle_seconds}
    others = {"warm": scale.warm, "target": scale.target, "down_delay_seconds": scale.down_delay_seconds}
    schedule = [{**vars(one), "days": list(one.days)} for one in scale.schedule]
    return document | {key: value for key, value in {**others, "schedule": schedule}.items() if value}


def _scale_from_json(document: Mapping[str, Any]) -> ScaleSpec:
    fields = dict(document)
    schedule = tuple(ScheduleSpec(**{**one, "days": tuple(one["days"])}) for one in fields.pop("schedule", ()))
    return ScaleSpec(schedule=schedule, **fields)


def _placement_to_json(placement: PlacementSpec) -> dict[str, Any]:
    return _pruned(
        {
            "gpu_memory_bytes": placement.gpu_memory_bytes,
            "priority": None if placement.priority == "normal" else placement.priority,
            "node_labels": dict(placement.node_labels),
        }
    )


def _placement_from_json(document: Mapping[str, Any]) -> PlacementSpec:
    return PlacementSpec(**{**document, "node_labels": tuple(sorted(document.get("node_labels", {}).items()))})


def _update_to_json(update: UpdateSpec) -> dict[str, Any]:
    document: dict[str, Any] = {} if update.strategy == "surge" else {"strategy": update.strategy}
    if update.canary is not None:
        document["canary"] = vars(update.canary).copy()
    return document


def _update_from_json(document: Mapping[str, Any]) -> UpdateSpec:
    canary = document.get("canary")
    return UpdateSpec(
        strategy=document.get("strategy", "surge"), canary=None if canary is None else CanarySpec(**canary)
    )


def _pruned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None and value != [] and value != {}}
