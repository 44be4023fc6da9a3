"""Replica time says, where it is known, what the replica did and on which devices: prices may differ by both."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("metering", "0004_disputes_and_boots")]
    operations: ClassVar = [
        migrations.AddField(
            "replicausage", "state", models.CharField(blank=True, db_default="", default="", max_length=16)
        ),
        migrations.AddField(
            "replicausage", "device_class", models.CharField(blank=True, db_default="", default="", max_length=80)
        ),
    ]
