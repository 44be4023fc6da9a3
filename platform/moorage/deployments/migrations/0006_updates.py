"""How one revision takes over from another: updates, what gateways have heard, and what they count of a trial."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import moorage.deployments.models
import moorage.kernel.clock


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0005_scaling")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="Update",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.deployments.models.new_update_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("trial", "On trial"),
                            ("taking_over", "Taking over"),
                            ("done", "Done"),
                            ("rolled_back", "Rolled back"),
                            ("superseded", "Superseded"),
                        ],
                        max_length=16,
                    ),
                ),
                ("why", models.TextField(default="")),
                ("has_made_way", models.BooleanField(default=False)),
                ("trial_since", models.DateTimeField(null=True)),
                ("figures", models.JSONField(default=dict)),
                ("judged_at", models.DateTimeField(null=True)),
                ("by", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "baseline",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="deployments.revision",
                    ),
                ),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="updates",
                        to="deployments.deployment",
                    ),
                ),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="deployments.revision"
                    ),
                ),
            ],
            options={
                "db_table": "deployment_update",
                "indexes": [models.Index(fields=["deployment", "-created_at"], name="update_by_deployment")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["trial", "taking_over"])),
                        fields=("deployment",),
                        name="update_open_once",
                    )
                ],
            },
        ),
        migrations.AddField("routeactivity", "heard", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField(
            "routeactivity",
            "figures",
            models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
