"""Usage is never edited: update, delete and truncate are refused by the database."""

from django.db import migrations

TABLES = ("usage_event", "replica_usage")
FORWARD = "\n".join(
    f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();"
    for table in TABLES
)
BACKWARD = "\n".join(f"DROP TRIGGER {table}_is_append_only ON {table};" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_initial"), ("accounts", "0002_gateway_key")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
