"""A deed takes its time of the clock inside a transaction, after the moment that now() stands for: it rang nobody."""

from django.db import migrations

FORWARD = """
DROP TRIGGER deployment_due_at_once ON deployment;
CREATE TRIGGER deployment_due_at_once AFTER INSERT OR UPDATE OF reconcile_at ON deployment
    FOR EACH ROW WHEN (NEW.reconcile_at <= clock_timestamp() + interval '1 second')
    EXECUTE FUNCTION notify_work_due();
"""

BACKWARD = """
DROP TRIGGER deployment_due_at_once ON deployment;
CREATE TRIGGER deployment_due_at_once AFTER INSERT OR UPDATE OF reconcile_at ON deployment
    FOR EACH ROW WHEN (NEW.reconcile_at <= now()) EXECUTE FUNCTION notify_work_due();
"""


class Migration(migrations.Migration):
    dependencies = [("deployments", "0002_notify")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
