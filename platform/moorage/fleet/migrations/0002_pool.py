"""Devices in shares, and nodes that an operator declared."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("fleet", "0001_initial")]
    operations: ClassVar = []
