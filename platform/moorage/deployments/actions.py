"""The steps that a plan is made of. Values: reconcile performs them."""

import dataclasses

from moorage.deployments import tiers
from moorage.deployments.reasons import Reason


@dataclasses.dataclass(frozen=True)
class Create:
    """Add a pending replica."""

    model_key: str
    revision_id: str


@dataclasses.dataclass(frozen=True)
class Drive:
    """Take a replica further on its way: place, pull, start, or stop it."""

    replica_id: str


@dataclasses.dataclass(frozen=True)
class Drain:
    """Give a ready replica no new request."""

    replica_id: str
    reason: Reason


@dataclasses.dataclass(frozen=True)
class Stop:
    """Begin to remove a replica."""

    replica_id: str
    reason: Reason
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Fail:
    """A replica that should run does not."""

    replica_id: str
    reason: Reason
    detail: str = ""


Action = Create | Drive | Drain | Stop | Fail | tiers.Rest | tiers.Wake
