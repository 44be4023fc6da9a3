"""What billing has of an organization is in what the organization pays in, and the gateways read prices with it."""

from typing import ClassVar

from django.db import migrations, models

#: What refers to the currency of an organization: none of it can be in another, and none is left behind by a change.
REFERRING = ("organization_currency", "price", "top_up", "statement", "invoice", "credit_note", "refund")

FORWARD = """
-- What billing has in money without saying the currency, or without a row above: usage that was charged for nothing, a
-- minimum, limits, and what owners and administrators have set in the wallet.
CREATE FUNCTION organization_currency_is_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.billing_month WHERE organization_id = NEW.id)
       OR EXISTS (SELECT FROM public.rated_usage WHERE organization_id = NEW.id)
       OR EXISTS (SELECT FROM public.minimum_commitment WHERE organization_id = NEW.id)
       OR EXISTS (SELECT FROM public.credit_grant WHERE organization_id = NEW.id)
       OR EXISTS (SELECT FROM public.approval_request WHERE organization_id = NEW.id AND status = 'waiting')
       OR EXISTS (SELECT FROM public.subject_limit WHERE organization_id = NEW.id
                     AND limits ?| ARRAY['money_per_day', 'money_per_month'])
       OR EXISTS (SELECT FROM public.wallet WHERE organization_id = NEW.id
                     AND (credit_limit_pico IS NOT NULL OR alert_below_pico IS NOT NULL OR below_pico <> 0
                          OR top_up_cents <> 0 OR monthly_most_cents <> 0)) THEN
        RAISE EXCEPTION 'organization % has money in %', NEW.id, OLD.currency USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER organization_currency_is_settled BEFORE UPDATE OF currency ON organization
    FOR EACH ROW WHEN (OLD.currency IS DISTINCT FROM NEW.currency)
    EXECUTE FUNCTION organization_currency_is_settled();
"""
BACKWARD = """
DROP TRIGGER organization_currency_is_settled ON organization;
DROP FUNCTION organization_currency_is_settled();
"""
VIEW = """
CREATE OR REPLACE VIEW gateway_price AS
SELECT p.id,
       jsonb_build_object(
           'id', p.id,
           'meter', p.meter,
           'model', p.model,
           'pico_per_unit', p.pico_per_unit,
           'valid_from_us', (extract(epoch FROM p.valid_from) * 1000000)::bigint,
           'valid_to_us', (extract(epoch FROM p.valid_to) * 1000000)::bigint,
           'organization_id', coalesce(p.organization_id, '')CURRENCY
       ) AS document
  FROM price p
 WHERE p.meter IN ('input_tokens', 'cached_input_tokens', 'output_tokens', 'requests');
"""


def _referring(table: str) -> migrations.RunSQL:
    name = f"{table}_is_in_the_organizations_currency"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name}"
        " FOREIGN KEY (organization_id, currency) REFERENCES organization (id, currency);",
        f"ALTER TABLE {table} DROP CONSTRAINT {name};",
    )


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0011_collected"), ("accounts", "0008_currency")]
    operations: ClassVar = [
        *map(_referring, REFERRING),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunSQL(
            VIEW.replace("CURRENCY", ",\n           'currency', p.currency"), VIEW.replace("CURRENCY", "")
        ),
        migrations.AlterField(
            model_name="usageanomaly",
            name="kind",
            field=models.CharField(
                choices=[
                    ("surge", "Surge"),
                    ("new_key", "New key in heavy use"),
                    ("disputed", "Disputed counts"),
                    ("no_tokens", "Answers without a token"),
                    ("no_price", "No price in its currency"),
                ],
                max_length=16,
            ),
        ),
    ]
