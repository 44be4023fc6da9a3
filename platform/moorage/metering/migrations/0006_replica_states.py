"""Nothing to change: state and device class have been columns since 0005; rows of old keep an empty state."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("metering", "0005_replica_state")]
    operations: ClassVar = []
