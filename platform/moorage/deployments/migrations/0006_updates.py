"""How one revision takes over from another."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0005_scaling")]
    operations: ClassVar = []
