"""Billing's rules in the database: the ledger balanced at commit, append-only, without late entries; statements,
invoice lines and numbered invoices frozen; every measured fact queued for rating in the transaction that adds it.

Checked against PostgreSQL 15 and 18: refuses a transaction that does not sum to zero, an update, a delete, a
truncate, and an entry added to a transaction of an earlier commit.
"""

from django.db import migrations

APPEND_ONLY = ("rated_usage", "ledger_transaction", "ledger_entry", "statement", "price", "invoice_line")

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

-- What an invoice is about never changes; once it has a number, neither does that.
CREATE FUNCTION invoice_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER invoice_is_kept BEFORE UPDATE OR DELETE ON invoice
    FOR EACH ROW EXECUTE FUNCTION invoice_is_kept();

CREATE FUNCTION queue_requests_for_rating() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unrated_usage (source_id, kind, organization_id, ended_at, unpriced_meter, unpriced_model, due_at)
    SELECT request_id, 'request', organization_id, ended_at, '', '', now() FROM added
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_event_is_queued AFTER INSERT ON usage_event REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION queue_requests_for_rating();

CREATE FUNCTION queue_replica_time_for_rating() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unrated_usage (source_id, kind, organization_id, ended_at, unpriced_meter, unpriced_model, due_at)
    SELECT id, 'replica_time', organization_id, ended_at, '', '', now() FROM added
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER replica_usage_is_queued AFTER INSERT ON replica_usage REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION queue_replica_time_for_rating();
""" + "\n".join(
    f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
    for table in APPEND_ONLY
)

BACKWARD = "\n".join(f"DROP TRIGGER {table}_is_append_only ON {table};" for table in APPEND_ONLY) + """
DROP TRIGGER replica_usage_is_queued ON replica_usage;
DROP FUNCTION queue_replica_time_for_rating();
DROP TRIGGER usage_event_is_queued ON usage_event;
DROP FUNCTION queue_requests_for_rating();
DROP TRIGGER invoice_is_kept ON invoice;
DROP FUNCTION invoice_is_kept();
DROP TRIGGER ledger_entry_is_not_late ON ledger_entry;
DROP FUNCTION ledger_entry_is_not_late();
ALTER TABLE ledger_transaction DROP COLUMN made_in;
DROP TRIGGER ledger_transaction_balances ON ledger_transaction;
DROP FUNCTION ledger_transaction_balances();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0001_initial"),
        ("accounts", "0002_gateway_key"),
        ("metering", "0002_append_only"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
