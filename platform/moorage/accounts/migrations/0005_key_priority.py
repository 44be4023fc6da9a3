"""A key's priority, and the grant that tells the gateways."""

from django.db import migrations, models

VIEW = """
CREATE OR REPLACE VIEW gateway_key AS
SELECT k.id,
       jsonb_build_object(
           'id', k.id,
           'sha256', encode(k.sha256, 'hex'),
           'organization_id', k.organization_id,
           'standing', o.standing,
           'scopes', k.scopes,
           'expires_at', extract(epoch FROM k.expires_at),
           'models', k.served_names,
           'limits', coalesce(l.limits, '{}'),
           'networks', k.networks%s
       ) AS document
  FROM api_key k
  JOIN organization o ON o.id = k.organization_id
  LEFT JOIN subject_limit l ON l.subject = k.id
 WHERE k.revoked_at IS NULL
   AND (k.expires_at IS NULL OR k.expires_at > now());
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_allowance_rules")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="priority",
            field=models.CharField(
                choices=[("low", "Low: may wait"), ("normal", "Normal"), ("high", "High: goes first")],
                default="normal",
                max_length=8,
            ),
        ),
        migrations.RunSQL(VIEW % ",\n           'priority', k.priority", VIEW % ""),
    ]
