"""An organization pays in one currency, and nothing of it is ever in another; it changes while there is nothing."""

import datetime as dt
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import DatabaseError

from moorage.accounts import limits as accounts_limits
from moorage.accounts import services as accounts
from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import AuditEntry, Organization
from moorage.billing import (
    closing,
    currencies,
    ledger,
    minimums,
    pricing,
    queries,
    rater,
    review,
    services,
    topups,
    wallet_settings,
    wallets,
)
from moorage.billing.errors import CurrencyInUse, CurrencyUnpriced, InvalidPrice, PriceInThePast, ReasonMissing
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import AnomalyKind, GrantKind, Meter, Price, RatedUsage, UsageAnomaly
from moorage.kernel import currencies as known
from moorage.kernel.currencies import CurrencyRefused
from moorage.wire.limits import Limits
from tests.billing.euro import pay_in, price_in
from tests.billing.measured import NOON, OCTOBER, everything_shipped, price_list, run, use
from tests.cast import Cast


@pytest.mark.parametrize(("text", "code"), [("EUR", "EUR"), (" gbp ", "GBP"), ("chf", "CHF")])
def test_a_currency_that_has_cents_is_known_by_its_code(text: str, code: str) -> None:
    assert known.parse(text) == code


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("JPY", "not divided into a hundred parts"),
        ("KWD", "counted in hundredths"),
        ("EURO", "no currency"),
        ("", "no"),
    ],
)
def test_a_currency_without_cents_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(CurrencyRefused, match=says):
        known.parse(text)


def test_the_database_knows_no_other_currencies_than_the_table(cast: Cast) -> None:
    for code in ("JPY", "eur", "", "XYZ"):
        with pytest.raises(IntegrityError, match="organization_currency_has_cents"), transaction.atomic():
            Organization.objects.filter(pk=cast.alice.organization.pk).update(currency=code)


def test_a_new_organization_pays_in_what_the_operator_says(cast: Cast, settings: object) -> None:
    settings.MOORAGE_CURRENCY = "CHF"  # type: ignore[attr-defined]

    made = accounts.create_organization(name="Pier", slug="pier", owner=cast.alice.user, by=cast.alice.actor)
    seeded = pricing.ensure_default_prices()

    assert Organization.objects.get(pk=made.pk).currency == "CHF"
    assert seeded == 4 and set(Price.objects.values_list("currency", flat=True)) == {"CHF"}


def test_an_administrator_sets_the_currency_with_a_reason(cast: Cast) -> None:
    organization = cast.alice.organization
    price_list()
    price_in("EUR")

    with pytest.raises(ReasonMissing):
        currencies.set_currency(organization=organization, currency="EUR", reason=" ", by=Actor.person(cast.ada))
    currencies.set_currency(organization=organization, currency="eur", reason="Rotterdam.", by=Actor.person(cast.ada))

    entry = AuditEntry.objects.get(action="organization.currency_changed")
    assert Organization.objects.get(pk=organization.pk).currency == organization.currency == "EUR"
    assert (entry.detail["before"], entry.detail["after"], entry.detail["reason"]) == ("USD", "EUR", "Rotterdam.")


def test_a_currency_without_generally_valid_prices_is_refused(cast: Cast) -> None:
    price_list()
    by = Actor.person(cast.ada)

    with pytest.raises(CurrencyUnpriced, match="no generally valid price in EUR for cached input tokens, input tokens"):
        currencies.set_currency(organization=cast.alice.organization, currency="EUR", reason="Why not.", by=by)
    price_in("EUR")
    pricing.set_price(meter=Meter.REQUESTS, model="demo/*", pico_per_unit=5, currency="USD", by=by)

    with pytest.raises(CurrencyUnpriced, match="for requests"):
        currencies.set_currency(organization=cast.alice.organization, currency="EUR", reason="Why not.", by=by)
    pricing.set_price(meter=Meter.REQUESTS, model="*", pico_per_unit=4, currency="EUR", by=by)
    currencies.set_currency(organization=cast.alice.organization, currency="EUR", reason="Now.", by=by)
    assert currencies.priced(at=dt.datetime.now(dt.UTC)) == ("EUR", "USD")


def _charged(cast: Cast) -> None:
    use(cast.alice.organization)
    rater.rate_all()


def _charged_for_nothing(cast: Cast) -> None:
    for meter in Meter:
        if meter == Meter.REQUESTS:
            continue
        pricing.set_price(meter=meter, model="free/*", pico_per_unit=0, valid_from=OCTOBER.start, by=MOORAGE)
    use(cast.alice.organization, served_name="free/llm")
    rater.rate_all()


def _credited(cast: Cast) -> None:
    wallets.grant(organization=cast.alice.organization, kind=GrantKind.PROMOTIONAL, pico=5, source="a gift", by=MOORAGE)


def _limited(cast: Cast) -> None:
    accounts_limits.set_limits(
        organization=cast.alice.organization, subject="key_a", limits=Limits(money_per_day=5), by=MOORAGE
    )


def _priced(cast: Cast) -> None:
    pricing.set_price(
        meter=Meter.OUTPUT_TOKENS, model="*", pico_per_unit=5, organization=cast.alice.organization, by=MOORAGE
    )


def _alerted(cast: Cast) -> None:
    wallet_settings.set_preferences(
        organization=cast.alice.organization,
        preferences=wallet_settings.Preferences(alert_below_pico=5),
        by=MOORAGE,
    )


def _topped_up(cast: Cast) -> None:
    with transaction.atomic():
        topups._start(
            organization=cast.alice.organization,
            top_up_id="top_a",
            cents=500,
            by=MOORAGE,
            kind=topups.TopUpKind.CHECKOUT,
            topic=topups.TOP_UP,
            source="a click",
        )


def _committed(cast: Cast) -> None:
    minimums.set_minimum(organization=cast.alice.organization, pico=5, period=OCTOBER, by=MOORAGE)


def _awaited(cast: Cast) -> None:
    services.give_credit(
        organization=cast.alice.organization, pico=10**15, reason="Much.", key="1", by=Actor.person(cast.ada)
    )


@pytest.mark.parametrize(
    ("done", "says"),
    [
        (_charged, "usage was charged to it, and usage of it was rated, and its books have entries"),
        (_charged_for_nothing, "usage was charged to it, and usage of it was rated. Amounts"),
        (_credited, "its books have entries, and it was given credit"),
        (_limited, "it has limits in money"),
        (_priced, "it has prices of its own"),
        (_alerted, "its wallet has a credit limit, a threshold"),
        (_topped_up, "it has bought credit or tried to"),
        (_committed, "it agreed on a minimum"),
        (_awaited, "money for it waits for approval"),
    ],
)
def test_what_is_in_a_currency_keeps_the_organization_in_it(
    cast: Cast, settings: object, done: Callable[[Cast], None], says: str
) -> None:
    settings.MOORAGE_FOUR_EYES_PICO = 10**14  # type: ignore[attr-defined]
    price_list()
    price_in("EUR")
    done(cast)

    with pytest.raises(CurrencyInUse, match=f"Harbour pays in USD for good: {says}"):
        currencies.set_currency(
            organization=cast.alice.organization, currency="EUR", reason="They asked.", by=Actor.person(cast.ada)
        )
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE organization SET currency = 'EUR' WHERE id = %s", [cast.alice.organization.pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    currencies.set_currency(
        organization=cast.charlie.organization, currency="EUR", reason="They asked.", by=Actor.person(cast.ada)
    )


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO organization_currency (organization_id, currency) VALUES ('{id}', 'USD')",
        "INSERT INTO ledger_account (organization_id, kind, currency) VALUES ('{id}', 'x', 'USD')",
        "INSERT INTO price (id, meter, model, organization_id, state, device_class, currency, pico_per_unit, tiers,"
        " valid_from, created_at, created_by, note)"
        " VALUES ('pri_x', 'output_tokens', '*', '{id}', '', '', 'USD', 1, '[]', now(), now(), 'x', '')",
        "INSERT INTO top_up (id, organization_id, kind, status, reason, currency, cents, provider, source,"
        " checkout_reference, payment_reference, payment_url, created_by, created_at)"
        " VALUES ('top_x', '{id}', 'checkout', 'started', '', 'USD', 1, 'x', 'x', '', '', '', 'x', now())",
        "INSERT INTO statement (id, organization_id, period_start, period_end, currency, total_pico,"
        " credit_applied_pico, document, sha256, frozen_at)"
        " VALUES ('st_x', '{id}', now(), now(), 'USD', 1, 0, '{{}}', '', now())",
    ],
)
def test_nothing_of_an_organization_can_be_in_another_currency(cast: Cast, statement: str) -> None:
    pay_in(cast.alice.organization)

    with (
        pytest.raises(IntegrityError, match="is_in_the_organizations_currency"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(id=cast.alice.organization.pk))


def test_a_posting_is_in_what_the_organization_pays_in_or_is_none(cast: Cast) -> None:
    pay_in(cast.alice.organization)
    entries = [
        Entry(account=Account.RECEIVABLE, organization_id=cast.alice.organization.pk, pico=7),
        Entry(account=Account.ADJUSTMENT, organization_id=cast.alice.organization.pk, pico=-7),
    ]

    ledger.post(kind="test", idempotency_key="a", entries=entries, effective_at=NOON)

    assert sorted((total.currency, total.pico) for total in ledger.prove().totals) == [("EUR", -7), ("EUR", 7)]
    assert ledger.prove().sums == {"EUR": 0}
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.post(kind="test", idempotency_key="b", entries=entries, effective_at=NOON, currency="USD")


def test_usage_is_charged_at_the_prices_of_its_organizations_currency_alone(cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    # Dearer and more specific than anything in euro, and of no concern to who pays in it.
    pricing.set_price(
        meter=Meter.OUTPUT_TOKENS, model="demo/llm", pico_per_unit=10**12, valid_from=OCTOBER.start, by=MOORAGE
    )
    for person in (cast.alice, cast.charlie):
        use(person.organization, tokens=(1000, 400, 50))
        run(person.organization, seconds=60)

    rater.rate_all()

    found = {
        currency: sorted(int(pico) for pico in rows)
        for currency in ("EUR", "USD")
        if (rows := RatedUsage.objects.filter(currency=currency).values_list("amount_pico", flat=True))
    }
    assert found["EUR"] == sorted([600 * 300_000, 400 * 100_000, 50 * 700_000, 60 * 30_000_000])
    assert found["USD"] == sorted([600 * 200_000, 400 * 50_000, 50 * 10**12, 60 * 20_000_000])
    assert ledger.prove().is_clean and ledger.prove().sums == {"EUR": 0, "USD": 0}


def test_a_model_priced_in_another_currency_alone_waits_and_is_shown(cast: Cast) -> None:
    by = Actor.person(cast.ada)
    price_list()
    price_in("EUR")
    for price in Price.objects.filter(currency="EUR", meter=Meter.OUTPUT_TOKENS):
        pricing.end_price(price=price, at=OCTOBER.start, by=by)
        pricing.set_price(
            meter=Meter.OUTPUT_TOKENS, model="quay/*", pico_per_unit=5, currency="EUR", valid_from=OCTOBER.start, by=by
        )
    organization = cast.alice.organization
    currencies.set_currency(organization=organization, currency="EUR", reason="They asked.", by=by)
    use(organization)

    assert rater.rate_all() == 0

    (waiting,) = review.unpriced_usage()
    assert (waiting.currency, waiting.priced_in) == ("EUR", ("USD",))
    everything_shipped(OCTOBER.end + closing.GRACE)
    assert not RatedUsage.objects.exists()
    anomaly = UsageAnomaly.objects.get(kind=AnomalyKind.NO_PRICE)
    assert anomaly.sentence == ("Output tokens of demo/llm has no price in EUR, but one in USD. Set one in EUR.")


def test_what_is_free_only_for_want_of_a_price_in_its_currency_is_an_anomaly(cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    pricing.set_price(meter=Meter.REQUESTS, model="*", pico_per_unit=9, valid_from=OCTOBER.start, by=MOORAGE)
    for _ in range(3):
        use(cast.alice.organization)
    use(cast.charlie.organization)

    assert rater.rate_all() == 4
    use(cast.alice.organization)
    rater.rate_all()

    anomaly = UsageAnomaly.objects.get(kind=AnomalyKind.NO_PRICE)
    assert (anomaly.subject_id, anomaly.day) == (cast.alice.organization.pk, NOON.date())
    assert anomaly.sentence.startswith("Requests of demo/llm has no price in EUR, but one in USD.")
    assert set(RatedUsage.objects.filter(meter=Meter.REQUESTS).values_list("currency", flat=True)) == {"USD"}


def test_a_price_of_an_organizations_own_is_in_what_it_pays_in(cast: Cast) -> None:
    pay_in(cast.alice.organization)
    own = {"meter": Meter.OUTPUT_TOKENS, "model": "*", "pico_per_unit": 5, "by": MOORAGE}

    made = pricing.set_price(organization=cast.alice.organization, **own)  # type: ignore[arg-type]

    assert made.currency == "EUR"
    with pytest.raises(InvalidPrice, match="Harbour pays in EUR"):
        pricing.set_price(organization=cast.alice.organization, currency="USD", **own)  # type: ignore[arg-type]


def test_usage_in_one_currency_does_not_keep_prices_in_another_from_the_past(cast: Cast) -> None:
    price_list()
    use(cast.charlie.organization)
    rater.rate_all()

    price_in("EUR", since=OCTOBER.start)

    with pytest.raises(PriceInThePast):
        price_in("USD", since=OCTOBER.start)


def test_a_price_ends_in_its_own_currency(cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    euro = Price.objects.get(currency="EUR", meter=Meter.OUTPUT_TOKENS)

    ended = pricing.end_price(price=euro, by=MOORAGE, at=OCTOBER.start)

    book = rater.price_book()
    assert ended.currency == "EUR"
    assert not book.is_listed(Meter.OUTPUT_TOKENS, "EUR", NOON) and book.is_listed(Meter.OUTPUT_TOKENS, "USD", NOON)


def test_a_statement_says_what_it_is_in(cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    use(cast.alice.organization, tokens=(0, 0, 1_000_000))
    rater.rate_all()

    found = queries.statement(organization=cast.alice.organization, period=OCTOBER).statement

    assert (found.currency, found.total_pico) == ("EUR", 700_000_000_000)
