"""Why a number of replicas was chosen."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("deployments", "0004_tiers")]
    operations: ClassVar = []
