"""What an organization pays in, told to the gateways with the rest of what they know of it."""

from typing import ClassVar

from django.db import migrations, models

import moorage.accounts.models

#: As they were when this was written: a currency that is added later is a migration of its own.
CURRENCIES = tuple(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
    CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD
    KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
    NZD PAB PEN PGK PHP PKR PLN QAR RON RSD SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW
    """.split()  # noqa: SIM905 - a table that people read
)
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
                 WHERE l.organization_id = o.id AND l.subject LIKE 'dep\\_%'), '{}'),
           'has_wallet', o.has_walletCURRENCY
       ) AS document
  FROM organization o;
DROP TRIGGER organization_changed ON organization;
"""
FORWARD = (
    VIEW.replace("CURRENCY", ",\n           'currency', o.currency")
    + """
CREATE TRIGGER organization_changed AFTER UPDATE OF standing, slug, has_wallet, currency ON organization
    FOR EACH ROW WHEN ((OLD.standing, OLD.slug, OLD.has_wallet, OLD.currency) IS DISTINCT FROM
                       (NEW.standing, NEW.slug, NEW.has_wallet, NEW.currency))
    EXECUTE FUNCTION notify_organization_changed();
"""
)
#: What they pay in would be forgotten, and forward again all of them would pay in dollars.
REFUSED_IN_OTHER_CURRENCIES = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM organization WHERE currency <> 'USD') THEN
        RAISE EXCEPTION 'organizations pay in another currency than USD: no way back keeps it'
            USING ERRCODE = 'restrict_violation';
    END IF;
END $$;
"""
BACKWARD = (
    REFUSED_IN_OTHER_CURRENCIES
    + VIEW.replace("CURRENCY", "")
    + """
CREATE TRIGGER organization_changed AFTER UPDATE OF standing, slug, has_wallet ON organization
    FOR EACH ROW WHEN ((OLD.standing, OLD.slug, OLD.has_wallet) IS DISTINCT FROM
                       (NEW.standing, NEW.slug, NEW.has_wallet))
    EXECUTE FUNCTION notify_organization_changed();
"""
)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("accounts", "0007_withheld")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="organization",
            name="currency",
            field=models.CharField(db_default="USD", default=moorage.accounts.models.default_currency, max_length=3),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.UniqueConstraint(fields=("id", "currency"), name="organization_currency_is_of"),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__in", CURRENCIES)), name="organization_currency_has_cents"
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
