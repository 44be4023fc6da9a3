"""Whether the gateways hold an organization to its balance, and the view and trigger that tell them."""

from typing import ClassVar

from django.db import migrations, models

VIEW = """
CREATE OR REPLACE VIEW gateway_organization AS
SELECT o.id,
       jsonb_build_object(
           'id', o.id,
           'slug', o.slug,
           'standing', o.standing,
           'limits', coalesce((SELECT l.limits FROM subject_limit l WHERE l.subject = o.id), '{}'),
           'deployments', coalesce(
               (SELECT jsonb_object_agg(l.subject, l.limits) FROM subject_limit l
                 WHERE l.organization_id = o.id AND l.subject LIKE 'dep\\_%'), '{}')WALLET
       ) AS document
  FROM organization o;
DROP TRIGGER organization_changed ON organization;
"""
FORWARD = (
    VIEW.replace("WALLET", ",\n           'has_wallet', o.has_wallet")
    + """
CREATE TRIGGER organization_changed AFTER UPDATE OF standing, slug, has_wallet ON organization
    FOR EACH ROW WHEN ((OLD.standing, OLD.slug, OLD.has_wallet) IS DISTINCT FROM
                       (NEW.standing, NEW.slug, NEW.has_wallet))
    EXECUTE FUNCTION notify_organization_changed();
"""
)
BACKWARD = (
    VIEW.replace("WALLET", "")
    + """
CREATE TRIGGER organization_changed AFTER UPDATE OF standing, slug ON organization
    FOR EACH ROW WHEN (OLD.standing IS DISTINCT FROM NEW.standing OR OLD.slug IS DISTINCT FROM NEW.slug)
    EXECUTE FUNCTION notify_organization_changed();
"""
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0005_key_priority")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="organization",
            name="has_wallet",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
