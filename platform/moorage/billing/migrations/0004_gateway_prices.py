"""The price list as the gateways read it, and how leases are taken back from a gateway worker that died."""

from django.db import migrations

FORWARD = """
CREATE VIEW gateway_price AS
SELECT p.id,
       jsonb_build_object(
           'id', p.id,
           'meter', p.meter,
           'model', p.model,
           'pico_per_unit', p.pico_per_unit,
           'valid_from_us', (extract(epoch FROM p.valid_from) * 1000000)::bigint
       ) AS document
  FROM price p
 WHERE p.meter IN ('input_tokens', 'cached_input_tokens', 'output_tokens');

CREATE FUNCTION notify_price_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_price', '');
    RETURN NULL;
END $$;
CREATE TRIGGER price_told AFTER INSERT OR UPDATE OR DELETE ON price
    FOR EACH STATEMENT EXECUTE FUNCTION notify_price_changed();

-- Takes back the leases of workers that are dead: those whose journal is read to its end (shipped_boot). What such a
-- worker used and did not live to tell is what its usage events say: those that ended after it last told of the lease,
-- and those that it never settled. A lease of money waits until these are rated. Returns how many leases were taken back.
CREATE FUNCTION reap_gateway_leases() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    worker record;
    one record;
    spent numeric;
    told_until timestamptz;
    reaped integer := 0;
BEGIN
    FOR worker IN
        SELECT g.boot_id
          FROM gateway_worker g JOIN shipped_boot b USING (boot_id)
         ORDER BY g.boot_id FOR UPDATE OF g SKIP LOCKED
    LOOP
        FOR one IN
            SELECT e.id AS lease_id, e.amount, e.told_until_us, a.* FROM lease e JOIN allowance a ON a.id = e.allowance_id
             WHERE e.boot_id = worker.boot_id ORDER BY a.id FOR UPDATE OF a
        LOOP
            told_until := greatest(to_timestamp(one.told_until_us / 1000000.0), to_timestamp(one.starts));
            CONTINUE WHEN one.measure = 'money' AND EXISTS (
                SELECT FROM usage_event u JOIN unrated_usage r ON r.source_id = u.request_id AND r.unpriced_meter = ''
                 WHERE u.organization_id = one.organization_id AND u.boot_id = worker.boot_id
                   AND u.ended_at > told_until - interval '1 day');
            SELECT CASE one.measure
                       WHEN 'requests' THEN count(*) FILTER (
                           WHERE u.started_at > told_until - interval '2 seconds')
                       WHEN 'tokens' THEN coalesce(sum(u.input_tokens + u.output_tokens), 0)
                       WHEN 'money' THEN coalesce(sum((SELECT sum(r.amount_pico) FROM rated_usage r
                                                        WHERE r.source_id = u.request_id)), 0)
                       ELSE 0 END
              INTO spent
              FROM usage_event u
             WHERE u.organization_id = one.organization_id
               AND u.ended_at > told_until - interval '1 day'
               AND u.boot_id = worker.boot_id
               AND one.subject IN (u.key_id, u.deployment_id, u.organization_id)
               AND (u.ended_at > told_until OR u.outcome = 'gateway_lost' OR one.measure = 'requests')
               -- It was let in up to a second after it came: rather counted twice than not at all.
               AND u.started_at >= to_timestamp(one.starts) - interval '2 seconds'
               AND u.started_at < to_timestamp(least(one.ends, 253402300800));
            UPDATE allowance SET used = used + least(spent, one.amount), leased = leased - one.amount WHERE id = one.id;
            DELETE FROM lease WHERE id = one.lease_id;
            reaped := reaped + 1;
        END LOOP;
        DELETE FROM gateway_worker g
         WHERE g.boot_id = worker.boot_id AND NOT EXISTS (SELECT FROM lease e WHERE e.boot_id = g.boot_id);
    END LOOP;
    RETURN reaped;
END $$;
"""

BACKWARD = """
DROP FUNCTION reap_gateway_leases();
DROP TRIGGER price_told ON price;
DROP FUNCTION notify_price_changed();
DROP VIEW gateway_price;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0003_fewer_indexes"),
        ("accounts", "0004_allowance_rules"),
        ("metering", "0004_disputes_and_boots"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
