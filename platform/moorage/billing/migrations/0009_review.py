"""What an administrator's review keeps: approvals by a second person, reconciliation runs, unusual usage."""

from typing import ClassVar

import django.db.models.deletion
import moorage.billing.models.review
import moorage.billing.pico_field
import moorage.kernel.clock
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0005_key_priority"), ("billing", "0008_collection")]
    operations: ClassVar = [
        migrations.CreateModel(
            name='EngineReading',
            fields=[
                ('replica_id', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('organization_id', models.CharField(max_length=40)),
                ('read_at', models.DateTimeField()),
                ('raw_input', models.BigIntegerField()),
                ('raw_output', models.BigIntegerField()),
                ('engine_input', models.BigIntegerField(default=0)),
                ('engine_output', models.BigIntegerField(default=0)),
                ('earlier_input', models.BigIntegerField(default=0)),
                ('earlier_output', models.BigIntegerField(default=0)),
                ('metered_input', models.BigIntegerField(default=0)),
                ('metered_output', models.BigIntegerField(default=0)),
                ('completed_output', models.BigIntegerField(default=0)),
            ],
            options={
                'db_table': 'engine_reading',
            },
        ),
        migrations.CreateModel(
            name='WatchMark',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('until', models.DateTimeField()),
            ],
            options={
                'db_table': 'watch_mark',
            },
        ),
        migrations.CreateModel(
            name='PutAway',
            fields=[
                ('subject_id', models.CharField(max_length=120, primary_key=True, serialize=False)),
                ('at', models.DateTimeField(default=moorage.kernel.clock.now)),
                ('by', models.CharField(max_length=120)),
                ('because', models.TextField()),
            ],
            options={
                'db_table': 'put_away',
            },
        ),
        migrations.CreateModel(
            name='ReconciliationRun',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('job', models.CharField(max_length=4)),
                ('asked_by', models.CharField(blank=True, default='', max_length=120)),
                ('asked_at', models.DateTimeField(default=moorage.kernel.clock.now)),
                ('started_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('is_clean', models.BooleanField(null=True)),
                ('compared', models.BigIntegerField(default=0)),
                ('findings', models.JSONField(default=list)),
                ('finding_count', models.BigIntegerField(default=0)),
                ('note', models.TextField(blank=True, default='')),
                ('covered_until', models.DateTimeField(null=True)),
                ('acknowledged_at', models.DateTimeField(null=True)),
                ('acknowledged_by', models.CharField(blank=True, default='', max_length=120)),
                ('acknowledged_because', models.TextField(blank=True, default='')),
            ],
            options={
                'db_table': 'reconciliation_run',
                'indexes': [models.Index(fields=['job', '-id'], name='reconciliation_run_by_job'), models.Index(condition=models.Q(('acknowledged_at', None), ('is_clean', False)), fields=['job'], name='reconciliation_run_open')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('job',), name='reconciliation_run_one_at_a_time'), models.CheckConstraint(condition=models.Q(('ended_at', None), models.Q(('is_clean__isnull', False), ('started_at__isnull', False)), _connector='OR'), name='reconciliation_run_ends_with_a_result')],
            },
        ),
        migrations.CreateModel(
            name='UsageAnomaly',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('surge', 'Surge'), ('new_key', 'New key in heavy use'), ('disputed', 'Disputed counts'), ('no_tokens', 'Answers without a token')], max_length=16)),
                ('organization_id', models.CharField(max_length=40)),
                ('subject_kind', models.CharField(max_length=16)),
                ('subject_id', models.CharField(max_length=40)),
                ('day', models.DateField()),
                ('figure', models.BigIntegerField()),
                ('usual', models.BigIntegerField(default=0)),
                ('sentence', models.TextField()),
                ('found_at', models.DateTimeField(default=moorage.kernel.clock.now)),
                ('acknowledged_at', models.DateTimeField(null=True)),
                ('acknowledged_by', models.CharField(blank=True, default='', max_length=120)),
                ('acknowledged_because', models.TextField(blank=True, default='')),
            ],
            options={
                'db_table': 'usage_anomaly',
                'indexes': [models.Index(fields=['acknowledged_at', '-day'], name='usage_anomaly_open')],
                'constraints': [models.UniqueConstraint(fields=('kind', 'subject_id', 'day'), name='usage_anomaly_once_a_day')],
            },
        ),
        migrations.CreateModel(
            name='UsageDay',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('organization_id', models.CharField(max_length=40)),
                ('deployment_id', models.CharField(max_length=40)),
                ('key_id', models.CharField(max_length=40)),
                ('day', models.DateField()),
                ('requests', models.BigIntegerField(default=0)),
                ('tokens', models.BigIntegerField(default=0)),
                ('disputed', models.BigIntegerField(default=0)),
                ('with_output', models.BigIntegerField(default=0)),
                ('zero_streak', models.BigIntegerField(default=0)),
            ],
            options={
                'db_table': 'usage_day',
                'constraints': [models.UniqueConstraint(fields=('day', 'organization_id', 'deployment_id', 'key_id'), name='usage_day_once')],
            },
        ),
        migrations.CreateModel(
            name='ApprovalRequest',
            fields=[
                ('id', models.CharField(default=moorage.billing.models.review.new_approval_id, editable=False, max_length=40, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('credit', 'Credit'), ('adjustment', 'Adjustment'), ('uncollectible', 'Mark uncollectible'), ('void', 'Void')], max_length=16)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.organization')),
                ('invoice_id', models.CharField(blank=True, default='', max_length=40)),
                ('amount_pico', moorage.billing.pico_field.PicoField()),
                ('detail', models.JSONField(default=dict)),
                ('reason', models.TextField()),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('approved', 'Approved'), ('refused', 'Refused'), ('withdrawn', 'Withdrawn')], default='waiting', max_length=16)),
                ('requested_at', models.DateTimeField(default=moorage.kernel.clock.now)),
                ('requested_by', models.CharField(max_length=80)),
                ('requested_by_label', models.CharField(max_length=120)),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_by', models.CharField(blank=True, default='', max_length=80)),
                ('decided_by_label', models.CharField(blank=True, default='', max_length=120)),
                ('decided_because', models.TextField(blank=True, default='')),
            ],
            options={
                'db_table': 'approval_request',
                'indexes': [models.Index(fields=['status', '-requested_at'], name='approval_request_by_status')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('status', 'waiting'), models.Q(('invoice_id', ''), _negated=True)), fields=('kind', 'invoice_id'), name='approval_request_once_an_invoice'), models.CheckConstraint(condition=models.Q(('status__in', ['waiting', 'withdrawn']), models.Q(('decided_by', models.F('requested_by')), _negated=True), _connector='OR'), name='approval_request_by_another'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at', None), ('status', 'waiting')), models.Q(models.Q(('status', 'waiting'), _negated=True), ('decided_at__isnull', False)), _connector='OR'), name='approval_request_decided_once'), models.CheckConstraint(condition=models.Q(('amount_pico__gte', 0)), name='approval_request_is_not_negative')],
            },
        ),
    ]
