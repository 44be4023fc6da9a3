"""What an update will do before it is done: how each model changes, how long requests wait, what runs twice.

A forecast and no promise: the times are those of the model's last start, and the room is what is free at the moment.
"""

import dataclasses
import datetime as dt
import math
from typing import Final, Literal

from django.conf import settings

from moorage.accounts.models import Organization
from moorage.compose.spec import ModelSpec, Spec, Strategy
from moorage.deployments import rollout, updates
from moorage.deployments.models import Deployment, ReplicaStatus, Revision
from moorage.deployments.pins import Pin
from moorage.deployments.placing import demand_of
from moorage.deployments.queries import last_start, pins_of, spec_of
from moorage.fleet import device_classes, snapshot
from moorage.fleet.board import Board
from moorage.kernel import clock

Change = Literal["start", "replace", "stop"]

#: From withdrawing the route to the room being free, when no request is left: gateways hear, the container goes.
HANDOVER_SECONDS: Final = 2.0
#: What is compared of a pin and of a model's part of the file, in the order in which people are told.
_PINNED: Final = ("digest", "engine", "quantization", "context_size", "slots", "memory_bytes", "gpus")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """Of one model."""

    model_key: str
    served_name: str
    change: Change
    strategy: Strategy = "surge"
    #: The canary's share of the requests in per cent; 0: there is no trial.
    canary_weight: int = 0
    #: What differs, such as ``context_size: 512 -> 640``.
    differences: tuple[str, ...] = ()
    replicas: int = 0
    #: Whether there is room for the new ones beside the old ones now; None: none serves, or no node is known.
    has_room: bool | None = None
    #: How long requests wait in the gateway; 0.0: not at all. None: the model has never started, so nobody knows.
    gap_seconds: float | None = 0.0
    #: For how long both run, and how many replicas that is more than before.
    extra_replicas: int = 0
    extra_seconds: float | None = 0.0
    #: What each of these would hold, as prices name it; empty where nobody knows.
    device_classes: tuple[str, ...] = ()

    @property
    def extra_whole_seconds(self) -> int | None:
        """Rounded up: what is paid for."""
        return None if self.extra_seconds is None else math.ceil(self.extra_seconds)

    @property
    def class_words(self) -> str:
        """What those more would hold, for people: each kind once; empty where that is no device."""
        return ", ".join(sorted({name for name in self.device_classes if name != "cpu"}))

    @property
    def sentence(self) -> str:
        """What will happen, for people."""
        if self.change != "replace":
            return "Starts." if self.change == "start" else "Stops."
        if self.canary_weight:
            beside = f"Runs beside the present revision with {self.canary_weight} % of the requests"
            if self.has_room is False:
                return f"{beside}, but there is no room for that now: it would be rolled back. Remove canary."
            return f"{beside} until it is promoted or rolled back."
        wait = "an unknown time" if self.gap_seconds is None else f"about {self.gap_seconds:.1f} s"
        match self.strategy:
            case "hold":
                return f"The place changes hands: requests wait {wait} in the gateway."
            case "recreate":
                return f"The present revision stops, then the new one starts: requests wait {wait} in the gateway."
            case _ if self.has_room is False:
                return f"There is no room beside the present revision, so it makes way: requests wait {wait}."
            case _:
                return "Comes up beside the present revision, which drains after; no request waits."


def forecasts(
    *, organization: Organization, deployment: Deployment | None, spec: Spec, pins: tuple[Pin, ...]
) -> tuple[Forecast, ...]:
    """Of each model that changes, if ``deployment`` (None: a new one) got these models."""
    current = deployment.target if deployment is not None else None
    before = {pin.model_key: pin for pin in pins_of(current)} if current is not None else {}
    found = []
    for pin in pins:
        model = spec.model(pin.model_key)
        if deployment is None or current is None or pin.model_key not in before:
            started = Forecast(
                model_key=pin.model_key,
                served_name=pin.served_name,
                change="start",
                replicas=max(1, model.scale.min),
            )
            found.append(started)
        else:
            found.append(_replaced(organization, deployment, current, before[pin.model_key], pin, model))
    kept = {pin.model_key for pin in pins}
    found += [
        Forecast(model_key=key, served_name=pin.served_name, change="stop")
        for key, pin in before.items()
        if key not in kept
    ]
    return tuple(found)


def of_revision(deployment: Deployment, revision: Revision) -> tuple[Forecast, ...]:
    """What going to another revision of the deployment will do. A rollback is not tried first."""
    spec = spec_of(revision)
    models = tuple(
        dataclasses.replace(model, update=dataclasses.replace(model.update, canary=None)) for model in spec.models
    )
    return forecasts(
        organization=deployment.organization,
        deployment=deployment,
        spec=dataclasses.replace(spec, models=models),
        pins=pins_of(revision),
    )


def _replaced(
    organization: Organization, deployment: Deployment, current: Revision, old: Pin, new: Pin, model: ModelSpec
) -> Forecast:
    serving = list(deployment.replicas.filter(model_key=new.model_key, status=ReplicaStatus.READY))
    scale = deployment.scales.filter(model_key=new.model_key).first()
    wanted = max(1, model.scale.min, min(scale.wanted if scale is not None else 0, model.scale.max))
    update = model.update
    canary = update.canary if update.canary is not None and updates.may_share(old, new) else None
    extra = rollout.canary_count(wanted, canary.weight) if canary is not None else wanted
    classes = _classes(organization, new, extra) if serving else None
    has_room = None if classes is None else len(classes) == extra
    took = last_start(deployment, new.model_key)
    gap: float | None = 0.0
    beside: float | None = 0.0
    swaps = update.strategy != "surge" or (has_room is False and canary is None)
    if serving and swaps:
        gap = None if took is None else took.total_seconds() + HANDOVER_SECONDS
    elif serving:
        trial = dt.timedelta(seconds=canary.for_seconds) if canary is not None else dt.timedelta()
        beside = None if took is None else (took + trial).total_seconds() + HANDOVER_SECONDS
    return Forecast(
        model_key=new.model_key,
        served_name=new.served_name,
        change="replace",
        strategy=update.strategy,
        canary_weight=canary.weight if canary is not None else 0,
        differences=differences(old, new, spec_of(current).model(new.model_key), model),
        replicas=wanted,
        has_room=has_room,
        gap_seconds=gap,
        extra_replicas=extra if serving and not swaps else 0,
        extra_seconds=beside,
        device_classes=classes or () if serving and not swaps else (),
    )


def _classes(organization: Organization, pin: Pin, count: int) -> tuple[str, ...] | None:
    """What ``count`` replicas would hold if they were placed now, of as many as there is room for; None: no node is
    known."""
    nodes = snapshot.nodes(now=clock.now(), digest=pin.digest)
    if not nodes:
        return None
    board = Board(nodes, policy="spread" if settings.MOORAGE_PLACEMENT == "spread" else "pack")
    demand = dataclasses.replace(demand_of(pin), organization_id=organization.pk)
    # Each takes what it gets.
    found = [place for _ in range(count) if (place := board.place(demand)) is not None]
    return tuple(device_classes.of_placement(place, nodes) for place in found)


def differences(old: Pin, new: Pin, before: ModelSpec, after: ModelSpec) -> tuple[str, ...]:
    """What a model gets that it has not now, each as ``name: before -> after``."""
    found = [
        f"{name}: {_shown(getattr(old, name))} -> {_shown(getattr(new, name))}"
        for name in _PINNED
        if getattr(old, name) != getattr(new, name)
    ]
    was, now = ({flag.name: flag.value or "" for flag in one.flags} for one in (before, after))
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            found.append(f"{name}: {was.get(name, 'not set') or 'on'} -> {now.get(name, 'not set') or 'on'}")
    for name in ("scale", "update", "environment"):
        if getattr(before, name) != getattr(after, name):
            found.append(f"{name} changes")
    return tuple(found)


def _shown(value: object) -> str:
    text = str(value)
    return text[:19] if text.startswith("sha256:") else text or "none"
