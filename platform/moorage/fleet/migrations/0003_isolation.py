"""The isolation that a container really got."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("fleet", "0002_pool")]
    operations: ClassVar = []
