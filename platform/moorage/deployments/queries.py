"""The questions about deployments. A stranger's deployment is not found."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping

from django.db.models import Count, Prefetch, Q, QuerySet

from moorage.accounts.models import Organization
from moorage.compose.environment import EnvVar, environment
from moorage.compose.spec import Spec
from moorage.deployments.errors import DeploymentNotFound, ReplicaNotFound, RevisionNotFound
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    Replica,
    ReplicaStatus,
    Revision,
    Route,
    RouteActivity,
    Scale,
    TimelineEvent,
)
from moorage.deployments.pins import Pin


def deployments_of(organization: Organization) -> QuerySet[Deployment]:
    """Those that exist, by name, each with ``replicas_ready`` and ``replicas_live``."""
    live = ~Q(replicas__status__in=[ReplicaStatus.GONE, ReplicaStatus.FAILED, ReplicaStatus.STOPPING])
    return (
        Deployment.objects.for_organization(organization)
        .not_deleted()
        .select_related("target", "organization")
        .prefetch_related(Prefetch("scales", queryset=Scale.objects.order_by("model_key")))
        .annotate(
            replicas_ready=Count("replicas", filter=Q(replicas__status=ReplicaStatus.READY)),
            replicas_live=Count("replicas", filter=live & Q(replicas__isnull=False)),
        )
        .order_by("name")
    )


def deployment(*, organization: Organization, name: str) -> Deployment:
    """The organization's deployment of that name. Raises DeploymentNotFound."""
    found = deployments_of(organization).filter(name=name).first()
    if found is None:
        raise DeploymentNotFound
    return found


def revisions(deployment: Deployment) -> QuerySet[Revision]:
    """All its revisions, newest first."""
    return deployment.revisions.order_by("-number")


def revision(*, deployment: Deployment, number: int) -> Revision:
    """One by number. Raises RevisionNotFound."""
    found = deployment.revisions.filter(number=number).first()
    if found is None:
        raise RevisionNotFound
    return found


def replicas(deployment: Deployment, *, with_gone: bool = False) -> QuerySet[Replica]:
    """Its replicas, newest first; those that are gone only if asked for."""
    rows = deployment.replicas.select_related("revision").order_by("-created_at")
    return rows if with_gone else rows.exclude(status=ReplicaStatus.GONE)


def replica(*, deployment: Deployment, replica_id: str) -> Replica:
    """One by id. Raises ReplicaNotFound."""
    found = deployment.replicas.select_related("revision").filter(pk=replica_id).first()
    if found is None:
        raise ReplicaNotFound
    return found


def last_start(deployment: Deployment, model_key: str) -> dt.timedelta | None:
    """How long the last start of a model took, from the weights on the node to the first token; None: never was one."""
    found = (
        TimelineEvent.objects.filter(
            deployment=deployment,
            code=f"replica_{ReplicaStatus.STARTING}",
            replica__model_key=model_key,
            replica__ready_at__isnull=False,
        )
        .order_by("-replica__ready_at")
        .values_list("at", "replica__ready_at")
        .first()
    )
    return found[1] - found[0] if found is not None and found[1] is not None else None


def timeline(
    deployment: Deployment,
    *,
    code: str = "",
    replica_id: str = "",
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> QuerySet[TimelineEvent]:
    """What happened, newest first: of one ``code`` (``replica_*``: of all that begin so), of one replica, in a time."""
    rows = deployment.timeline.order_by("-at", "-id")
    if code:
        rows = rows.filter(code__startswith=code[:-1]) if code.endswith("*") else rows.filter(code=code)
    if replica_id:
        rows = rows.filter(replica_id=replica_id)
    if since is not None:
        rows = rows.filter(at__gte=since)
    return rows if until is None else rows.filter(at__lt=until)


def spec_of(revision: Revision) -> Spec:
    """The revision's Spec."""
    return Spec.from_json(revision.spec)


def pins_of(revision: Revision) -> tuple[Pin, ...]:
    """The revision's pins, by model key."""
    return tuple(Pin.from_json(document) for _, document in sorted(revision.pins.items()))


def service_environment(revision: Revision, *, gateway_url: str) -> Mapping[str, tuple[EnvVar, ...]]:
    """For each service of the Compose file that binds a model: the variables it needs."""
    names = {pin.model_key: pin.served_name for pin in pins_of(revision)}
    return environment(spec_of(revision), endpoint_url=f"{gateway_url}/v1/", served_names=names)


def has_settled(deployment: Deployment, revision: Revision) -> bool | None:
    """For waiting callers: True if ``revision`` serves or sleeps by choice, False if it has failed, None: not yet."""
    if deployment.target_id != revision.pk:
        return False
    match deployment.status:
        case DeploymentStatus.READY | DeploymentStatus.IDLE | DeploymentStatus.PAUSED:
            return True
        case DeploymentStatus.FAILED | DeploymentStatus.DEGRADED | DeploymentStatus.DELETING | DeploymentStatus.DELETED:
            return False
        case _:
            return None


def deployment_names(organization: Organization) -> Mapping[str, str]:
    """Names of its deployments by id; those that are deleted keep theirs."""
    return dict(Deployment.objects.for_organization(organization).values_list("pk", "name"))


def revision_labels(organization: Organization) -> Mapping[str, str]:
    """What people call its revisions, by id: ``demo revision 3``."""
    rows = Revision.objects.for_organization(organization).values_list("pk", "deployment__name", "number")
    return {pk: f"{name} revision {number}" for pk, name, number in rows}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """What answered a request, as far as rows of it are left: revision, pinned model, replica."""

    revision: Revision | None
    pin: Pin | None
    replica: Replica | None


def trace(*, organization: Organization, revision_id: str, replica_id: str, model_key: str) -> Trace:
    """From the ids that a request carries to the digest, the quantization and the argument list behind it."""
    found = Revision.objects.for_organization(organization).select_related("deployment").filter(pk=revision_id).first()
    pins = {pin.model_key: pin for pin in pins_of(found)} if found else {}
    return Trace(
        revision=found,
        pin=pins.get(model_key),
        replica=Replica.objects.for_organization(organization).filter(pk=replica_id).first() if replica_id else None,
    )


def last_requests(deployments: Iterable[Deployment]) -> dict[str, dt.datetime]:
    """When each of these deployments was last called, by id, as the gateways tell it; never called: not in it."""
    routes = dict(Route.objects.filter(deployment__in=list(deployments)).values_list("id", "deployment_id"))
    activity = RouteActivity.objects.filter(route_id__in=routes, last_request_at__isnull=False)
    found: dict[str, dt.datetime] = {}
    for route_id, at in activity.values_list("route_id", "last_request_at"):
        assert at is not None
        found[routes[route_id]] = max(at, found.get(routes[route_id], at))
    return found
