"""Replicas sleep in tiers, waking is measured, and a wake that is asked for again is heard again."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

from moorage.kernel import clock

FORWARD = """
DROP TRIGGER wake_requested ON wake;
CREATE TRIGGER wake_requested AFTER INSERT OR UPDATE ON wake
    FOR EACH ROW EXECUTE FUNCTION notify_wake_requested();
"""

BACKWARD = """
DROP TRIGGER wake_requested ON wake;
CREATE TRIGGER wake_requested AFTER INSERT ON wake
    FOR EACH ROW EXECUTE FUNCTION notify_wake_requested();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0003_ring_inside_transactions")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="replica",
            name="wake_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name="replica",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "Pending"),
                    ("placed", "Placed"),
                    ("pulling", "Pulling"),
                    ("starting", "Starting"),
                    ("ready", "Ready"),
                    ("draining", "Draining"),
                    ("frozen", "Frozen"),
                    ("stopped", "Stopped"),
                    ("stopping", "Stopping"),
                    ("failed", "Failed"),
                    ("gone", "Gone"),
                ],
                default="pending",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="Awakening",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("model_key", models.CharField(max_length=120)),
                ("tier", models.CharField(max_length=16)),
                ("seconds", models.FloatField()),
                ("stages", models.JSONField(default=dict)),
                ("at", models.DateTimeField(default=clock.now)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="awakenings",
                        to="deployments.deployment",
                    ),
                ),
                (
                    "replica",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="awakenings",
                        to="deployments.replica",
                    ),
                ),
            ],
            options={"db_table": "awakening"},
        ),
        migrations.AddIndex(
            model_name="awakening",
            index=models.Index(fields=["deployment", "model_key", "-at"], name="awakening_by_model"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
