"""How limits are leased to gateway workers: four SQL functions, and what tells the gateways of a change.

All of them lock allowances in the order of their ids, and nothing else of theirs is locked by two of them.
"""

from django.db import migrations

#: What a gateway reads, and the triggers behind it. A standing is one row now, not every key of everybody.
VIEWS = """
ALTER TABLE api_key ALTER networks SET DEFAULT '[]';

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
           'networks', k.networks
       ) AS document
  FROM api_key k
  JOIN organization o ON o.id = k.organization_id
  LEFT JOIN subject_limit l ON l.subject = k.id
 WHERE k.revoked_at IS NULL
   AND (k.expires_at IS NULL OR k.expires_at > now());

-- Every key in the order of its id, without a document where it opens nothing: for a sweep that misses none.
CREATE VIEW gateway_key_sweep AS
SELECT k.id, g.document FROM api_key k LEFT JOIN gateway_key g ON g.id = k.id;

CREATE VIEW gateway_organization AS
SELECT o.id,
       jsonb_build_object(
           'id', o.id,
           'slug', o.slug,
           'standing', o.standing,
           'limits', coalesce((SELECT l.limits FROM subject_limit l WHERE l.subject = o.id), '{}'),
           'deployments', coalesce(
               (SELECT jsonb_object_agg(l.subject, l.limits) FROM subject_limit l
                 WHERE l.organization_id = o.id AND l.subject LIKE 'dep\\_%'), '{}')
       ) AS document
  FROM organization o;

DROP TRIGGER organization_standing_changed ON organization;
DROP FUNCTION notify_standing_changed();
CREATE FUNCTION notify_organization_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_organization', coalesce(NEW.id, OLD.id));
    RETURN NULL;
END $$;
CREATE TRIGGER organization_told AFTER INSERT OR DELETE ON organization
    FOR EACH ROW EXECUTE FUNCTION notify_organization_changed();
CREATE TRIGGER organization_changed AFTER UPDATE OF standing, slug ON organization
    FOR EACH ROW WHEN (OLD.standing IS DISTINCT FROM NEW.standing OR OLD.slug IS DISTINCT FROM NEW.slug)
    EXECUTE FUNCTION notify_organization_changed();

DROP TRIGGER api_key_changed ON api_key;
CREATE TRIGGER api_key_changed
    AFTER UPDATE OF revoked_at, expires_at, scopes, served_names, organization_id, networks ON api_key
    FOR EACH ROW EXECUTE FUNCTION notify_key_changed();
"""

#: The name of a limit in the documents, and what follows from a change of one.
LIMITS = """
CREATE FUNCTION limit_name(measure text, "window" text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN measure = 'concurrent' THEN 'concurrent_requests' ELSE measure || '_per_' || "window" END
$$;

CREATE FUNCTION apply_limit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one subject_limit := coalesce(NEW, OLD);
BEGIN
    IF NEW IS NOT NULL THEN
        UPDATE allowance a
           SET capacity = (NEW.limits ->> limit_name(a.measure, a."window"))::numeric,
               ceiling = greatest(a.ceiling, (NEW.limits ->> limit_name(a.measure, a."window"))::numeric)
         WHERE a.id IN (SELECT b.id FROM allowance b
                         WHERE b.subject = NEW.subject AND b.ends > extract(epoch FROM clock_timestamp())
                           AND NEW.limits ? limit_name(b.measure, b."window")
                         ORDER BY b.id FOR UPDATE);
    END IF;
    IF one.subject LIKE 'key\\_%' THEN
        PERFORM pg_notify('moorage_key', one.subject);
    ELSE
        PERFORM pg_notify('moorage_organization', one.organization_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER subject_limit_changed AFTER INSERT OR UPDATE OR DELETE ON subject_limit
    FOR EACH ROW EXECUTE FUNCTION apply_limit_change();
"""

#: The gateway's one call, for many allowances at once.
LEASE = """
-- asked: [{n, subject, measure, window, starts, ends, spent, given, enough, target, call}], each allowance once.
--   spent   of the lease, used for good              given   of the lease, back to whoever wants it
--   enough  what the lease must hold to be of use    target  what it would hold gladly (0: nothing is asked for)
--   call    if there is not enough, ask the other workers for what lies idle with them
-- The answer, {at, rows: [[n, amount, room, capacity, others]]}: what the lease holds now, what nobody holds, the whole,
-- and what other workers hold. Amounts are absolute, so that an answer that was lost is made good by the next one;
-- spent and given are taken once for each number; spent is all of it until until_us (the worker's clock).
CREATE TYPE lease_ask AS (n integer, subject text, measure text, "window" text, starts bigint, ends bigint,
                          spent numeric, given numeric, enough numeric, target numeric, call boolean);
CREATE TYPE lease_found AS (n integer, id bigint, spent numeric, given numeric, enough numeric, target numeric,
                            call boolean);

-- Every row is found by a key. The plan must not be one that was made when the tables were small.
CREATE FUNCTION gateway_lease(boot text, number bigint, until_us bigint, asked jsonb)
RETURNS jsonb LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    asks lease_ask[];
    found_ones lease_found[];
    is_new boolean;
    workers integer;
    answer jsonb;
    calls text[];
    one text;
BEGIN
    INSERT INTO gateway_worker (boot_id, started_at, heartbeat_at, report)
    VALUES (boot, clock_timestamp(), clock_timestamp(), 0)
    ON CONFLICT (boot_id) DO UPDATE SET heartbeat_at = clock_timestamp();
    SELECT array_agg(a) INTO asks FROM jsonb_populate_recordset(NULL::lease_ask, asked) a;

    INSERT INTO allowance (organization_id, subject, measure, "window", starts, ends, capacity, ceiling, used, leased)
    SELECT l.organization_id, a.subject, a.measure, a."window", a.starts, a.ends, c.amount, c.amount, 0, 0
      FROM unnest(asks) a
      JOIN subject_limit l ON l.subject = a.subject
     CROSS JOIN LATERAL (SELECT (l.limits ->> limit_name(a.measure, a."window"))::numeric AS amount) c
     WHERE a.target > 0 AND c.amount IS NOT NULL
       AND NOT EXISTS (SELECT FROM allowance e WHERE e.subject = a.subject AND e.measure = a.measure
                          AND e."window" = a."window" AND e.starts = a.starts)
     -- A limit that is being changed is waited for: the capacity must not be the old one.
     ORDER BY a.subject, a.measure, a."window", a.starts FOR SHARE OF l
    ON CONFLICT DO NOTHING;

    SELECT array_agg(ROW(x.n, x.id, x.spent, x.given, x.enough, x.target, x.call)::lease_found) INTO found_ones
      FROM (SELECT a.n, w.id, a.spent, a.given, a.enough, a.target, a.call
              FROM unnest(asks) a JOIN allowance w USING (subject, measure, "window", starts)
             ORDER BY w.id FOR UPDATE OF w) x;

    UPDATE gateway_worker SET report = number WHERE boot_id = boot AND report < number;
    is_new := FOUND;
    SELECT greatest(1, count(*)) INTO workers
      FROM gateway_worker WHERE heartbeat_at > clock_timestamp() - interval '15 seconds';

    WITH told AS (
        SELECT f.n, f.id, f.enough, f.target, f.call, w.capacity, w.used, w.leased,
               w.subject, w.measure, w."window", w.starts, coalesce(e.amount, 0) AS held,
               CASE WHEN is_new THEN least(f.spent, coalesce(e.amount, 0)) ELSE 0 END AS spent,
               CASE WHEN is_new THEN least(f.given, coalesce(e.amount, 0) - least(f.spent, coalesce(e.amount, 0)))
                    ELSE 0 END AS given
          FROM unnest(found_ones) f
          JOIN allowance w ON w.id = f.id
          LEFT JOIN lease e ON e.allowance_id = f.id AND e.boot_id = boot
    ), sized AS (
        SELECT told.*, held - spent - given AS kept, capacity - used - leased + given AS room FROM told
    ), granted AS (
        SELECT sized.*, CASE
                   WHEN target > 0 AND room > 0 AND room >= enough - kept
                   THEN least(room, greatest(0, enough - kept, least(target - kept, div(room, 2 * workers))))
                   ELSE 0 END AS more
          FROM sized
    ), allowances AS (
        UPDATE allowance w SET used = w.used + g.spent, leased = w.leased - g.spent - g.given + g.more
          FROM granted g WHERE w.id = g.id AND (g.spent > 0 OR g.given > 0 OR g.more > 0)
    ), leases AS (
        INSERT INTO lease (boot_id, allowance_id, amount, told_until_us)
        SELECT boot, g.id, g.kept + g.more, until_us FROM granted g WHERE g.spent > 0 OR g.given > 0 OR g.more > 0
        ON CONFLICT (boot_id, allowance_id) DO UPDATE
           SET amount = excluded.amount,
               told_until_us = CASE WHEN is_new THEN excluded.told_until_us ELSE lease.told_until_us END
    )
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               n, kept + more, greatest(0, room - more), capacity, leased - held)), '[]'),
           array_agg(boot || ' ' || subject || ' ' || measure || ' ' || "window" || ' ' || starts)
               FILTER (WHERE call AND kept + more < enough AND leased > held)
      INTO answer, calls
      FROM granted;

    FOREACH one IN ARRAY coalesce(calls, '{}') LOOP
        PERFORM pg_notify('moorage_lease', one);
    END LOOP;
    RETURN jsonb_build_object('at', extract(epoch FROM clock_timestamp()), 'rows', answer);
END $$;

-- A worker that ends: whatever it has not used goes back.
CREATE FUNCTION gateway_leave(boot text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM allowance w JOIN lease e ON e.allowance_id = w.id WHERE e.boot_id = boot
      ORDER BY w.id FOR UPDATE OF w;
    UPDATE allowance w SET leased = w.leased - e.amount FROM lease e WHERE e.allowance_id = w.id AND e.boot_id = boot;
    DELETE FROM lease WHERE boot_id = boot;
    DELETE FROM gateway_worker WHERE boot_id = boot;
END $$;

-- Forgets windows that have ended: minutes after an hour, days and months when nobody asks for them any more.
CREATE FUNCTION sweep_allowances() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ended bigint[];
BEGIN
    SELECT array_agg(w.id) INTO ended FROM (
        SELECT id FROM allowance
         WHERE ends < extract(epoch FROM clock_timestamp()) - 3600
           AND ("window" = 'minute' OR ends < extract(epoch FROM clock_timestamp()) - 400 * 86400)
           AND leased = 0
         ORDER BY id LIMIT 5000 FOR UPDATE SKIP LOCKED) w;
    DELETE FROM lease WHERE allowance_id = ANY(ended);
    DELETE FROM allowance WHERE id = ANY(ended);
END $$;
"""

BACKWARD = """
DROP FUNCTION sweep_allowances();
DROP FUNCTION gateway_leave(text);
DROP FUNCTION gateway_lease(text, bigint, bigint, jsonb);
DROP TYPE lease_found;
DROP TYPE lease_ask;
DROP TRIGGER subject_limit_changed ON subject_limit;
DROP FUNCTION apply_limit_change();
DROP FUNCTION limit_name(text, text);
DROP TRIGGER api_key_changed ON api_key;
CREATE TRIGGER api_key_changed AFTER UPDATE OF revoked_at, expires_at, scopes, served_names, organization_id ON api_key
    FOR EACH ROW EXECUTE FUNCTION notify_key_changed();
DROP TRIGGER organization_changed ON organization;
DROP TRIGGER organization_told ON organization;
DROP FUNCTION notify_organization_changed();
CREATE FUNCTION notify_standing_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('moorage_key', '');
    RETURN NULL;
END $$;
CREATE TRIGGER organization_standing_changed AFTER UPDATE OF standing ON organization
    FOR EACH ROW WHEN (OLD.standing IS DISTINCT FROM NEW.standing) EXECUTE FUNCTION notify_standing_changed();
DROP VIEW gateway_organization;
DROP VIEW gateway_key_sweep;
DROP VIEW gateway_key;
CREATE OR REPLACE VIEW gateway_key AS
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
ALTER TABLE api_key ALTER networks DROP DEFAULT;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_limits")]
    operations = [migrations.RunSQL(VIEWS + LIMITS + LEASE, BACKWARD)]
