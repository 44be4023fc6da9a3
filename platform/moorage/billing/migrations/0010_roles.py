"""The ledger's rules without the ways around them: checked at each entry, by names that nobody can shadow; a reversal
is the exact mirror of what it reverses; an organization is charged in one currency. Roles are granted after every
migrate, see billing/roles.py.
"""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
-- Tables are named with their schema: a temporary table of the same name would come first otherwise.
CREATE OR REPLACE FUNCTION ledger_entry_is_not_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM public.ledger_transaction
                    WHERE id = NEW.transaction_id AND made_in = pg_catalog.pg_current_xact_id()) THEN
        RAISE EXCEPTION 'ledger transaction % is closed', NEW.transaction_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION ledger_transaction_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM public.ledger_entry WHERE transaction_id = NEW.id OFFSET 1) THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- Once for each entry: a transaction whose check was called for early (SET CONSTRAINTS) is looked at again.
CREATE FUNCTION ledger_entry_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    original text;
    reversal text;
BEGIN
    IF EXISTS (SELECT 1 FROM public.ledger_entry e JOIN public.ledger_account a ON a.id = e.account_id
                WHERE e.transaction_id = NEW.transaction_id GROUP BY a.currency HAVING sum(e.amount_pico) <> 0) THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', NEW.transaction_id USING ERRCODE = 'check_violation';
    END IF;
    SELECT coalesce(t.reverses_id, r.reverses_id), coalesce(r.id, t.id) INTO original, reversal
      FROM public.ledger_transaction t LEFT JOIN public.ledger_transaction r ON r.reverses_id = t.id
     WHERE t.id = NEW.transaction_id AND (t.reverses_id IS NOT NULL OR r.id IS NOT NULL);
    IF FOUND THEN
        PERFORM public.ledger_reversal_mirrors(original, reversal);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger_reversal_mirrors(original text, reversal text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT array_agg(account_id || ' ' || amount_pico ORDER BY account_id, amount_pico)
          FROM public.ledger_entry WHERE transaction_id = reversal)
       IS DISTINCT FROM
       (SELECT array_agg(account_id || ' ' || -amount_pico ORDER BY account_id, -amount_pico)
          FROM public.ledger_entry WHERE transaction_id = original) THEN
        RAISE EXCEPTION 'ledger transaction % does not negate %', reversal, original
            USING ERRCODE = 'check_violation';
    END IF;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entry_balances AFTER INSERT ON ledger_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_entry_balances();

-- The first account of an organization fixes its currency; the foreign key refuses any other.
INSERT INTO organization_currency (organization_id, currency)
SELECT DISTINCT organization_id, currency FROM ledger_account WHERE organization_id IS NOT NULL;
ALTER TABLE ledger_account ADD CONSTRAINT ledger_account_currency_is_the_organizations
    FOREIGN KEY (organization_id, currency) REFERENCES organization_currency (organization_id, currency);
CREATE FUNCTION fix_organization_currency() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.organization_id IS NOT NULL THEN
        INSERT INTO public.organization_currency (organization_id, currency)
        VALUES (NEW.organization_id, NEW.currency) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_account_fixes_currency BEFORE INSERT ON ledger_account
    FOR EACH ROW EXECUTE FUNCTION fix_organization_currency();

CREATE TRIGGER ledger_account_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER organization_currency_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON organization_currency
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

BACKWARD = """
DROP TRIGGER organization_currency_is_append_only ON organization_currency;
DROP TRIGGER ledger_account_is_append_only ON ledger_account;
DROP TRIGGER ledger_account_fixes_currency ON ledger_account;
DROP FUNCTION fix_organization_currency();
ALTER TABLE ledger_account DROP CONSTRAINT ledger_account_currency_is_the_organizations;
DROP TRIGGER ledger_entry_balances ON ledger_entry;
DROP FUNCTION ledger_entry_balances();
DROP FUNCTION ledger_reversal_mirrors(text, text);
CREATE OR REPLACE FUNCTION ledger_transaction_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries bigint;
    unbalanced bigint;
BEGIN
    SELECT count(*) INTO entries FROM ledger_entry WHERE transaction_id = NEW.id;
    SELECT count(*) INTO unbalanced FROM (
        SELECT a.currency FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         WHERE e.transaction_id = NEW.id GROUP BY a.currency HAVING sum(e.amount_pico) <> 0) AS sums;
    IF entries < 2 OR unbalanced > 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION ledger_entry_is_not_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM ledger_transaction
                    WHERE id = NEW.transaction_id AND made_in = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'ledger transaction % is closed', NEW.transaction_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0009_review")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="OrganizationCurrency",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="book_currency",
                        serialize=False,
                        to="accounts.organization",
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
            ],
            options={
                "db_table": "organization_currency",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "currency"), name="organization_currency_is_referred_to"
                    )
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
