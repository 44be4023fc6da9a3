"""Invoices with tax, buyer and seller, and credit notes; what is numbered stays as it is, and no invoice is credited
more than once over."""

from typing import ClassVar

import django.db.models.deletion
import moorage.billing.models.credit_note
import moorage.billing.pico_field
import moorage.kernel.clock
from django.db import migrations, models

#: Before there was tax, what was due was the total.
SUBTOTALS = "UPDATE invoice SET subtotal_cents = total_cents"

APPEND_ONLY = ("invoice_tax_line", "credit_note_line", "credit_note_tax_line")

FORWARD = """
-- Until a number is given, tax follows the billing details; with it everything but status and provider is kept.
CREATE OR REPLACE FUNCTION invoice_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'an invoice is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.organization_id, NEW.statement_id, NEW.currency, NEW.subtotal_cents, NEW.provider, NEW.created_at)
       IS DISTINCT FROM
       (OLD.organization_id, OLD.statement_id, OLD.currency, OLD.subtotal_cents, OLD.provider, OLD.created_at)
       OR (OLD.number IS NOT NULL AND
           (NEW.number, NEW.finalized_at, NEW.due_at, NEW.tax_cents, NEW.total_cents, NEW.buyer, NEW.seller)
           IS DISTINCT FROM
           (OLD.number, OLD.finalized_at, OLD.due_at, OLD.tax_cents, OLD.total_cents, OLD.buyer, OLD.seller))
    THEN
        RAISE EXCEPTION 'a finalized invoice never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION credit_note_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'a credit note is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF to_jsonb(NEW) - 'provider_reference' IS DISTINCT FROM to_jsonb(OLD) - 'provider_reference' THEN
        RAISE EXCEPTION 'a credit note never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER credit_note_is_kept BEFORE UPDATE OR DELETE ON credit_note
    FOR EACH ROW EXECUTE FUNCTION credit_note_is_kept();
CREATE TRIGGER credit_note_is_not_truncated BEFORE TRUNCATE ON credit_note
    FOR EACH STATEMENT EXECUTE FUNCTION credit_note_is_kept();

-- Whoever credits an invoice waits for whoever does so at the same time, and finds what they credited.
CREATE FUNCTION credit_notes_fit_the_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    credited numeric;
BEGIN
    SELECT total_cents INTO most FROM invoice WHERE id = NEW.invoice_id AND number IS NOT NULL FOR UPDATE;
    SELECT coalesce(sum(total_cents), 0) INTO credited FROM credit_note WHERE invoice_id = NEW.invoice_id;
    IF most IS NULL OR credited + NEW.total_cents > most THEN
        RAISE EXCEPTION 'an invoice is never credited more than it comes to' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER credit_notes_fit_the_invoice BEFORE INSERT ON credit_note
    FOR EACH ROW EXECUTE FUNCTION credit_notes_fit_the_invoice();
""" + "\n".join(
    f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
    for table in APPEND_ONLY
)

BACKWARD = "\n".join(f"DROP TRIGGER {table}_is_append_only ON {table};" for table in APPEND_ONLY) + """
DROP TRIGGER credit_notes_fit_the_invoice ON credit_note;
DROP FUNCTION credit_notes_fit_the_invoice();
DROP TRIGGER credit_note_is_not_truncated ON credit_note;
DROP TRIGGER credit_note_is_kept ON credit_note;
DROP FUNCTION credit_note_is_kept();
CREATE OR REPLACE FUNCTION invoice_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'an invoice is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.organization_id, NEW.statement_id, NEW.currency, NEW.total_cents, NEW.provider, NEW.created_at)
       IS DISTINCT FROM
       (OLD.organization_id, OLD.statement_id, OLD.currency, OLD.total_cents, OLD.provider, OLD.created_at)
       OR (OLD.number IS NOT NULL AND (NEW.number, NEW.finalized_at) IS DISTINCT FROM (OLD.number, OLD.finalized_at))
    THEN
        RAISE EXCEPTION 'a finalized invoice never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0006_wallets")]
    operations: ClassVar = [
        migrations.AddField(
            model_name='invoice',
            name='buyer',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='invoice',
            name='due_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='invoice',
            name='seller',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='invoice',
            name='subtotal_cents',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='invoice',
            name='tax_cents',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='statement',
            name='credit_applied_pico',
            field=moorage.billing.pico_field.PicoField(default=0),
        ),
        migrations.RunSQL(SUBTOTALS, migrations.RunSQL.noop),
        migrations.CreateModel(
            name='BillingDetails',
            fields=[
                ('organization', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='billing_details', serialize=False, to='accounts.organization')),
                ('legal_name', models.CharField(blank=True, default='', max_length=160)),
                ('address', models.TextField(blank=True, default='')),
                ('country', models.CharField(blank=True, default='', max_length=2)),
                ('tax_id', models.CharField(blank=True, default='', max_length=40)),
                ('email', models.EmailField(blank=True, default='', max_length=254)),
                ('updated_at', models.DateTimeField(default=moorage.kernel.clock.now)),
            ],
            options={
                'db_table': 'billing_details',
            },
        ),
        migrations.CreateModel(
            name='CreditNote',
            fields=[
                ('id', models.CharField(default=moorage.billing.models.credit_note.new_credit_note_id, editable=False, max_length=40, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(unique=True)),
                ('currency', models.CharField(max_length=3)),
                ('subtotal_cents', models.BigIntegerField()),
                ('tax_cents', models.BigIntegerField()),
                ('total_cents', models.BigIntegerField()),
                ('exact_pico', moorage.billing.pico_field.PicoField()),
                ('owed_cents', models.BigIntegerField()),
                ('refund_cents', models.BigIntegerField()),
                ('is_to_wallet', models.BooleanField(default=False)),
                ('reason', models.TextField()),
                ('issued_by', models.CharField(max_length=80)),
                ('issued_at', models.DateTimeField(default=moorage.kernel.clock.now)),
                ('provider_reference', models.CharField(blank=True, default='', max_length=120)),
                ('invoice', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credit_notes', to='billing.invoice')),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credit_notes', to='accounts.organization')),
            ],
            options={
                'db_table': 'credit_note',
            },
        ),
        migrations.CreateModel(
            name='CreditNoteLine',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('position', models.PositiveIntegerField()),
                ('description', models.CharField(max_length=300)),
                ('amount_pico', moorage.billing.pico_field.PicoField()),
                ('amount_cents', models.BigIntegerField()),
                ('credit_note', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='billing.creditnote')),
            ],
            options={
                'db_table': 'credit_note_line',
            },
        ),
        migrations.CreateModel(
            name='CreditNoteTaxLine',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('position', models.PositiveIntegerField()),
                ('name', models.CharField(max_length=80)),
                ('basis_points', models.PositiveIntegerField()),
                ('amount_cents', models.BigIntegerField()),
                ('credit_note', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tax_lines', to='billing.creditnote')),
            ],
            options={
                'db_table': 'credit_note_tax_line',
            },
        ),
        migrations.CreateModel(
            name='InvoiceTaxLine',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('position', models.PositiveIntegerField()),
                ('name', models.CharField(max_length=80)),
                ('basis_points', models.PositiveIntegerField()),
                ('amount_cents', models.BigIntegerField()),
                ('invoice', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tax_lines', to='billing.invoice')),
            ],
            options={
                'db_table': 'invoice_tax_line',
            },
        ),
        migrations.AddIndex(
            model_name='creditnote',
            index=models.Index(fields=['organization', '-issued_at'], name='credit_note_by_organization'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('total_cents__gt', 0)), name='credit_note_credits_something'),
        ),
        migrations.AddConstraint(
            model_name='creditnote',
            constraint=models.CheckConstraint(condition=models.Q(('total_cents', django.db.models.expressions.CombinedExpression(models.F('subtotal_cents'), '+', models.F('tax_cents'))), ('total_cents', django.db.models.expressions.CombinedExpression(models.F('owed_cents'), '+', models.F('refund_cents')))), name='credit_note_adds_up'),
        ),
        migrations.AddConstraint(
            model_name='creditnoteline',
            constraint=models.UniqueConstraint(fields=('credit_note', 'position'), name='credit_note_line_once'),
        ),
        migrations.AddConstraint(
            model_name='creditnotetaxline',
            constraint=models.UniqueConstraint(fields=('credit_note', 'position'), name='credit_note_tax_line_once'),
        ),
        migrations.AddConstraint(
            model_name='invoicetaxline',
            constraint=models.UniqueConstraint(fields=('invoice', 'position'), name='invoice_tax_line_position_once'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
