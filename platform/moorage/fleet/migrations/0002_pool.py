"""Devices in shares, of one organization each; nodes that an operator declared; where weights lie; who waits for room."""

from typing import ClassVar

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

#: Devices that are held already belong to whoever holds them.
WHOSE = """
UPDATE device SET organization_id = reservation.organization_id
FROM reservation WHERE device.reservation_id = reservation.replica_id;
SET CONSTRAINTS ALL IMMEDIATE;
"""
#: A share's organization is its device's and its reservation's, so a device never has shares of two.
ONE_ORGANIZATION = """
ALTER TABLE reservation ADD CONSTRAINT reservation_with_organization UNIQUE (replica_id, organization_id);
ALTER TABLE device ADD CONSTRAINT device_with_organization UNIQUE (id, organization_id);
ALTER TABLE device ADD CONSTRAINT device_is_of_its_holders_organization
    FOREIGN KEY (reservation_id, organization_id) REFERENCES reservation (replica_id, organization_id)
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE device_share ADD CONSTRAINT device_share_is_of_its_devices_organization
    FOREIGN KEY (device_id, organization_id) REFERENCES device (id, organization_id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE device_share ADD CONSTRAINT device_share_is_of_its_holders_organization
    FOREIGN KEY (reservation_id, organization_id) REFERENCES reservation (replica_id, organization_id)
    DEFERRABLE INITIALLY DEFERRED;
"""
SEVERAL_ORGANIZATIONS = """
ALTER TABLE device_share DROP CONSTRAINT device_share_is_of_its_holders_organization;
ALTER TABLE device_share DROP CONSTRAINT device_share_is_of_its_devices_organization;
ALTER TABLE device DROP CONSTRAINT device_is_of_its_holders_organization;
ALTER TABLE device DROP CONSTRAINT device_with_organization;
ALTER TABLE reservation DROP CONSTRAINT reservation_with_organization;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("fleet", "0001_initial")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="DeviceShare",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("organization_id", models.CharField(max_length=40)),
                ("memory_bytes", models.BigIntegerField()),
            ],
            options={
                "db_table": "device_share",
            },
        ),
        migrations.CreateModel(
            name="NodeWeights",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=80)),
                ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "db_table": "node_weights",
            },
        ),
        migrations.CreateModel(
            name="Waiting",
            fields=[
                ("replica_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("organization_id", models.CharField(max_length=40)),
                ("demand", models.JSONField()),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("asked_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={
                "db_table": "waiting",
                "ordering": ["since"],
            },
        ),
        migrations.AddField(
            model_name="device",
            name="organization_id",
            field=models.CharField(blank=True, default="", max_length=40),
        ),
        migrations.AddField(
            model_name="device",
            name="used_memory_bytes",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="node",
            name="drained_why",
            field=models.CharField(blank=True, default="", max_length=300),
        ),
        migrations.AddField(
            model_name="node",
            name="is_emulated",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="node",
            name="labels",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="node",
            name="taints",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="reservation",
            name="priority",
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.RunSQL(WHOSE, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(("used_memory_bytes__gte", 0), ("used_memory_bytes__lte", models.F("memory_bytes"))),
                name="device_memory_is_never_oversold",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(("reservation", None), ("used_memory_bytes", 0), _connector="OR"),
                name="device_is_whole_or_shared",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("organization_id", ""), ("reservation", None), ("used_memory_bytes", 0)),
                    models.Q(
                        models.Q(("organization_id", ""), _negated=True),
                        models.Q(("reservation__isnull", False), ("used_memory_bytes__gt", 0), _connector="OR"),
                    ),
                    _connector="OR",
                ),
                name="device_in_use_is_of_one_organization",
            ),
        ),
        migrations.AddField(
            model_name="deviceshare",
            name="device",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="shares", to="fleet.device"
            ),
        ),
        migrations.AddField(
            model_name="deviceshare",
            name="reservation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="shares", to="fleet.reservation"
            ),
        ),
        migrations.AddField(
            model_name="nodeweights",
            name="node",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="weights", to="fleet.node"
            ),
        ),
        migrations.AddConstraint(
            model_name="deviceshare",
            constraint=models.UniqueConstraint(fields=("reservation", "device"), name="device_share_is_one_a_replica"),
        ),
        migrations.AddConstraint(
            model_name="deviceshare",
            constraint=models.CheckConstraint(
                condition=models.Q(("memory_bytes__gt", 0)), name="device_share_is_some_memory"
            ),
        ),
        migrations.AddConstraint(
            model_name="nodeweights",
            constraint=models.UniqueConstraint(fields=("node", "digest"), name="node_weights_are_known_once"),
        ),
        migrations.RunSQL(ONE_ORGANIZATION, SEVERAL_ORGANIZATIONS),
    ]
