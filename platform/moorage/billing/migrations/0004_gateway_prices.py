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
    dead text;
    taken integer;
    reaped integer := 0;
BEGIN
    FOR dead IN
        SELECT g.boot_id FROM gateway_worker g JOIN shipped_boot b USING (boot_id)
         ORDER BY g.boot_id FOR UPDATE OF g SKIP LOCKED
    LOOP
        DELETE FROM lease WHERE boot_id = dead AND amount = 0;
        PERFORM 1 FROM allowance a JOIN lease e ON e.allowance_id = a.id WHERE e.boot_id = dead
          ORDER BY a.id FOR UPDATE OF a;
        WITH held AS (
            SELECT e.id AS lease_id, e.amount, a.id, a.organization_id, a.subject, a.measure, a.starts, a.ends,
                   greatest(to_timestamp(e.told_until_us / 1000000.0), to_timestamp(a.starts)) AS told_until
              FROM lease e JOIN allowance a ON a.id = e.allowance_id WHERE e.boot_id = dead
        ), served AS MATERIALIZED (
            SELECT u.key_id, u.deployment_id, u.organization_id, u.started_at, u.ended_at,
                   u.outcome = 'gateway_lost' AS is_lost, u.input_tokens + u.output_tokens AS tokens,
                   (SELECT sum(r.amount_pico) FROM rated_usage r WHERE r.source_id = u.request_id) AS pico,
                   EXISTS (SELECT FROM unrated_usage r
                            WHERE r.source_id = u.request_id AND r.unpriced_meter = '') AS is_unrated
              FROM usage_event u
             WHERE u.boot_id = dead
               AND u.organization_id IN (SELECT organization_id FROM held)
               AND u.ended_at > (SELECT min(told_until) FROM held) - interval '1 day'
               AND (u.outcome = 'gateway_lost'
                    OR u.ended_at > (SELECT min(told_until) FROM held) - interval '2 seconds')
        ), counted AS (
            SELECT h.lease_id, h.id, h.amount, h.measure,
                   count(s.tokens) FILTER (WHERE s.started_at > h.told_until - interval '2 seconds') AS requests,
                   coalesce(sum(s.tokens) FILTER (WHERE s.is_lost OR s.ended_at > h.told_until), 0) AS tokens,
                   coalesce(sum(s.pico) FILTER (WHERE s.is_lost OR s.ended_at > h.told_until), 0) AS pico,
                   coalesce(bool_or(s.is_unrated), false) AS is_unrated
              FROM held h
              LEFT JOIN (SELECT v.subject, served.* FROM served
                          CROSS JOIN LATERAL (VALUES (key_id), (deployment_id), (organization_id)) v(subject)) s
                ON s.subject = h.subject
               -- It was let in up to a second after it came: rather counted twice than not at all.
               AND s.started_at >= to_timestamp(h.starts) - interval '2 seconds'
               AND s.started_at < to_timestamp(least(h.ends, 253402300800))
             GROUP BY h.lease_id, h.id, h.amount, h.measure
        ), settled AS (
            SELECT lease_id, id, amount,
                   least(amount, CASE measure WHEN 'requests' THEN requests WHEN 'tokens' THEN tokens
                                              WHEN 'money' THEN pico ELSE 0 END) AS spent
              FROM counted WHERE measure <> 'money' OR NOT is_unrated
        ), gone AS (
            DELETE FROM lease WHERE id IN (SELECT lease_id FROM settled)
        )
        UPDATE allowance a SET used = a.used + s.spent, leased = a.leased - s.amount FROM settled s WHERE a.id = s.id;
        GET DIAGNOSTICS taken = ROW_COUNT;
        reaped := reaped + taken;
        DELETE FROM gateway_worker g
         WHERE g.boot_id = dead AND NOT EXISTS (SELECT FROM lease e WHERE e.boot_id = dead);
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
