"""Decisions of the autoscaler are kept, with the load they came from; statuses of replicas are kept until metered."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import moorage.deployments.models
import moorage.kernel.clock

#: Replicas that live now begin with what is known of them; a queue that grows rings for a look.
FORWARD = """
INSERT INTO replica_status_span (replica_id, status, began_at)
SELECT id, 'ready', ready_at FROM replica
 WHERE ready_at IS NOT NULL AND status NOT IN ('gone', 'ready') AND (ended_at IS NULL OR metered_until < ended_at);
INSERT INTO replica_status_span (replica_id, status, began_at)
SELECT id, status, CASE WHEN status = 'ready' THEN coalesce(ready_at, status_changed_at) ELSE status_changed_at END
  FROM replica WHERE status <> 'gone' ORDER BY status_changed_at;

CREATE FUNCTION notify_queue_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_work', split_part(NEW.route_id, ':', 1));
    RETURN NULL;
END $$;
CREATE TRIGGER queue_begins AFTER INSERT ON route_activity
    FOR EACH ROW WHEN (NEW.waiting > 0) EXECUTE FUNCTION notify_queue_grows();
CREATE TRIGGER queue_doubles AFTER UPDATE OF waiting ON route_activity
    FOR EACH ROW WHEN (NEW.waiting > 2 * OLD.waiting) EXECUTE FUNCTION notify_queue_grows();
"""

BACKWARD = """
DROP TRIGGER queue_doubles ON route_activity;
DROP TRIGGER queue_begins ON route_activity;
DROP FUNCTION notify_queue_grows();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0004_tiers")]
    operations: ClassVar = [
        migrations.AddField(model_name="scale", name="window", field=models.JSONField(default=dict)),
        migrations.AddField(model_name="scale", name="panic_until", field=models.DateTimeField(null=True)),
        migrations.AlterField(model_name="scale", name="why", field=models.CharField(max_length=300)),
        migrations.AddField(model_name="routeactivity", name="waiting_since", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="routeactivity",
            name="kv_used",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="routeactivity",
            name="busy",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.CreateModel(
            name="ScaleDecision",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.deployments.models.new_decision_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("model_key", models.CharField(max_length=120)),
                ("before", models.PositiveIntegerField()),
                ("wanted", models.PositiveIntegerField()),
                ("why", models.CharField(max_length=300)),
                ("signals", models.JSONField(default=dict)),
                ("at", models.DateTimeField(default=moorage.kernel.clock.now)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="scale_decisions",
                        to="deployments.deployment",
                    ),
                ),
            ],
            options={
                "db_table": "scale_decision",
                "indexes": [
                    models.Index(fields=["deployment", "-at"], name="scale_decision_by_deployment"),
                    models.Index(fields=["at"], name="scale_decision_by_time"),
                ],
            },
        ),
        migrations.CreateModel(
            name="StatusSpan",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("status", models.CharField(max_length=16)),
                ("began_at", models.DateTimeField()),
                (
                    "replica",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="spans", to="deployments.replica"
                    ),
                ),
            ],
            options={
                "db_table": "replica_status_span",
                "indexes": [models.Index(fields=["replica", "id"], name="status_span_by_replica")],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
