"""Replicas that sleep."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0003_ring_inside_transactions")]
    operations: ClassVar = []
