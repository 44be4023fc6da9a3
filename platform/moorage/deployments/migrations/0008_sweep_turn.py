"""Periodic tasks take turns by a row, so that messages that pile up cost one statement each."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0007_timeline")]

    operations = [
        migrations.CreateModel(
            name="SweepTurn",
            fields=[
                ("name", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("begun_at", models.DateTimeField()),
                ("held_until", models.DateTimeField(null=True)),
            ],
            options={"db_table": "sweep_turn"},
        ),
    ]
