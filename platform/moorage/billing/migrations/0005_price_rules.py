"""Prices learn to whom, in which state, on which devices and until when they hold, and to be graduated; costs and
minimum commitments get tables; rated usage keeps its rate and pays for two indexes and a foreign key less."""

from typing import ClassVar

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

import moorage.billing.models.cost
import moorage.billing.models.minimum
import moorage.billing.pico_field
import moorage.kernel.clock

METERS = [
    ("input_tokens", "Input tokens"),
    ("cached_input_tokens", "Cached input tokens"),
    ("output_tokens", "Output tokens"),
    ("requests", "Requests"),
    ("replica_seconds", "Replica seconds"),
]
STATES = [("pull", "Pulling"), ("load", "Loading"), ("frozen", "Frozen"), ("idle", "Idle"), ("busy", "Busy")]

RATES = """
ALTER TABLE rated_usage ADD COLUMN pico_per_unit bigint;
ALTER TABLE rated_usage DISABLE TRIGGER rated_usage_is_append_only;
UPDATE rated_usage r SET pico_per_unit = p.pico_per_unit FROM price p WHERE p.id = r.price_id;
ALTER TABLE rated_usage ENABLE TRIGGER rated_usage_is_append_only;
ALTER TABLE rated_usage ALTER COLUMN pico_per_unit SET NOT NULL;
"""

RULES = """
-- Tiers begin at zero and climb; the price's own rate is the dearest of them, so that a hold by it is always enough.
CREATE FUNCTION price_tiers_are_sane(tiers jsonb, pico bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT tiers = '[]'::jsonb
        OR (SELECT count(*) >= 1 AND bool_and("from" >= 0 AND t.pico >= 0) AND max(t.pico) = price_tiers_are_sane.pico
                   AND min("from") = 0 AND count(DISTINCT "from") = count(*)
                   AND bool_and("from" IS NOT DISTINCT FROM lowest)
              FROM (SELECT "from", pico, max("from") OVER (ORDER BY place) AS lowest
                      FROM ROWS FROM (jsonb_to_recordset(tiers) AS ("from" bigint, pico bigint))
                           WITH ORDINALITY AS found("from", pico, place)) AS t)
$$;
ALTER TABLE price ADD CONSTRAINT price_tiers_are_sane CHECK (price_tiers_are_sane(tiers, pico_per_unit));

CREATE TRIGGER unit_cost_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON unit_cost
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER minimum_commitment_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON minimum_commitment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE VIEW gateway_price AS
SELECT p.id,
       jsonb_build_object(
           'id', p.id,
           'meter', p.meter,
           'model', p.model,
           'pico_per_unit', p.pico_per_unit,
           'valid_from_us', (extract(epoch FROM p.valid_from) * 1000000)::bigint,
           'valid_to_us', (extract(epoch FROM p.valid_to) * 1000000)::bigint,
           'organization_id', coalesce(p.organization_id, '')
       ) AS document
  FROM price p
 WHERE p.meter IN ('input_tokens', 'cached_input_tokens', 'output_tokens', 'requests');
"""

BACKWARD = """
CREATE OR REPLACE VIEW gateway_price AS
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
DROP TRIGGER minimum_commitment_is_append_only ON minimum_commitment;
DROP TRIGGER unit_cost_is_append_only ON unit_cost;
ALTER TABLE price DROP CONSTRAINT price_tiers_are_sane;
DROP FUNCTION price_tiers_are_sane(jsonb, bigint);
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("billing", "0004_gateway_prices"),
        ("accounts", "0004_allowance_rules"),
        ("metering", "0005_replica_state"),
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="UnitCost",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.billing.models.cost.new_cost_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("meter", models.CharField(choices=METERS, max_length=32)),
                ("model", models.CharField(default="*", max_length=170)),
                ("device_class", models.CharField(blank=True, default="", max_length=80)),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("pico_per_unit", models.BigIntegerField()),
                ("valid_from", models.DateTimeField()),
                ("created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("created_by", models.CharField(max_length=80)),
                ("note", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "db_table": "unit_cost",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("meter", "model", "device_class", "currency", "valid_from"),
                        name="unit_cost_once_a_moment",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("pico_per_unit__gte", 0)), name="unit_cost_is_not_negative"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MinimumCommitment",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=moorage.billing.models.minimum.new_minimum_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("pico", moorage.billing.pico_field.PicoField()),
                ("period_start", models.DateTimeField()),
                ("created_at", models.DateTimeField(default=moorage.kernel.clock.now)),
                ("created_by", models.CharField(max_length=80)),
                ("note", models.CharField(blank=True, default="", max_length=200)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="minimum_commitments",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "db_table": "minimum_commitment",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("pico__gte", 0)), name="minimum_commitment_is_not_negative"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PriceCounter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("organization_id", models.CharField(max_length=40)),
                ("price_id", models.CharField(max_length=40)),
                ("month_start", models.DateTimeField()),
                ("quantity", models.BigIntegerField()),
            ],
            options={
                "db_table": "price_counter",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization_id", "price_id", "month_start"), name="price_counter_once_a_month"
                    )
                ],
            },
        ),
        migrations.AlterField("price", "meter", models.CharField(choices=METERS, max_length=32)),
        migrations.AddField(
            "price",
            "organization",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="negotiated_prices",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            "price", "state", models.CharField(blank=True, choices=STATES, default="", max_length=16)
        ),
        migrations.AddField("price", "device_class", models.CharField(blank=True, default="", max_length=80)),
        migrations.AddField("price", "tiers", models.JSONField(blank=True, default=list)),
        migrations.AddField("price", "valid_to", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "price",
            "cost",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prices",
                to="billing.unitcost",
            ),
        ),
        migrations.AddField("price", "margin_basis_points", models.IntegerField(blank=True, null=True)),
        migrations.RemoveConstraint("price", "price_once_a_moment"),
        migrations.AddConstraint(
            "price",
            models.UniqueConstraint(
                fields=("meter", "model", "organization", "state", "device_class", "currency", "valid_from"),
                name="price_once_a_moment_and_scope",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            "price",
            models.CheckConstraint(
                condition=models.Q(("valid_to", None), ("valid_to__gte", models.F("valid_from")), _connector="OR"),
                name="price_ends_after_it_begins",
            ),
        ),
        migrations.RunSQL(
            RATES,
            "ALTER TABLE rated_usage DROP COLUMN pico_per_unit;",
            state_operations=[migrations.AddField("ratedusage", "pico_per_unit", models.BigIntegerField())],
        ),
        migrations.AlterField("ratedusage", "meter", models.CharField(choices=METERS, max_length=32)),
        migrations.AddField("ratedusage", "tier", models.PositiveSmallIntegerField(default=0, db_default=0)),
        migrations.AddField("ratedusage", "part", models.PositiveSmallIntegerField(default=0, db_default=0)),
        migrations.AlterField(
            "ratedusage",
            "price",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.price",
            ),
        ),
        migrations.RemoveConstraint("ratedusage", "rated_usage_once"),
        migrations.AddConstraint(
            "ratedusage",
            models.UniqueConstraint(fields=("source_id", "meter", "part"), name="rated_usage_part_once"),
        ),
        migrations.RemoveIndex("ratedusage", "rated_usage_by_time"),
        migrations.AddIndex(
            "ratedusage",
            django.contrib.postgres.indexes.BrinIndex(
                fields=["ended_at"], name="rated_usage_by_end", pages_per_range=32
            ),
        ),
        migrations.RunSQL(RULES, BACKWARD),
    ]
