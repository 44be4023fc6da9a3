"""Since when a balance is used up; refunds that were made at the provider; payouts of credit notes by transfer."""

from typing import ClassVar, Final

import django.db.models.deletion
from django.db import migrations, models

import moorage.billing.pico_field
import moorage.kernel.clock

APPROVALS: Final = [
    ("credit", "Credit"),
    ("adjustment", "Adjustment"),
    ("uncollectible", "Mark uncollectible"),
    ("void", "Void"),
    ("refund", "Refund of credit"),
    ("payout", "Payout of a credit note"),
]
GUARD: Final = (
    "CREATE TRIGGER money_deed_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON money_deed"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
)
UNGUARD: Final = "DROP TRIGGER money_deed_is_append_only ON money_deed"


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0010_roles"), ("accounts", "0007_withheld")]
    operations: ClassVar = [
        migrations.AddField(model_name="wallet", name="empty_since", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="refund",
            name="uncovered_cents",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="refund", name="uncovered_settled_at", field=models.DateTimeField(null=True)
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(uncovered_cents__gte=0, uncovered_cents__lte=models.F("cents")),
                name="refund_uncovered_is_a_part",
            ),
        ),
        migrations.AlterField(
            model_name="approvalrequest", name="kind", field=models.CharField(choices=APPROVALS, max_length=16)
        ),
        migrations.CreateModel(
            name="MoneyDeed",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(choices=APPROVALS, max_length=16)),
                ("key", models.CharField(max_length=120)),
                ("amount_pico", moorage.billing.pico_field.PicoField()),
                ("by", models.CharField(max_length=80)),
                ("at", models.DateTimeField(default=moorage.kernel.clock.now)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={"db_table": "money_deed"},
        ),
        migrations.AddConstraint(
            model_name="moneydeed",
            constraint=models.UniqueConstraint(fields=["organization", "kind", "key"], name="money_deed_once"),
        ),
        migrations.AddConstraint(
            model_name="moneydeed",
            constraint=models.CheckConstraint(
                condition=models.Q(amount_pico__gte=0), name="money_deed_is_not_negative"
            ),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.AlterField(
            model_name="taking",
            name="kind",
            field=models.CharField(
                choices=[("capture", "Used"), ("invoice", "Invoice paid"), ("revoke", "Taken back")], max_length=16
            ),
        ),
    ]
