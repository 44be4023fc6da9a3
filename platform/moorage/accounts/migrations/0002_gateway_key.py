"""The gateway's view of the keys, and the triggers that tell it of every change, whoever makes it."""

from django.db import migrations

FORWARD = """
CREATE VIEW gateway_key AS
SELECT k.id,
       jsonb_build_object(
           'id', k.id,
           'sha256', encode(k.sha256, 'hex'),
           'organization_id', k.organization_id,
           'standing', o.standing,
           'scopes', k.scopes,
           'expires_at', extract(epoch FROM k.expires_at),
           'models', k.served_names
       ) AS document
  FROM api_key k
  JOIN organization o ON o.id = k.organization_id
 WHERE k.revoked_at IS NULL
   AND (k.expires_at IS NULL OR k.expires_at > now());

CREATE FUNCTION notify_key_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_key', coalesce(NEW.id, OLD.id));
    RETURN NULL;
END $$;

-- last_used_at is written often and means nothing to the gateway.
CREATE TRIGGER api_key_inserted AFTER INSERT OR DELETE ON api_key
    FOR EACH ROW EXECUTE FUNCTION notify_key_changed();
CREATE TRIGGER api_key_changed AFTER UPDATE OF revoked_at, expires_at, scopes, served_names, organization_id ON api_key
    FOR EACH ROW EXECUTE FUNCTION notify_key_changed();

CREATE FUNCTION notify_standing_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_key', '');
    RETURN NULL;
END $$;

CREATE TRIGGER organization_standing_changed AFTER UPDATE OF standing ON organization
    FOR EACH ROW WHEN (OLD.standing IS DISTINCT FROM NEW.standing) EXECUTE FUNCTION notify_standing_changed();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

BACKWARD = """
DROP TRIGGER audit_entry_is_append_only ON audit_entry;
DROP FUNCTION refuse_change();
DROP TRIGGER organization_standing_changed ON organization;
DROP FUNCTION notify_standing_changed();
DROP TRIGGER api_key_changed ON api_key;
DROP TRIGGER api_key_inserted ON api_key;
DROP FUNCTION notify_key_changed();
DROP VIEW gateway_key;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
