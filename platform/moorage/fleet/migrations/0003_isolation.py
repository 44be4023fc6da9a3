"""Whom an administrator trusts how far, the isolation that a replica really got, and what a probe inside found."""

from typing import ClassVar

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("fleet", "0002_pool")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="OrganizationTrust",
            fields=[
                ("organization_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("trust_class", models.CharField(max_length=40)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"db_table": "organization_trust"},
        ),
        migrations.CreateModel(
            name="ReplicaIsolation",
            fields=[
                ("replica_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("level", models.CharField(max_length=20)),
                ("document", models.JSONField()),
                ("read_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={"db_table": "isolation"},
        ),
        migrations.CreateModel(
            name="NodeProbe",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("engine", models.CharField(max_length=20)),
                ("container_runtime", models.CharField(default="runc", max_length=40)),
                ("is_closed", models.BooleanField()),
                ("document", models.JSONField()),
                ("taken_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="probes", to="fleet.node"
                    ),
                ),
            ],
            options={"db_table": "node_probe", "ordering": ["engine", "container_runtime"]},
        ),
        migrations.AddConstraint(
            model_name="nodeprobe",
            constraint=models.UniqueConstraint(
                fields=("node", "engine", "container_runtime"), name="node_probe_is_the_last"
            ),
        ),
    ]
