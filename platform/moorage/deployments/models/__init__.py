"""What an organization wants running, and what runs: deployments, revisions, replicas, routes.

Status columns are written by ``states.py`` alone. Rows of a tenant leave through ``.for_organization(organization)``.
"""

from moorage.deployments.models.deployment import (
    Deployment,
    DeploymentQuerySet,
    DeploymentStatus,
    Revision,
    RevisionQuerySet,
    new_deployment_id,
    new_revision_id,
)
from moorage.deployments.models.remains import Orphan, RemainsReport
from moorage.deployments.models.replica import (
    Awakening,
    Replica,
    ReplicaQuerySet,
    ReplicaStatus,
    StatusSpan,
    Vitality,
    new_replica_id,
)
from moorage.deployments.models.route import Route, RouteActivity, Wake
from moorage.deployments.models.scale import Scale, ScaleDecision, ScaleDecisionQuerySet, new_decision_id
from moorage.deployments.models.sweep_turn import SweepTurn
from moorage.deployments.models.timeline import (
    LogFollower,
    ReplicaLog,
    RunnerLine,
    TimelineEvent,
    TimelineEventQuerySet,
    new_event_id,
)
from moorage.deployments.models.update import Update, UpdateState, new_update_id

__all__ = [
    "Awakening",
    "Deployment",
    "DeploymentQuerySet",
    "DeploymentStatus",
    "LogFollower",
    "Orphan",
    "RemainsReport",
    "Replica",
    "ReplicaLog",
    "ReplicaQuerySet",
    "ReplicaStatus",
    "Revision",
    "RevisionQuerySet",
    "Route",
    "RouteActivity",
    "RunnerLine",
    "Scale",
    "ScaleDecision",
    "ScaleDecisionQuerySet",
    "StatusSpan",
    "SweepTurn",
    "TimelineEvent",
    "TimelineEventQuerySet",
    "Update",
    "UpdateState",
    "Vitality",
    "Wake",
    "new_decision_id",
    "new_deployment_id",
    "new_event_id",
    "new_replica_id",
    "new_revision_id",
    "new_update_id",
]
