"""Seconds of a replica by what it did."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("metering", "0005_replica_state")]
    operations: ClassVar = []
