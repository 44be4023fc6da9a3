"""What happened, and what runners said."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0006_updates")]
    operations: ClassVar = []
