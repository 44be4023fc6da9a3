"""Whose replicas may run: an empty balance and a suspension stop them after their grace, money brings them back."""

import dataclasses
import datetime as dt

import pytest

from moorage.accounts import allowances
from moorage.accounts import services as accounts
from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization, Standing, Withheld
from moorage.billing import collecting, invoices, serving, tasks, wallet_allowance, wallet_settings
from moorage.billing.dunning import DunningPolicy
from moorage.billing.models import BillingMode, Wallet
from moorage.billing.serving import Decision, Situation
from moorage.kernel import clock
from tests.billing.bills import invoiced
from tests.billing.measured import NOON, price_list
from tests.billing.test_wallets import charge, pay
from tests.cast import Cast

GRACE = dt.timedelta(minutes=5)
FINE = Situation(standing=Standing.ACTIVE, is_empty=False, empty_since=None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"is_empty": True}, None),
        ({"is_empty": True, "empty_since": NOON - GRACE + dt.timedelta(seconds=1)}, None),
        ({"is_empty": True, "empty_since": NOON - GRACE}, Withheld.BALANCE),
        ({"is_empty": False, "empty_since": NOON - GRACE}, None),
        ({"standing": Standing.PAST_DUE}, None),
        ({"standing": Standing.SUSPENDED}, Withheld.STANDING),
        ({"standing": Standing.SUSPENDED, "is_empty": True, "empty_since": NOON - GRACE}, Withheld.STANDING),
    ],
)
def test_when_replicas_may_not_run(change: dict[str, object], why: Withheld | None) -> None:
    decided = serving.decide(dataclasses.replace(FINE, **change), grace=GRACE, now=NOON)  # type: ignore[arg-type]

    assert decided.why is why


def test_the_grace_counts_from_when_it_was_first_seen_empty() -> None:
    first = serving.decide(dataclasses.replace(FINE, is_empty=True), grace=GRACE, now=NOON)

    assert first == Decision(why=None, empty_since=NOON)
    later = dataclasses.replace(FINE, is_empty=True, empty_since=first.empty_since)
    assert serving.decide(later, grace=GRACE, now=NOON + GRACE).why is Withheld.BALANCE


def prepaid(cast: Cast) -> Organization:
    organization = cast.alice.organization
    wallet_settings.set_mode(organization=organization, mode=BillingMode.PREPAID, reason="agreed", by=MOORAGE)
    return organization


def look(organization: Organization, *, after: dt.timedelta = dt.timedelta(0)) -> str:
    wallet_allowance.keep()
    serving.keep(now=clock.now() + after, grace=GRACE)
    organization.refresh_from_db()
    return organization.withheld


def test_a_used_up_balance_stops_after_the_grace_and_a_top_up_brings_it_back(cast: Cast) -> None:
    price_list()
    harbour = prepaid(cast)
    pay(harbour, 10)
    assert look(harbour) == ""
    charge(harbour, 10, "a")
    # What the gateways had counted by then.
    accounts_used(harbour, 10)

    seen = [look(harbour), look(harbour, after=dt.timedelta(minutes=4)), look(harbour, after=GRACE)]

    assert seen == ["", "", "balance"]
    assert look(harbour, after=GRACE) == "balance"
    pay(harbour, 5, "more")
    assert look(harbour, after=GRACE) == ""
    assert Wallet.objects.get(pk=harbour.pk).empty_since is None


def accounts_used(organization: Organization, pico: int) -> None:
    allowances.add_used(organization.pk, pico)


def test_where_everything_is_free_an_empty_balance_stops_nothing(cast: Cast) -> None:
    harbour = prepaid(cast)

    look(harbour)

    assert look(harbour, after=GRACE * 2) == ""


def test_a_postpaid_organization_without_a_limit_is_never_empty(cast: Cast) -> None:
    price_list()
    charge(cast.alice.organization, 10, "a")

    look(cast.alice.organization)

    assert look(cast.alice.organization, after=GRACE * 2) == ""


def test_a_reached_credit_limit_stops_as_an_empty_balance_does(cast: Cast) -> None:
    price_list()
    harbour = cast.alice.organization
    wallet_settings.set_mode(
        organization=harbour, mode=BillingMode.POSTPAID, credit_limit_pico=0, reason="agreed", by=MOORAGE
    )

    look(harbour)

    assert look(harbour, after=GRACE) == "balance"


def test_dunning_suspends_and_stops_and_payment_restores_and_releases(cast: Cast) -> None:
    invoice = invoiced(cast.alice)
    harbour = cast.alice.organization
    assert invoice.finalized_at is not None
    late = invoice.finalized_at + dt.timedelta(days=31)

    collecting.dun(now=late, policy_now=DunningPolicy())

    assert look(harbour) == "standing"
    assert harbour.standing == Standing.SUSPENDED
    invoices.settle_paid(invoice=invoice, now=late, reason="It came.")
    collecting.dun(now=late, policy_now=DunningPolicy())
    assert look(harbour) == ""


def test_a_suspension_by_hand_counts_too_and_beats_task_makes_it_so(cast: Cast) -> None:
    harbour = cast.alice.organization
    accounts.set_standing(organization=harbour, standing=Standing.SUSPENDED, reason="fraud", by=MOORAGE)

    tasks.rate.run()

    harbour.refresh_from_db()
    assert harbour.withheld == "standing"
    accounts.set_standing(organization=harbour, standing=Standing.ACTIVE, reason="cleared", by=MOORAGE)
    tasks.rate.run()
    harbour.refresh_from_db()
    assert harbour.withheld == ""
