"""Waiting to be rated costs a request two indexes, not four, and one descent into each.

A request is queued by the insert that makes it a row, which happens once: there is no conflict to look for.
"""

from django.db import migrations, models

QUEUE = """
CREATE OR REPLACE FUNCTION queue_requests_for_rating() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unrated_usage (source_id, kind, organization_id, ended_at, unpriced_meter, unpriced_model, due_at)
    SELECT request_id, 'request', organization_id, ended_at, '', '', now() FROM added;
    RETURN NULL;
END $$;
"""
QUEUE_ONCE_MORE = """
CREATE OR REPLACE FUNCTION queue_requests_for_rating() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unrated_usage (source_id, kind, organization_id, ended_at, unpriced_meter, unpriced_model, due_at)
    SELECT request_id, 'request', organization_id, ended_at, '', '', now() FROM added
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_ledger_rules'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='unratedusage',
            name='unrated_usage_by_organization',
        ),
        migrations.AddIndex(
            model_name='unratedusage',
            index=models.Index(condition=models.Q(('unpriced_meter', ''), _negated=True), fields=['organization_id', 'ended_at'], name='unrated_usage_unpriced'),
        ),
        migrations.RunSQL(QUEUE, QUEUE_ONCE_MORE),
        # The index that Django adds to every text key for LIKE: nobody asks so.
        migrations.RunSQL(
            "DROP INDEX IF EXISTS unrated_usage_source_id_598b04ad_like",
            "CREATE INDEX unrated_usage_source_id_598b04ad_like ON unrated_usage (source_id varchar_pattern_ops)",
        ),
    ]
