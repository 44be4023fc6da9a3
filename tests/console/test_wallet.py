"""The wallet in the console: seen by every member, changed by who pays; an administrator says how it pays."""

import datetime as dt

import pytest
from django.test import Client

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import AuditEntry, Membership, Role
from moorage.billing import wallet_settings, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import BillingMode, GrantKind, TopUp, Wallet
from moorage.billing.wallet_settings import Preferences
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO
from tests.billing.test_wallets import charge
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of

EMPTY = {"alert_below": "", "below": "", "top_up": "", "monthly_most": ""}


@pytest.fixture
def credit(cast: Cast) -> None:
    """25 paid for, and 10 given for ten days."""
    harbour = cast.alice.organization
    for kind, pico, source, until in (
        (GrantKind.PAID, 25 * PICO, "payment", None),
        (GrantKind.PROMOTIONAL, 10 * PICO, "gift", clock.now() + dt.timedelta(days=10)),
    ):
        wallets.grant(
            organization=harbour,
            kind=kind,
            pico=pico,
            source=source,
            expires_at=until,
            by=MOORAGE,
            funded_by=Account.MEMORY_CLEARING if kind == GrantKind.PAID else None,
        )


def test_a_member_sees_credit_grants_and_movements(credit: None, cast: Cast, signed_in: SignIn) -> None:
    charge(cast.alice.organization, 12 * PICO, "a")

    answer = signed_in(cast.bob.user).get("/harbour/wallet")
    earlier = text_of(signed_in(cast.bob.user).get("/harbour/wallet?period=2026-10"))

    page = text_of(answer)
    assert answer.status_code == 200
    assert "23.00 USD" in page, "all that is left, what expires being used first"
    assert "Promotional credit added" in page and "10.00 USD" in page
    assert "Paid credit added" in page and "25.00 USD" in page
    assert "-12.00 USD" in earlier and "2026-10-15" in earlier
    assert inline_code(page) == []
    assert 'class="stack"' not in page, "no form that would be refused"


def test_owners_set_alerts_and_automatic_top_ups(alice: Client, cast: Cast) -> None:
    wanted = {"alert_below": "10", "is_automatic": "on", "below": "5", "top_up": "25.00", "monthly_most": "100"}

    sent = alice.post("/harbour/wallet", wanted)

    assert sent.status_code == 302
    assert wallet_settings.preferences_of(Wallet.objects.get(pk=cast.alice.organization.pk)) == Preferences(
        alert_below_pico=10 * PICO,
        is_automatic=True,
        below_pico=5 * PICO,
        top_up_cents=2500,
        monthly_most_cents=10_000,
    )
    page = text_of(alice.get("/harbour/wallet"))
    assert 'value="25.00"' in page and "checked" in page
    assert AuditEntry.objects.filter(action="wallet.settings_changed").count() == 1


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"alert_below": "-1"}, "alert_below"),
        ({"is_automatic": "on", "top_up": "25", "monthly_most": "100"}, "below"),
        ({"is_automatic": "on", "below": "5", "top_up": "0.50", "monthly_most": "100"}, "top_up"),
        ({"is_automatic": "on", "below": "5", "top_up": "25", "monthly_most": "10"}, "monthly_most"),
        ({"is_automatic": "on", "below": "5", "top_up": "25.001", "monthly_most": "100"}, "top_up"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_beside_its_field(
    alice: Client, cast: Cast, wanted: dict[str, str], field: str
) -> None:
    answer = alice.post("/harbour/wallet", {**EMPTY, **wanted})

    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in text_of(answer)
    assert not Wallet.objects.get(pk=cast.alice.organization.pk).is_automatic


def test_buying_credit_leads_to_the_payment(committed_cast: Cast, signed_in: SignIn) -> None:
    alice = signed_in(committed_cast.alice.user)

    sent = alice.post("/harbour/wallet/top-up", {"amount": "25"})
    refused = alice.post("/harbour/wallet/top-up", {"amount": "0.50"})

    bought = TopUp.objects.get()
    assert (bought.cents, bought.organization_id) == (2500, committed_cast.alice.organization.pk)
    assert sent.status_code == 302
    assert sent["Location"].startswith("http")
    assert refused.status_code == 422
    assert 'id="id_amount_error"' in text_of(refused)


def test_who_pays_changes_it_and_others_only_look(cast: Cast, signed_in: SignIn) -> None:
    bob = signed_in(cast.bob.user)
    refused = [bob.post("/harbour/wallet", EMPTY), bob.post("/harbour/wallet/top-up", {"amount": "25"})]
    Membership.objects.filter(user=cast.bob.user).update(role=Role.BILLING)
    allowed = bob.post("/harbour/wallet", {**EMPTY, "alert_below": "3"})

    assert [one.status_code for one in refused] == [403, 403]
    assert allowed.status_code == 302
    assert not TopUp.objects.exists()


def test_a_stranger_finds_no_wallet(cast: Cast, signed_in: SignIn) -> None:
    charlie = signed_in(cast.charlie.user)

    assert charlie.get("/harbour/wallet").status_code == 404
    assert charlie.post("/harbour/wallet", EMPTY).status_code == 404
    assert charlie.post("/harbour/wallet/top-up", {"amount": "25"}).status_code == 404
    assert charlie.get("/admin/organizations/harbour/wallet").status_code == 404


def test_the_page_says_when_nothing_is_left(alice: Client, cast: Cast) -> None:
    wallet_settings.set_mode(
        organization=cast.alice.organization, mode=BillingMode.PREPAID, reason="They pay first.", by=cast.alice.actor
    )

    assert "Nothing is left" in text_of(alice.get("/harbour/wallet"))


def test_the_page_says_when_little_is_left(credit: None, alice: Client, cast: Cast) -> None:
    alice.post("/harbour/wallet", {**EMPTY, "alert_below": "30"})
    above = text_of(alice.get("/harbour/wallet"))
    charge(cast.alice.organization, 12 * PICO, "a")

    assert "Less than 30.00 USD is left" not in above
    assert "Less than 30.00 USD is left" in text_of(alice.get("/harbour/wallet"))


def test_an_administrator_sets_how_an_organization_pays(cast: Cast, signed_in: SignIn) -> None:
    ada = signed_in(cast.ada)
    unsaid = ada.post("/admin/organizations/harbour/wallet", {"mode": "postpaid", "credit_limit": "50", "reason": " "})
    wrong = ada.post("/admin/organizations/harbour/wallet", {"mode": "prepaid", "credit_limit": "50", "reason": "So."})

    done = ada.post("/admin/organizations/harbour/wallet", {"mode": "postpaid", "credit_limit": "50", "reason": "So."})

    assert [unsaid.status_code, wrong.status_code, done.status_code] == [422, 422, 302]
    assert 'id="id_credit_limit_error"' in text_of(wrong)
    assert Wallet.objects.get(pk=cast.alice.organization.pk).credit_limit_pico == 50 * PICO
    entry = AuditEntry.objects.get(action="wallet.mode_changed")
    assert entry.detail["after"] == "postpaid, up to 50.00 USD" and entry.detail["reason"] == "So."
    assert "up to 50.00 USD" in text_of(ada.get("/admin/organizations/harbour/wallet"))


def test_a_month_that_cannot_be_is_not_found(alice: Client, cast: Cast) -> None:
    assert alice.get("/harbour/wallet?period=2026-13").status_code == 404
    assert alice.get(f"/harbour/wallet?period={Period.containing(clock.now())}").status_code == 200
