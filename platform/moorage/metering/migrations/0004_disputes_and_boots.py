"""Disputed usage, the boot that metered it, and indexes that cost each request less."""

import django.contrib.postgres.indexes
import django.db.models.functions.datetime
import moorage.kernel.clock
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('metering', '0003_idempotency_claim'),
    ]

    operations = [
        migrations.CreateModel(
            name='ShippedBoot',
            fields=[
                ('boot_id', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('shipped_at', models.DateTimeField(default=moorage.kernel.clock.now)),
            ],
            options={
                'db_table': 'shipped_boot',
            },
        ),
        migrations.RemoveIndex(
            model_name='usageevent',
            name='usage_event_by_arrival',
        ),
        migrations.AddField(
            model_name='usageevent',
            name='boot_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=40),
        ),
        migrations.AddField(
            model_name='usageevent',
            name='is_disputed',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name='usageevent',
            name='recorded_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=django.contrib.postgres.indexes.BrinIndex(fields=['recorded_at'], name='usage_event_by_arrival', pages_per_range=32),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(condition=models.Q(('is_disputed', True)), fields=['ended_at'], name='usage_event_disputed'),
        ),
        # The index that Django adds to every text key for LIKE: nobody asks so.
        migrations.RunSQL(
            "DROP INDEX IF EXISTS usage_event_request_id_60835714_like",
            "CREATE INDEX usage_event_request_id_60835714_like ON usage_event (request_id varchar_pattern_ops)",
        ),
    ]
