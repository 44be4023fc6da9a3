"""What happened and what runners said: the timeline by id, lines that somebody follows, signs of life, what was left."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import moorage.kernel.clock


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0006_updates")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="LogFollower",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("organization_id", models.CharField(max_length=40)),
                ("deployment_id", models.CharField(max_length=40)),
                ("replica_id", models.CharField(blank=True, default="", max_length=40)),
                ("seen_at", models.DateTimeField()),
            ],
            options={"db_table": "log_follower"},
        ),
        migrations.CreateModel(
            name="Orphan",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=20)),
                ("name", models.CharField(max_length=200)),
                ("replica_id", models.CharField(blank=True, default="", max_length=40)),
                ("found_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("removed_at", models.DateTimeField(null=True)),
                ("problem", models.TextField(default="")),
            ],
            options={"db_table": "orphan"},
        ),
        migrations.CreateModel(
            name="RemainsReport",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("since", models.DateTimeField()),
                ("by", models.CharField(max_length=80)),
                ("found", models.JSONField(default=list)),
                ("looked_at", models.JSONField(default=dict)),
                ("problem", models.TextField(default="")),
            ],
            options={"db_table": "remains_report"},
        ),
        migrations.CreateModel(
            name="RunnerLine",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("deployment_id", models.CharField(max_length=40)),
                ("stream", models.CharField(max_length=8)),
                ("at", models.DateTimeField()),
                ("text", models.TextField()),
                (
                    "replica",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="deployments.replica"
                    ),
                ),
            ],
            options={"db_table": "runner_line"},
        ),
        migrations.CreateModel(
            name="Vitality",
            fields=[
                (
                    "replica",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="vitality",
                        serialize=False,
                        to="deployments.replica",
                    ),
                ),
                ("probed_at", models.DateTimeField(null=True)),
                ("token_at", models.DateTimeField(null=True)),
                ("probes", models.PositiveIntegerField(default=0)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("failing_since", models.DateTimeField(null=True)),
                ("cpu_seconds", models.FloatField(null=True)),
                ("counted_tokens", models.BigIntegerField(null=True)),
                ("worked_at", models.DateTimeField(null=True)),
                ("stuck_at", models.DateTimeField(null=True)),
                ("detail", models.TextField(default="")),
            ],
            options={"db_table": "replica_vitality"},
        ),
        migrations.AddField("replica", "peak_memory_bytes", models.BigIntegerField(null=True)),
        migrations.AddField("deployment", "tries_from", models.DateTimeField(null=True)),
        migrations.AddField("replica", "pull", models.JSONField(default=dict)),
        migrations.AddField(
            "routeactivity",
            "signs",
            models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddIndex("timelineevent", models.Index(fields=["deployment", "-id"], name="timeline_event_by_id")),
        migrations.AddIndex(
            "logfollower", models.Index(fields=["organization_id"], name="log_follower_by_organization")
        ),
        migrations.AddIndex("orphan", models.Index(fields=["-found_at"], name="orphan_by_time")),
        migrations.AddConstraint(
            "orphan",
            models.UniqueConstraint(
                condition=models.Q(("removed_at", None)), fields=("kind", "name"), name="orphan_found_once"
            ),
        ),
        migrations.AddIndex("remainsreport", models.Index(fields=["-at"], name="remains_report_by_time")),
        migrations.AddIndex(
            "runnerline", models.Index(fields=["deployment_id", "id"], name="runner_line_by_deployment")
        ),
        # A flood of lines is not worth a line in the write-ahead log each; what a replica said last is kept elsewhere.
        migrations.RunSQL("ALTER TABLE runner_line SET UNLOGGED", "ALTER TABLE runner_line SET LOGGED"),
    ]
