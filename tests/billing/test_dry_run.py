"""A dry run: what a month would have come to with another price list, exactly, without writing anything."""

import datetime as dt
import json

import pytest
from django.apps import apps
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.accounts.models import AuditEntry
from moorage.billing import candidates, dry_run, rater
from moorage.billing.errors import CandidateInvalid
from moorage.billing.models import Meter, RatedUsage
from moorage.billing.tiers import Tier
from moorage.kernel.money import PICO
from moorage.metering import usage_table
from tests.billing.bills import closed, minimum
from tests.billing.measured import NOON, OCTOBER, price_list, request, run, use
from tests.billing.price_rows import TOKENS, graduations, put
from tests.cast import Cast

HEAD = "meter,model,price"


def test_the_difference_is_shown_by_organization_the_greatest_first(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(0, 0, 1_000_000))
    use(cast.charlie.organization, tokens=(0, 0, 3_000_000))
    use(cast.charlie.organization, tokens=(0, 0, 9_000_000), ended_at=OCTOBER.end)
    rater.rate_all()

    found = dry_run.run(period=OCTOBER, text=f"{HEAD}\noutput_tokens,*,0.75\n")

    assert [(one.organization.slug, one.rated_pico, one.candidate_pico) for one in found.differences] == [
        ("island", 1_800_000_000_000, 2_250_000_000_000),
        ("harbour", 600_000_000_000, 750_000_000_000),
    ]
    assert [total.difference_pico for total in found.totals] == [600_000_000_000]


def test_what_is_missing_to_a_minimum_is_in_both_amounts(cast: Cast) -> None:
    price_list()
    minimum(cast.charlie, PICO)
    minimum(cast.alice, PICO)
    use(cast.alice.organization, tokens=(0, 0, 1_000_000))
    rater.rate_all()

    found = dry_run.run(period=OCTOBER, text=f"{HEAD}\noutput_tokens,*,2.40\n")

    assert [
        (one.organization.slug, one.rated_pico, one.candidate_pico, one.minimum_pico) for one in found.differences
    ] == [
        ("harbour", PICO, 2_400_000_000_000, PICO),
        ("island", PICO, PICO, PICO),
    ]
    invoice = closed(cast.alice)
    assert invoice.statement.total_pico == found.differences[0].rated_pico


def test_nothing_is_written(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization)
    rater.rate_all()
    models = [*apps.get_app_config("billing").get_models(), AuditEntry]
    before = [list(model.objects.order_by("pk").values()) for model in models]

    dry_run.run(period=OCTOBER, text=f"{HEAD}\noutput_tokens,*,99\n")

    assert [list(model.objects.order_by("pk").values()) for model in models] == before


def test_a_negotiated_a_graduated_and_a_request_price_are_reckoned_with(cast: Cast) -> None:
    price_list()
    for tokens in ((0, 0, 80), (0, 0, 70), (0, 0, 0)):
        use(cast.alice.organization, tokens=tokens)
        use(cast.charlie.organization, tokens=tokens)
    run(cast.charlie.organization, seconds=10)
    rater.rate_all()
    rows = [
        {"meter": "output_tokens", "tiers": [{"from": 0, "price": "0"}, {"from": 100, "price": "1"}]},
        {"meter": "output_tokens", "price": "2", "organization": "island"},
        {"meter": "requests", "price": "0.5"},
        {"meter": "replica_seconds", "price": "0.25"},
    ]

    found = dry_run.run(period=OCTOBER, text=json.dumps(rows), is_whole=True)

    assert {one.organization.slug: one.candidate_pico for one in found.differences} == {
        "harbour": 50 * 1_000_000 + 2 * 500_000_000_000,
        "island": 150 * 2_000_000 + 2 * 500_000_000_000 + 10 * 250_000_000_000,
    }


def test_a_price_that_begins_within_the_month_counts_from_then_on(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(0, 0, 10), ended_at=NOON)
    use(cast.alice.organization, tokens=(0, 0, 10), ended_at=NOON - dt.timedelta(microseconds=1))
    rater.rate_all()

    found = dry_run.run(
        period=OCTOBER, text=f"{HEAD},valid_from,valid_to\noutput_tokens,*,1,2026-10-15T12:00:00Z,2026-10-16\n"
    )

    assert [total.candidate_pico for total in found.totals] == [10 * 1_000_000 + 10 * 600_000]


def test_what_is_not_rated_yet_and_what_has_no_price_is_said(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(10, 0, 10))

    found = dry_run.run(period=OCTOBER, text=f"{HEAD}\ninput_tokens,*,1\n", is_whole=True)

    (one,) = found.differences
    assert (one.rated_pico, one.candidate_pico, one.waiting) == (0, 10_000_000, 1)
    assert one.unpriced == (("output_tokens", "demo/llm"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no rows"),
        (HEAD, "no rows"),
        ("meter,colour\noutput_tokens,red", "Row 2: colour is not known. Known are meter"),
        (f"{HEAD}\noutput_tokens,*,1\nsmiles,*,1", "Row 3: meter is one of input_tokens"),
        (f"{HEAD}\noutput_tokens,*,1e3", "Row 2: Write the price per 1M tokens"),
        (f"{HEAD}\noutput_tokens,*", "Row 2: has not as many cells as the head"),
        (f"{HEAD}\noutput_tokens,*,", "Row 2: give either a price or tiers"),
        (f"{HEAD}\noutput_tokens,*,1\noutput_tokens,*,2", "Row 3: prices the same from the same moment on as Row 2"),
        (f"{HEAD},organization\noutput_tokens,*,1,nobody", "Row 2: there is no organization nobody"),
        (f"{HEAD},valid_from\noutput_tokens,*,1,soon", "Row 2: valid_from is a moment such as"),
        (f"{HEAD},valid_from,valid_to\noutput_tokens,*,1,2026-10-02,2026-10-01", "Row 2: valid_to is before"),
        (f"{HEAD},state\noutput_tokens,*,1,idle", "Row 2: Only replica seconds are priced by state"),
        ("meter,tiers\noutput_tokens,5: 1", "Row 2: The first tier begins at 0"),
        ("meter,tiers\noutput_tokens,0=1", "Row 2: Write tiers as from: price"),
        ("[", "This is no JSON"),
        ("{}", "A JSON candidate is a list"),
        ("[1]", "Row 1: is no object"),
        ('[{"meter": "output_tokens", "price": ["1"]}]', "Row 1: price is a text"),
        ('[{"meter": "output_tokens", "tiers": [{"from": 0}]}]', 'Row 1: each tier has "from" and "price"'),
    ],
)
def test_a_bad_row_is_named_in_one_sentence(cast: Cast, text: str, sentence: str) -> None:
    with pytest.raises(CandidateInvalid) as refused:
        dry_run.run(period=OCTOBER, text=text)

    assert sentence in refused.value.message


def test_tiers_are_read_as_they_are_written() -> None:
    found = (Tier(begins=0, pico=0), Tier(begins=1_000_000, pico=250_000))

    assert candidates.parse_tiers(Meter.OUTPUT_TOKENS, "0: 0\n1,000,000: 0.25") == found
    assert candidates.parse_tiers("output_tokens", candidates.tiers_text("output_tokens", found)) == found


_days = st.integers(0, 40).map(lambda day: OCTOBER.start + dt.timedelta(days=day))
_listed = st.tuples(
    st.sampled_from(TOKENS),
    st.sampled_from(("*", "demo/*", "demo/llm")),
    st.integers(0, 2),
    _days,
    st.integers(0, 10**6),
    st.just(()) | graduations,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    listed=st.lists(_listed, max_size=8, unique_by=lambda one: one[:4]),
    used=st.lists(st.tuples(st.integers(0, 1), _days, st.integers(0, 900), st.integers(0, 900)), max_size=15),
)
def test_with_the_present_list_a_month_comes_to_what_it_was_rated_at(
    cast: Cast,
    listed: list[tuple[Meter, str, int, dt.datetime, int, tuple[Tier, ...]]],
    used: list[tuple[int, dt.datetime, int, int]],
) -> None:
    owners = (cast.alice.organization, cast.charlie.organization)
    with transaction.atomic():
        for meter in TOKENS:
            put(meter, 7, model="*", valid_from=OCTOBER.start - dt.timedelta(days=1))
        for meter, model, owner, begins, pico, graduated in listed:
            put(
                meter,
                pico,
                model=model,
                organization=(*owners, None)[owner],
                valid_from=begins,
                graduated=graduated,
            )
        usage_table.put([request(owners[owner].id, tokens=(a, min(a, b), b), ended_at=at) for owner, at, a, b in used])
        rater.rate_all()

        found = dry_run.run(period=OCTOBER, text="meter,model,price\noutput_tokens,nothing/of/this,1\n")

        assert sum(total.difference_pico for total in found.totals) == 0
        assert all(one.difference_pico == 0 and not one.unpriced for one in found.differences)
        month = RatedUsage.objects.filter(ended_at__gte=OCTOBER.start, ended_at__lt=OCTOBER.end)
        assert sum(total.rated_pico for total in found.totals) == sum(
            int(pico) for pico in month.values_list("amount_pico", flat=True)
        )
        transaction.set_rollback(True)
