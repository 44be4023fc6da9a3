"""Triggers: routes tell the gateways, wakes and due work tell the doorbell."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION notify_route_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_route', coalesce(NEW.id, OLD.id));
    RETURN NULL;
END $$;
CREATE TRIGGER route_changed AFTER INSERT OR UPDATE OR DELETE ON route
    FOR EACH ROW EXECUTE FUNCTION notify_route_changed();

CREATE FUNCTION notify_wake_requested() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_wake', NEW.deployment_id);
    RETURN NULL;
END $$;
CREATE TRIGGER wake_requested AFTER INSERT ON wake
    FOR EACH ROW EXECUTE FUNCTION notify_wake_requested();

CREATE FUNCTION notify_work_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_work', NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER deployment_due_at_once AFTER INSERT OR UPDATE OF reconcile_at ON deployment
    FOR EACH ROW WHEN (NEW.reconcile_at <= now()) EXECUTE FUNCTION notify_work_due();
"""

BACKWARD = """
DROP TRIGGER deployment_due_at_once ON deployment;
DROP FUNCTION notify_work_due();
DROP TRIGGER wake_requested ON wake;
DROP FUNCTION notify_wake_requested();
DROP TRIGGER route_changed ON route;
DROP FUNCTION notify_route_changed();
"""


class Migration(migrations.Migration):
    dependencies = [("deployments", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
