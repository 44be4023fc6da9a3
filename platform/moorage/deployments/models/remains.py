"""What was left behind, and the nightly report of it."""

from django.db import models
from django.db.models import Q

from moorage.kernel import clock


class Orphan(models.Model):
    """Something that was left behind, when it was found, and when it was gone."""

    id = models.BigAutoField(primary_key=True)
    #: container | reservation | socket_directory | network | volume | record | route | wake
    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=200)
    replica_id = models.CharField(max_length=40, default="", blank=True)
    found_at = models.DateTimeField(default=clock.now)
    removed_at = models.DateTimeField(null=True)
    #: Why it could not be removed yet.
    problem = models.TextField(default="")

    class Meta:
        db_table = "orphan"
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], condition=Q(removed_at=None), name="orphan_found_once"),
        ]
        indexes = [models.Index(fields=["-found_at"], name="orphan_by_time")]


class RemainsReport(models.Model):
    """What was left behind since the report before; one a night, also when there was nothing."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=clock.now)
    since = models.DateTimeField()
    #: Who asked; Moorage itself every night.
    by = models.CharField(max_length=80)
    #: ``[{"kind", "name", "replica_id", "found_at", "removed_at", "problem"}]``
    found = models.JSONField(default=list)
    #: How many of each kind were looked through.
    looked_at = models.JSONField(default=dict)
    #: What could not be looked at, in a sentence; empty: everything was.
    problem = models.TextField(default="")

    class Meta:
        db_table = "remains_report"
        indexes = [models.Index(fields=["-at"], name="remains_report_by_time")]
