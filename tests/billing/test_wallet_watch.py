"""Owners are told once when little is left, and top-ups by itself are one at a time and within the month's most."""

import dataclasses
import datetime as dt

import pytest
from django.core import mail
from hypothesis import given
from hypothesis import strategies as st

from moorage.accounts import services as accounts
from moorage.accounts.models import Role
from moorage.billing import top_up_decision, wallet_settings, wallet_watch
from moorage.billing.models import BillingMode, TopUp, TopUpKind, TopUpStatus, Wallet
from moorage.billing.top_up_decision import Situation
from moorage.billing.wallet_settings import Preferences
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.billing.measured import NOON
from tests.billing.test_wallets import charge, pay
from tests.cast import Cast

DUE = Situation(
    left_pico=4,
    below_pico=5,
    top_up_cents=2500,
    monthly_most_cents=10_000,
    charged_cents=0,
    is_pending=False,
    last_failed_at=None,
)


@pytest.mark.parametrize(
    ("change", "cents"),
    [
        ({}, 2500),
        ({"left_pico": 5}, 0),
        ({"left_pico": 0, "below_pico": 0}, 0),
        ({"is_pending": True}, 0),
        ({"charged_cents": 7500}, 2500),
        ({"charged_cents": 7501}, 0),
        ({"monthly_most_cents": 2499}, 0),
        ({"last_failed_at": NOON - dt.timedelta(hours=23)}, 0),
        ({"last_failed_at": NOON - dt.timedelta(hours=24)}, 2500),
        ({"top_up_cents": 0}, 0),
    ],
)
def test_when_a_top_up_is_due(change: dict[str, object], cents: int) -> None:
    assert top_up_decision.cents_due(dataclasses.replace(DUE, **change), now=NOON) == cents  # type: ignore[arg-type]


@given(top_up=st.integers(1, 10**6), most=st.integers(0, 10**8), left=st.lists(st.integers(0, 20), max_size=40))
def test_a_month_never_charges_more_than_its_most(top_up: int, most: int, left: list[int]) -> None:
    charged = 0
    for pico in left:
        situation = dataclasses.replace(
            DUE, left_pico=pico, top_up_cents=top_up, monthly_most_cents=most, charged_cents=charged
        )
        charged += top_up_decision.cents_due(situation, now=NOON)

    assert charged <= most


def prefer(cast: Cast, **wanted: object) -> None:
    wallet_settings.set_preferences(
        organization=cast.alice.organization,
        preferences=Preferences(**wanted),  # type: ignore[arg-type]
        by=cast.alice.actor,
    )


def sources(cast: Cast) -> list[tuple[int, str]]:
    return [(due.cents, due.source) for due in wallet_watch.due_top_ups(clock.now())]


def start(
    cast: Cast, status: TopUpStatus, source: str = "", *, cents: int = 2500, at: dt.datetime | None = None
) -> TopUp:
    return TopUp.objects.create(
        organization=cast.alice.organization,
        kind=TopUpKind.SAVED_METHOD,
        status=status,
        currency="USD",
        cents=cents,
        provider="memory",
        source=source or f"automatic:{TopUp.objects.count()}",
        created_by="Moorage",
        created_at=at or clock.now(),
    )


AUTOMATIC = {"is_automatic": True, "below_pico": 5 * PICO, "top_up_cents": 2500, "monthly_most_cents": 5000}


def test_a_low_balance_is_topped_up_once_at_a_time(cast: Cast) -> None:
    pk = cast.alice.organization.pk
    pay(cast.alice.organization, 6 * PICO)
    prefer(cast, **AUTOMATIC)
    before = sources(cast)
    charge(cast.alice.organization, 2 * PICO, "a")

    due = [sources(cast), sources(cast)]
    first = start(cast, TopUpStatus.STARTED)
    pending = sources(cast)
    TopUp.objects.filter(pk=first.pk).update(status=TopUpStatus.PAID)
    second = sources(cast)
    start(cast, TopUpStatus.PAID)
    spent = sources(cast)

    assert before == []
    assert due == [[(2500, f"automatic:{pk}:1")]] * 2, "whoever finds it due asks with the same key"
    assert pending == []
    assert second == [(2500, f"automatic:{pk}:2")]
    assert spent == [], "the month's most is reached"


def test_last_months_top_ups_do_not_count_and_a_failed_one_gives_a_days_rest(cast: Cast) -> None:
    prefer(cast, **AUTOMATIC)
    long_ago = clock.now() - dt.timedelta(days=62)
    for _ in range(3):
        start(cast, TopUpStatus.PAID, at=long_ago)
    assert len(sources(cast)) == 1

    start(cast, TopUpStatus.FAILED)

    assert sources(cast) == []


def test_what_a_prepaid_organization_has_left_is_what_the_gateways_may_spend(cast: Cast) -> None:
    wallet_settings.set_mode(
        organization=cast.alice.organization, mode=BillingMode.PREPAID, reason="They pay first.", by=cast.alice.actor
    )
    pay(cast.alice.organization, 6 * PICO)
    prefer(cast, **AUTOMATIC)

    assert wallet_watch.left([cast.alice.organization.pk]) == {cast.alice.organization.pk: 6 * PICO}
    assert sources(cast) == []


def test_owners_are_told_once_each_time_the_balance_falls(cast: Cast) -> None:
    harbour = cast.alice.organization
    pay(harbour, 12 * PICO)
    prefer(cast, alert_below_pico=10 * PICO)

    def alert() -> int:
        return wallet_watch.alert(now=clock.now())

    above = alert()
    charge(harbour, 3 * PICO, "a")
    fallen = [alert(), alert()]
    charge(harbour, 1 * PICO, "b")
    lower = alert()
    pay(harbour, 5 * PICO, "more")
    risen = alert()
    charge(harbour, 5 * PICO, "c")
    again = alert()

    assert [above, *fallen, lower, risen, again] == [0, 1, 0, 0, 0, 1]
    assert [message.to for message in mail.outbox] == [["alice@example.com"]] * 2
    assert mail.outbox[0].subject == "Harbour has 9.00 USD left"
    assert "/harbour/wallet" in mail.outbox[0].body


def test_every_owner_is_told_and_nobody_else(cast: Cast) -> None:
    accounts.add_member(
        organization=cast.alice.organization, user=cast.charlie.user, role=Role.OWNER, by=cast.alice.actor
    )
    prefer(cast, alert_below_pico=10 * PICO)

    wallet_watch.alert(now=clock.now())

    assert sorted(mail.outbox[0].to) == ["alice@example.com", "charlie@example.com"]


def test_a_new_threshold_is_told_of_anew(cast: Cast) -> None:
    pay(cast.alice.organization, 9 * PICO)
    prefer(cast, alert_below_pico=10 * PICO)
    assert wallet_watch.alert(now=clock.now()) == 1

    prefer(cast, alert_below_pico=20 * PICO)

    assert wallet_watch.alert(now=clock.now()) == 1


def test_a_mail_that_cannot_be_sent_is_tried_again(cast: Cast, settings: object) -> None:
    prefer(cast, alert_below_pico=10 * PICO)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # type: ignore[attr-defined]
    failed = wallet_watch.alert(now=clock.now())
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"  # type: ignore[attr-defined]

    sent = wallet_watch.alert(now=clock.now())

    assert [failed, sent] == [0, 1]
    assert Wallet.objects.get(pk=cast.alice.organization.pk).alerted_at is not None
