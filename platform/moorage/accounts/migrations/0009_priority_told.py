"""A key's priority may change: the gateways are told of it."""

from django.db import migrations

TRIGGER = """
DROP TRIGGER api_key_changed ON api_key;
CREATE TRIGGER api_key_changed
    AFTER UPDATE OF revoked_at, expires_at, scopes, served_names, organization_id, networks%s ON api_key
    FOR EACH ROW EXECUTE FUNCTION notify_key_changed();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_currency")]
    operations = [migrations.RunSQL(TRIGGER % ", priority", TRIGGER % "")]
