"""Top-ups, refunds, disputes, what dunning has done, and the pushes to a provider's usage meter."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import moorage.billing.models.top_up
import moorage.billing.models.usage_push
import moorage.kernel.clock

_ORGANIZATION = "accounts.organization"


def _owned_by(related_name, **options):
    return models.ForeignKey(
        on_delete=django.db.models.deletion.PROTECT, related_name=related_name, to=_ORGANIZATION, **options
    )


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0007_credit_notes")]
    operations: ClassVar = [
        migrations.AddField("invoice", "disputed_at", models.DateTimeField(null=True)),
        migrations.RenameField("banktransfer", "invoice_id", "subject_id"),
        migrations.AlterField(
            "banktransfer", "statement_sha256", models.CharField(blank=True, default="", max_length=64)
        ),
        migrations.AddField("banktransfer", "created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
        migrations.CreateModel(
            name="EventCursor",
            fields=[
                ("provider", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("read_until", models.DateTimeField()),
                ("polled_at", models.DateTimeField()),
            ],
            options={"db_table": "event_cursor"},
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="collection",
                        serialize=False,
                        to=_ORGANIZATION,
                    ),
                ),
                ("method_reference", models.CharField(blank=True, default="", max_length=120)),
                ("method_brand", models.CharField(blank=True, default="", max_length=40)),
                ("method_last4", models.CharField(blank=True, default="", max_length=4)),
                ("method_expires", models.CharField(blank=True, default="", max_length=7)),
                ("is_charged_automatically", models.BooleanField(default=False)),
                ("dunned_standing", models.CharField(blank=True, default="", max_length=16)),
            ],
            options={"db_table": "collection"},
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.billing.models.top_up.new_top_up_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("checkout", "On a payment page"), ("saved_method", "Saved payment method")],
                        max_length=16,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("started", "Waiting for the payment"),
                            ("paid", "Paid"),
                            ("failed", "Not paid"),
                            ("expired", "Expired"),
                        ],
                        default="started",
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("currency", models.CharField(max_length=3)),
                ("cents", models.BigIntegerField()),
                ("provider", models.CharField(max_length=16)),
                ("source", models.CharField(max_length=200, unique=True)),
                ("checkout_reference", models.CharField(blank=True, default="", max_length=120)),
                ("payment_reference", models.CharField(blank=True, default="", max_length=120)),
                ("payment_url", models.URLField(blank=True, default="", max_length=2000)),
                ("created_by", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("paid_at", models.DateTimeField(null=True)),
                ("checked_at", models.DateTimeField(null=True)),
                ("disputed_at", models.DateTimeField(null=True)),
                ("organization", _owned_by("top_ups")),
            ],
            options={
                "db_table": "top_up",
                "indexes": [
                    models.Index(fields=["organization", "-created_at"], name="top_up_by_organization"),
                    models.Index(fields=["payment_reference"], name="top_up_by_payment"),
                    models.Index(condition=models.Q(("status", "started")), fields=["created_at"], name="top_up_waiting"),
                ],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("cents__gt", 0)), name="top_up_is_of_something")
                ],
            },
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.billing.models.top_up.new_refund_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "On its way"), ("succeeded", "Paid back"), ("failed", "Failed")],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("cents", models.BigIntegerField()),
                ("provider", models.CharField(max_length=16)),
                ("reference", models.CharField(blank=True, default="", max_length=120)),
                ("reason", models.TextField()),
                ("key", models.CharField(max_length=80)),
                ("created_by", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("settled_at", models.DateTimeField(null=True)),
                ("checked_at", models.DateTimeField(null=True)),
                ("organization", _owned_by("refunds")),
                (
                    "top_up",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="billing.topup"
                    ),
                ),
            ],
            options={
                "db_table": "refund",
                "indexes": [models.Index(fields=["organization", "-created_at"], name="refund_by_organization")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("cents__gt", 0)), name="refund_is_of_something"),
                    models.UniqueConstraint(fields=("organization", "key", "top_up"), name="refund_once_a_call"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.CharField(editable=False, max_length=120, primary_key=True, serialize=False)),
                ("provider", models.CharField(max_length=16)),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "Open"), ("won", "Won"), ("lost", "Lost")], default="open", max_length=16
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=120)),
                ("currency", models.CharField(max_length=3)),
                ("cents", models.BigIntegerField()),
                ("opened_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("closed_at", models.DateTimeField(null=True)),
                ("checked_at", models.DateTimeField(null=True)),
                (
                    "invoice",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="billing.invoice",
                    ),
                ),
                ("organization", _owned_by("disputes")),
                (
                    "top_up",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="billing.topup",
                    ),
                ),
            ],
            options={
                "db_table": "dispute",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("top_up", None)) ^ models.Q(("invoice", None)),
                        name="dispute_is_of_one_payment",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UsagePush",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.billing.models.usage_push.new_push_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("seq", models.PositiveIntegerField()),
                ("period_start", models.DateTimeField()),
                ("window_start", models.DateTimeField()),
                ("window_end", models.DateTimeField()),
                ("value_micro", models.BigIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sending", "Sending"),
                            ("acked", "Acknowledged"),
                            ("rejected", "Rejected"),
                            ("uncertain", "Uncertain"),
                            ("dropped", "Not received"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("first_sent_at", models.DateTimeField(null=True)),
                ("next_attempt_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("last_error", models.TextField(blank=True, default="")),
                ("decided_by", models.CharField(blank=True, default="", max_length=80)),
                ("organization", _owned_by("+")),
            ],
            options={
                "db_table": "usage_push",
                "indexes": [models.Index(fields=["organization", "period_start"], name="usage_push_by_period")],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "seq"), name="usage_push_in_order"),
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ["pending", "sending", "rejected", "uncertain"])),
                        fields=("organization",),
                        name="usage_push_one_at_a_time",
                    ),
                ],
            },
        ),
    ]
