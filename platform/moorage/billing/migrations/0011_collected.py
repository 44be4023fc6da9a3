"""What collection and wallets lacked."""

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0010_roles")]
    operations: ClassVar = []
