"""The rows between control plane and gateways: what is served from where, who waits, who is busy."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.deployments.models.deployment import Deployment
from moorage.kernel import clock


class Route(models.Model):
    """The row the gateway serves from: one per model of a deployment. ``document`` is a wire Route as JSON."""

    id = models.CharField(primary_key=True, max_length=170)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="routes")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="routes")
    model_key = models.CharField(max_length=120)
    served_name = models.CharField(max_length=170)
    document = models.JSONField()
    changed_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "route"
        constraints = [
            models.UniqueConstraint(fields=["organization", "served_name"], name="route_served_name_once"),
        ]


class Wake(models.Model):
    """A gateway has a request for an idle route. One row, however many requests wait."""

    route_id = models.CharField(primary_key=True, max_length=170)
    deployment_id = models.CharField(max_length=40)
    model_key = models.CharField(max_length=120)
    requested_at = models.DateTimeField()

    class Meta:
        db_table = "wake"


class RouteActivity(models.Model):
    """What one gateway process last said of one route: its load, and when the last request came."""

    pk = models.CompositePrimaryKey("route_id", "gateway_id")
    route_id = models.CharField(max_length=170)
    gateway_id = models.CharField(max_length=64)
    in_flight = models.IntegerField(default=0)
    waiting = models.IntegerField(default=0)
    last_request_at = models.DateTimeField(null=True)
    #: Requests in flight by replica id.
    replicas = models.JSONField(default=dict)
    #: By replica id ``{"silent": seconds since its engine said anything to a request, "broken": its breaker is open}``.
    signs = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    #: The version of the route's document that the gateway knew when it said so; 0: it does not say.
    heard = models.BigIntegerField(default=0, db_default=0)
    #: While revisions share the route: ``{"trial": update id, "revisions": {revision id: figures}}``, running totals.
    figures = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    #: Since when the oldest of those who wait has waited.
    waiting_since = models.DateTimeField(null=True)
    #: How full the KV cache of each replica is, 1.0 at most, where its engine says so.
    kv_used = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    #: By replica id, when it had a request in flight: ``[[from, until], …]`` in Unix microseconds, the last ones.
    busy = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    reported_at = models.DateTimeField()

    class Meta:
        db_table = "route_activity"
