"""Why nothing of an organization runs for now, though it wants to."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0006_organization_wallet")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="organization",
            name="withheld",
            field=models.CharField(
                blank=True,
                choices=[("balance", "Balance used up"), ("standing", "Suspended")],
                db_default="",
                default="",
                max_length=16,
            ),
        ),
    ]
