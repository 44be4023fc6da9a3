"""Dunning: what follows from unpaid invoices, by table; and that it is done once, and undone by paying."""

import datetime as dt

import pytest
from django.core import mail

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Membership, Organization, Role, Standing
from moorage.billing import collecting, invoices, outbox
from moorage.billing.dunning import DunningPolicy, Owed, decide, next_standing
from moorage.billing.models import Invoice, OutboxMessage
from moorage.billing.reminder_messages import REMINDER
from tests.billing.bills import invoiced
from tests.billing.measured import CLOSING
from tests.cast import Cast

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
POLICY = DunningPolicy(reminder_days=(7, 14, 21), past_due_days=15, suspended_days=30)


def _owed(days: int, **changes: bool) -> Owed:
    return Owed(invoice_id=f"inv_{days}", finalized_at=NOW - days * DAY, **changes)


@pytest.mark.parametrize(
    ("owed", "standing", "reminders"),
    [
        ([], "active", []),
        ([_owed(0)], "active", []),
        ([_owed(6)], "active", []),
        ([_owed(7)], "active", [("inv_7", 1)]),
        ([_owed(14)], "active", [("inv_14", 2)]),
        ([_owed(15)], "past_due", [("inv_15", 2)]),
        ([_owed(21)], "past_due", [("inv_21", 3)]),
        ([_owed(29)], "past_due", [("inv_29", 3)]),
        ([_owed(30)], "suspended", [("inv_30", 3)]),
        ([_owed(400)], "suspended", [("inv_400", 3)]),
        ([_owed(3), _owed(16)], "past_due", [("inv_16", 2)]),
        ([_owed(8), _owed(31)], "suspended", [("inv_8", 1), ("inv_31", 3)]),
        ([_owed(31, is_disputed=True)], "active", []),
        ([_owed(31, is_disputed=True), _owed(16)], "past_due", [("inv_16", 2)]),
        ([_owed(31, is_given_up=True)], "suspended", []),
    ],
)
def test_what_follows_from_what_is_owed(owed: list[Owed], standing: str, reminders: list[tuple[str, int]]) -> None:
    decided = decide(POLICY, owed, now=NOW)

    assert decided.standing == standing
    assert list(decided.reminders) == reminders


@pytest.mark.parametrize(
    ("present", "wanted", "dunned", "found"),
    [
        ("active", "past_due", "", "past_due"),
        ("past_due", "suspended", "past_due", "suspended"),
        ("suspended", "active", "suspended", "active"),
        ("past_due", "active", "past_due", "active"),
        ("suspended", "past_due", "suspended", "past_due"),
        ("active", "active", "", None),
        ("past_due", "past_due", "past_due", None),
        # Somebody else has suspended it: paying an invoice does not lift that.
        ("suspended", "active", "", None),
        ("suspended", "active", "past_due", None),
        ("suspended", "past_due", "past_due", None),
        # An administrator has let it go on although it owes: it is past due again only as the days go by.
        ("active", "suspended", "suspended", "suspended"),
    ],
)
def test_dunning_takes_back_only_what_it_did(present: str, wanted: str, dunned: str, found: str | None) -> None:
    assert next_standing(present=Standing(present), wanted=Standing(wanted), dunned=dunned) == found


@pytest.mark.parametrize(
    "wrong",
    [
        {"past_due_days": 31},
        {"past_due_days": 0},
        {"reminder_days": (0,)},
        {"reminder_days": (14, 7)},
        {"reminder_days": (7, 7)},
    ],
)
def test_a_policy_that_makes_no_sense_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        DunningPolicy(**{"suspended_days": 30, **wrong})  # type: ignore[arg-type]


@pytest.fixture
def invoice(committed_cast: Cast) -> Invoice:
    """1.20 USD that Alice's organization owes since CLOSING, payable by transfer."""
    return invoiced(committed_cast.alice)


def _standing(invoice: Invoice) -> str:
    return str(Organization.objects.get(pk=invoice.organization_id).standing)


def _day(invoice: Invoice, days: int) -> None:
    """The sweep ``days`` after the invoice went out, twice."""
    for _ in range(2):
        collecting.dun(now=CLOSING + days * DAY, policy_now=POLICY)
        outbox.send_due(providers={}, now=CLOSING + days * DAY)


def test_an_unpaid_invoice_is_reminded_of_suspends_and_restores_when_paid(
    invoice: Invoice, committed_cast: Cast
) -> None:
    standings = []
    for day in (1, 7, 10, 15, 22, 30, 33):
        _day(invoice, day)
        standings.append((day, _standing(invoice), len(mail.outbox)))

    invoices.settle_paid(invoice=invoice, now=CLOSING + 34 * DAY, reason="The transfer came.")
    _day(invoice, 34)

    assert standings == [
        (1, "active", 0),
        (7, "active", 1),
        (10, "active", 1),
        (15, "past_due", 2),
        (22, "past_due", 3),
        (30, "suspended", 3),
        (33, "suspended", 3),
    ]
    assert (_standing(invoice), len(mail.outbox)) == ("active", 3)
    assert mail.outbox[0].to == ["alice@example.com"]
    assert "M-000001" in mail.outbox[0].subject
    assert "1.20 USD" in mail.outbox[0].subject


def test_whoever_pays_is_written_to_and_others_are_not(invoice: Invoice, committed_cast: Cast) -> None:
    Membership.objects.filter(user=committed_cast.bob.user).update(role=Role.BILLING)

    _day(invoice, 7)

    assert mail.outbox[0].to == ["alice@example.com", "bob@example.com"]


def test_after_a_pause_one_mail_is_sent_and_not_three(invoice: Invoice) -> None:
    _day(invoice, 25)

    assert len(mail.outbox) == 1
    assert OutboxMessage.objects.filter(topic=REMINDER).count() == 1


def test_an_organization_that_an_administrator_suspended_stays_so_when_it_pays(
    invoice: Invoice, committed_cast: Cast
) -> None:
    _day(invoice, 16)
    accounts.set_standing(
        organization=invoice.organization,
        standing=Standing.SUSPENDED,
        reason="Abuse.",
        by=Actor.person(committed_cast.ada),
    )

    invoices.settle_paid(invoice=invoice, now=CLOSING + 17 * DAY, reason="The transfer came.")
    _day(invoice, 17)

    assert _standing(invoice) == "suspended"


def test_a_disputed_invoice_suspends_nobody(invoice: Invoice) -> None:
    Invoice.objects.update(disputed_at=CLOSING + DAY)

    _day(invoice, 60)

    assert (_standing(invoice), len(mail.outbox)) == ("active", 0)


def test_a_reminder_that_was_paid_meanwhile_is_not_mailed(invoice: Invoice) -> None:
    collecting.dun(now=CLOSING + 7 * DAY, policy_now=POLICY)
    invoices.settle_paid(invoice=invoice, now=CLOSING + 7 * DAY, reason="The transfer came.")

    outbox.send_due(providers={}, now=CLOSING + 8 * DAY)

    assert mail.outbox == []
    assert not OutboxMessage.objects.filter(topic=REMINDER, sent_at=None).exists()
