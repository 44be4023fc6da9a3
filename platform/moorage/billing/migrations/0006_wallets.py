"""What an organization may spend, and its credit: grants, what is drawn of them, and the projections of the ledger that
wallets are.
"""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import moorage.billing.models.wallet
import moorage.billing.pico_field
import moorage.kernel.clock

APPEND_ONLY = ("credit_draw", "credit_taking")

RULES = """
-- Every organization has a wallet from its first moment; it says nothing until it is opened.
INSERT INTO wallet (organization_id) SELECT id FROM organization;
CREATE FUNCTION make_wallet() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.wallet (organization_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER organization_has_a_wallet AFTER INSERT ON organization
    FOR EACH ROW EXECUTE FUNCTION make_wallet();

-- Whoever posts takes a share of an unopened wallet's row, so that opening it waits until that is committed.
CREATE FUNCTION keep_wallets() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT a.organization_id,
               -coalesce(sum(e.amount_pico) FILTER (WHERE a.kind = 'customer_wallet'), 0) AS credit,
               coalesce(sum(e.amount_pico) FILTER (WHERE a.kind = 'customer_receivable'), 0) AS owed,
               -coalesce(sum(e.amount_pico) FILTER (WHERE a.kind = 'revenue_usage'), 0) AS settled
          FROM added e JOIN public.ledger_account a ON a.id = e.account_id
         WHERE a.kind IN ('customer_wallet', 'customer_receivable', 'revenue_usage')
           AND a.organization_id IS NOT NULL
         GROUP BY 1 ORDER BY 1
    LOOP
        PERFORM 1 FROM public.wallet
          WHERE organization_id = one.organization_id AND opened_at IS NULL FOR SHARE;
        IF NOT FOUND THEN
            UPDATE public.wallet
               SET credit_pico = credit_pico + one.credit, owed_pico = owed_pico + one.owed,
                   settled_pico = settled_pico + one.settled
             WHERE organization_id = one.organization_id;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_entry_keeps_wallets AFTER INSERT ON ledger_entry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION keep_wallets();

-- What a grant was made of never changes.
CREATE FUNCTION credit_grant_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR
       (NEW.id, NEW.organization_id, NEW.kind, NEW.amount_pico, NEW.priority, NEW.expires_at, NEW.source,
        NEW.transaction_id, NEW.created_at, NEW.created_by)
       IS DISTINCT FROM
       (OLD.id, OLD.organization_id, OLD.kind, OLD.amount_pico, OLD.priority, OLD.expires_at, OLD.source,
        OLD.transaction_id, OLD.created_at, OLD.created_by)
       OR NEW.remaining_pico > OLD.remaining_pico
    THEN
        RAISE EXCEPTION 'a grant of credit never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER credit_grant_is_kept BEFORE UPDATE OR DELETE ON credit_grant
    FOR EACH ROW EXECUTE FUNCTION credit_grant_is_kept();
"""
FORWARD = RULES + "\n".join(
    f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
    for table in APPEND_ONLY
)

BACKWARD = (
    "\n".join(f"DROP TRIGGER {table}_is_append_only ON {table};" for table in APPEND_ONLY)
    + """
DROP TRIGGER credit_grant_is_kept ON credit_grant;
DROP FUNCTION credit_grant_is_kept();
DROP TRIGGER ledger_entry_keeps_wallets ON ledger_entry;
DROP FUNCTION keep_wallets();
DROP TRIGGER organization_has_a_wallet ON organization;
DROP FUNCTION make_wallet();
"""
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0005_price_rules"), ("accounts", "0006_organization_wallet")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.billing.models.wallet.new_grant_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("kind", models.CharField(choices=[("paid", "Paid"), ("promotional", "Promotional")], max_length=16)),
                ("amount_pico", moorage.billing.pico_field.PicoField()),
                ("remaining_pico", moorage.billing.pico_field.PicoField()),
                ("priority", models.PositiveSmallIntegerField(default=50)),
                ("expires_at", models.DateTimeField(null=True)),
                ("source", models.CharField(max_length=180, unique=True)),
                ("created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("created_by", models.CharField(max_length=80)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="grants", to="accounts.organization"
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grant",
                        to="billing.ledgertransaction",
                    ),
                ),
            ],
            options={
                "db_table": "credit_grant",
            },
        ),
        migrations.CreateModel(
            name="GrantDraw",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("pico", moorage.billing.pico_field.PicoField()),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="draws", to="billing.grant"
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="draws",
                        to="billing.ledgertransaction",
                    ),
                ),
            ],
            options={
                "db_table": "credit_draw",
            },
        ),
        migrations.CreateModel(
            name="Taking",
            fields=[
                ("idempotency_key", models.CharField(max_length=220, primary_key=True, serialize=False)),
                ("kind", models.CharField(choices=[("capture", "Used"), ("revoke", "Taken back")], max_length=16)),
                ("asked_pico", moorage.billing.pico_field.PicoField()),
                ("taken_pico", moorage.billing.pico_field.PicoField()),
                ("period_start", models.DateTimeField(null=True)),
                ("at", models.DateTimeField(default=moorage.kernel.clock.now)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="takings", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "db_table": "credit_taking",
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="wallet",
                        serialize=False,
                        to="accounts.organization",
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[("prepaid", "Prepaid"), ("postpaid", "Postpaid")],
                        db_default="postpaid",
                        default="postpaid",
                        max_length=16,
                    ),
                ),
                ("credit_limit_pico", moorage.billing.pico_field.PicoField(blank=True, null=True)),
                ("opened_at", models.DateTimeField(null=True)),
                ("credit_pico", moorage.billing.pico_field.PicoField(db_default=0, default=0)),
                ("owed_pico", moorage.billing.pico_field.PicoField(db_default=0, default=0)),
                ("settled_pico", moorage.billing.pico_field.PicoField(db_default=0, default=0)),
                ("limited_at", models.DateTimeField(null=True)),
                ("cut_at", models.DateTimeField(null=True)),
                ("cut_used_pico", moorage.billing.pico_field.PicoField(null=True)),
                ("cut_boots", models.JSONField(null=True)),
                ("compared_used_pico", moorage.billing.pico_field.PicoField(null=True)),
                ("compared_settled_pico", moorage.billing.pico_field.PicoField(null=True)),
                ("alert_below_pico", moorage.billing.pico_field.PicoField(blank=True, null=True)),
                ("alerted_at", models.DateTimeField(null=True)),
                ("is_automatic", models.BooleanField(db_default=False, default=False)),
                ("below_pico", moorage.billing.pico_field.PicoField(db_default=0, default=0)),
                ("top_up_cents", models.BigIntegerField(db_default=0, default=0)),
                ("monthly_most_cents", models.BigIntegerField(db_default=0, default=0)),
            ],
            options={
                "db_table": "wallet",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("credit_pico__gte", 0)), name="wallet_is_not_overdrawn"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("credit_limit_pico__isnull", True),
                            models.Q(("credit_limit_pico__gte", 0), ("mode", "postpaid")),
                            _connector="OR",
                        ),
                        name="wallet_limit_is_postpaid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_automatic", False),
                            models.Q(
                                ("below_pico__gte", 0),
                                ("monthly_most_cents__gte", models.F("top_up_cents")),
                                ("top_up_cents__gt", 0),
                            ),
                            _connector="OR",
                        ),
                        name="wallet_top_up_is_sane",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(
                condition=models.Q(("remaining_pico__gt", 0)),
                fields=["organization"],
                name="credit_grant_with_something",
            ),
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(
                condition=models.Q(("remaining_pico__gt", 0)), fields=["expires_at"], name="credit_grant_by_expiry"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(("remaining_pico__gte", 0), ("remaining_pico__lte", models.F("amount_pico"))),
                name="credit_grant_is_not_overdrawn",
            ),
        ),
        migrations.AddConstraint(
            model_name="grantdraw",
            constraint=models.CheckConstraint(condition=models.Q(("pico__gt", 0)), name="credit_draw_takes_something"),
        ),
        migrations.AddConstraint(
            model_name="grantdraw",
            constraint=models.UniqueConstraint(fields=("transaction", "grant"), name="credit_draw_once"),
        ),
        migrations.AddIndex(
            model_name="taking",
            index=models.Index(
                condition=models.Q(("kind", "capture")),
                fields=["organization", "period_start"],
                include=("taken_pico",),
                name="credit_taking_by_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="taking",
            constraint=models.CheckConstraint(
                condition=models.Q(("taken_pico__gte", 0), ("taken_pico__lte", models.F("asked_pico"))),
                name="credit_taking_is_not_more_than_asked",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
