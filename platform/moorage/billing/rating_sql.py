"""The statements of rating_batch.py, each for a whole batch. Words of this file alone are put into them."""

from typing import Final

from moorage.billing.price_book import FREE_STATES

_METERS: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "requests", "replica_seconds")

_RATES: Final = ", ".join(f"{meter} text, {meter}_pico bigint, {meter}_graduated boolean" for meter in _METERS)
TABLES: Final = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS rating_source (
    source_id text, kind text, organization_id text, deployment_id text, revision_id text, key_id text,
    served_name text, state text, device_class text, ended_at timestamptz, month_start timestamptz,
    input_tokens bigint, cached_input_tokens bigint, output_tokens bigint, requests bigint, replica_seconds bigint,
    unpriced_meter text, unpriced_model text) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS rating_rate (
    organization_id text, served_name text, state text, device_class text,
    from_at timestamptz, until_at timestamptz, month_start timestamptz, period_start timestamptz,
    currency text, {_RATES}) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS rating_tier (
    price_id text, number smallint, begins bigint, until bigint, pico bigint) ON COMMIT DELETE ROWS;
DELETE FROM rating_source;
DELETE FROM rating_rate;
DELETE FROM rating_tier;
"""  # noqa: S608 - made of the words above
#: An event is looked up by its key (OFFSET 0): no plan may read the whole table of usage for a batch of it.
CLAIM: Final = """
WITH taken AS (
    DELETE FROM unrated_usage WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM unrated_usage WHERE due_at <= statement_timestamp()
         ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING source_id, kind, unpriced_meter, unpriced_model
), requests AS (
    INSERT INTO rating_source
    SELECT t.source_id, t.kind, e.organization_id, e.deployment_id, e.revision_id, e.key_id, e.served_name, '', '',
           e.ended_at, date_trunc('month', e.ended_at, 'UTC'), e.input_tokens - e.cached_tokens, e.cached_tokens,
           e.output_tokens, CASE WHEN e.input_tokens + e.output_tokens > 0 THEN 1 ELSE 0 END, 0,
           t.unpriced_meter, t.unpriced_model
      FROM taken t CROSS JOIN LATERAL (SELECT * FROM usage_event WHERE request_id = t.source_id OFFSET 0) e
     WHERE t.kind = 'request'
    RETURNING 1
), times AS (
    INSERT INTO rating_source
    SELECT t.source_id, t.kind, u.organization_id, u.deployment_id, u.revision_id, '',
           CASE WHEN jsonb_typeof(r.pins -> u.model_key -> 'served_name') = 'string'
                     AND r.pins -> u.model_key ->> 'served_name' <> ''
                THEN r.pins -> u.model_key ->> 'served_name' ELSE u.model_key END,
           u.state, u.device_class, u.ended_at, date_trunc('month', u.ended_at, 'UTC'), 0, 0, 0, 0, u.seconds,
           t.unpriced_meter, t.unpriced_model
      FROM taken t CROSS JOIN LATERAL (SELECT * FROM replica_usage WHERE id = t.source_id OFFSET 0) u
      LEFT JOIN revision r ON r.id = u.revision_id
     WHERE t.kind = 'replica_time'
    RETURNING 1
)
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM requests) + (SELECT count(*) FROM times)
"""
GROUPS: Final = """
SELECT organization_id, served_name, state, device_class, month_start, min(ended_at), max(ended_at)
  FROM rating_source GROUP BY 1, 2, 3, 4, 5
"""
_JOINED: Final = """
       p.organization_id = s.organization_id AND p.served_name = s.served_name AND p.state = s.state
   AND p.device_class = s.device_class AND s.ended_at >= p.from_at AND s.ended_at < p.until_at
"""
_LINES: Final = f"""
  FROM rating_source s JOIN rating_rate p ON {_JOINED}
 CROSS JOIN LATERAL (VALUES {
    ", ".join(f"('{meter}', s.{meter}, p.{meter}, p.{meter}_pico, p.{meter}_graduated)" for meter in _METERS)
}) AS l (meter, quantity, price_id, pico, is_graduated)
 WHERE l.quantity > 0 AND l.price_id IS NOT NULL
"""
_FREE: Final = ", ".join(f"'{state}'" for state in sorted(FREE_STATES))
_LACKING: Final = f"s.state NOT IN ({_FREE}) AND (" + (
    " OR ".join(f"(s.{meter} > 0 AND p.{meter} IS NULL)" for meter in _METERS if meter != "requests") + ")"
)
SET_BACK: Final = f"""
WITH lacking AS (
    DELETE FROM rating_source s USING rating_rate p WHERE {_JOINED} AND ({_LACKING})
    RETURNING s.source_id, s.kind, s.organization_id, s.ended_at, s.served_name, s.unpriced_meter, s.unpriced_model,
              CASE WHEN s.input_tokens > 0 AND p.input_tokens IS NULL THEN 'input_tokens'
                   WHEN s.cached_input_tokens > 0 AND p.cached_input_tokens IS NULL THEN 'cached_input_tokens'
                   WHEN s.output_tokens > 0 AND p.output_tokens IS NULL THEN 'output_tokens'
                   ELSE 'replica_seconds' END AS meter
), kept AS (
    INSERT INTO unrated_usage (source_id, kind, organization_id, ended_at, unpriced_meter, unpriced_model, due_at)
    SELECT source_id, kind, organization_id, ended_at, meter, served_name, %s FROM lacking
)
SELECT meter, served_name, count(*), bool_or((unpriced_meter, unpriced_model) <> (meter, served_name))
  FROM lacking GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608 - made of the words above
SET_BACK_STRANGERS: Final = """
WITH strangers AS (
    DELETE FROM rating_source WHERE organization_id = ANY (%s) RETURNING source_id, kind, organization_id, ended_at
)
INSERT INTO unrated_usage (source_id, kind, organization_id, ended_at, unpriced_meter, unpriced_model, due_at)
SELECT source_id, kind, organization_id, ended_at, %s, '', %s FROM strangers
"""
_COLUMNS: Final = (
    "source_id, organization_id, deployment_id, revision_id, key_id, served_name, meter, quantity, price_id,"
    " pico_per_unit, tier, part, currency, amount_pico, ended_at, period_start, rated_at"
)
_SUMS: Final = """
SELECT organization_id, period_start, currency, sum(amount_pico), max(ended_at), min(source_id COLLATE "C"), count(*)
  FROM added GROUP BY 1, 2, 3
"""
_ADDED: Final = "RETURNING organization_id, period_start, currency, amount_pico, ended_at, source_id"
ADD: Final = f"""
WITH added AS (
    INSERT INTO rated_usage ({_COLUMNS})
    SELECT s.source_id, s.organization_id, s.deployment_id, s.revision_id, s.key_id, s.served_name, l.meter, l.quantity,
           l.price_id, l.pico, 0, 0, p.currency, l.quantity::numeric * l.pico, s.ended_at, p.period_start, %s
    {_LINES} AND NOT l.is_graduated
    {_ADDED}
) {_SUMS}
"""
#: The counters are locked until the batch commits, in one order for all: whoever comes next goes on where it ended.
ADD_GRADUATED: Final = f"""
WITH line AS MATERIALIZED (
    SELECT s.source_id, s.organization_id, s.deployment_id, s.revision_id, s.key_id, s.served_name, s.ended_at,
           p.month_start, p.period_start, l.meter, l.quantity, l.price_id, p.currency
    {_LINES} AND l.is_graduated
), total AS MATERIALIZED (
    SELECT organization_id, price_id, month_start, sum(quantity)::bigint AS quantity FROM line GROUP BY 1, 2, 3
), counter AS (
    INSERT INTO price_counter (organization_id, price_id, month_start, quantity)
    SELECT organization_id, price_id, month_start, quantity FROM total ORDER BY 1, 2, 3
    ON CONFLICT (organization_id, price_id, month_start)
    DO UPDATE SET quantity = price_counter.quantity + excluded.quantity
    RETURNING organization_id, price_id, month_start, quantity
), placed AS (
    SELECT line.*, (c.quantity - t.quantity + sum(line.quantity) OVER earlier)::bigint AS until
      FROM line JOIN total t USING (organization_id, price_id, month_start)
           JOIN counter c USING (organization_id, price_id, month_start)
    WINDOW earlier AS (PARTITION BY line.organization_id, line.price_id, line.month_start
                       ORDER BY line.source_id COLLATE "C" ROWS UNBOUNDED PRECEDING)
), piece AS (
    SELECT x.*, t.number, t.pico, least(x.until, t.until) - greatest(x.until - x.quantity, t.begins) AS inside,
           row_number() OVER (PARTITION BY x.source_id, x.meter ORDER BY t.number) - 1 AS part
      FROM placed x JOIN rating_tier t
        ON t.price_id = x.price_id AND t.begins < x.until AND t.until > x.until - x.quantity
), added AS (
    INSERT INTO rated_usage ({_COLUMNS})
    SELECT source_id, organization_id, deployment_id, revision_id, key_id, served_name, meter, inside, price_id, pico,
           number, part, currency, inside::numeric * pico, ended_at, period_start, %s FROM piece
    {_ADDED}
) {_SUMS}
"""  # noqa: S608 - made of the words above
