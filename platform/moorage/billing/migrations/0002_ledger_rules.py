"""The ledger's rules in the database: balanced at commit, append-only, no late entry; statements are frozen.

Checked against PostgreSQL 15 and 18: refuses a transaction that does not sum to zero, an update, a delete, a
truncate, and an entry added to a transaction of an earlier commit.
"""

from django.db import migrations

APPEND_ONLY = ("rated_usage", "ledger_transaction", "ledger_entry", "statement", "price")

FORWARD = """
CREATE FUNCTION ledger_transaction_balances() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER ledger_transaction_balances AFTER INSERT ON ledger_transaction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_transaction_balances();

-- An entry belongs to the database transaction that made its ledger transaction; a later one could unbalance it.
ALTER TABLE ledger_transaction ADD COLUMN made_in xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE FUNCTION ledger_entry_is_not_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM ledger_transaction
                    WHERE id = NEW.transaction_id AND made_in = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'ledger transaction % is closed', NEW.transaction_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_entry_is_not_late BEFORE INSERT ON ledger_entry
    FOR EACH ROW EXECUTE FUNCTION ledger_entry_is_not_late();
""" + "\n".join(
    f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
    for table in APPEND_ONLY
)

BACKWARD = "\n".join(f"DROP TRIGGER {table}_is_append_only ON {table};" for table in APPEND_ONLY) + """
DROP TRIGGER ledger_entry_is_not_late ON ledger_entry;
DROP FUNCTION ledger_entry_is_not_late();
ALTER TABLE ledger_transaction DROP COLUMN made_in;
DROP TRIGGER ledger_transaction_balances ON ledger_transaction;
DROP FUNCTION ledger_transaction_balances();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("accounts", "0002_gateway_key")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
