"""The wallet over REST."""

import pytest
from django.test import Client

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import AuditEntry, Scope
from moorage.billing import wallets
from moorage.billing.ledger import Account
from moorage.billing.models import GrantKind, TopUp, Wallet
from moorage.kernel.money import PICO
from tests.api.conftest import Caller, calling, error_of
from tests.billing.test_wallets import charge
from tests.cast import Cast


@pytest.fixture
def credit(cast: Cast) -> None:
    """25 paid for, of which 10 were used in three charges."""
    wallets.grant(
        organization=cast.alice.organization,
        kind=GrantKind.PAID,
        pico=25 * PICO,
        source="payment",
        by=MOORAGE,
        funded_by=Account.MEMORY_CLEARING,
    )
    for key, pico in (("a", 3 * PICO), ("b", 6 * PICO), ("c", PICO)):
        charge(cast.alice.organization, pico, key)


def test_the_wallet_is_shown_exactly(alice: Caller, credit: None) -> None:
    shown = alice.get("wallet")

    assert shown["mode"] == "postpaid" and shown["credit_limit"] is None and shown["spendable"] is None
    assert shown["balance"] == {"pico": str(15 * PICO), "amount": "15.00", "currency": "USD"}
    assert shown["owed"]["amount"] == "0.00"
    grant = shown["grants"][0]
    assert (grant["kind"], grant["amount"]["amount"], grant["remaining"]["amount"]) == ("paid", "25.00", "15.00")


def test_movements_come_in_pages_and_add_up_to_the_balance(alice: Caller, credit: None) -> None:
    first = alice.get("wallet/movements?limit=3")
    second = alice.get(f"wallet/movements?limit=3&cursor={first['next_cursor']}")

    rows = first["data"] + second["data"]
    assert second["next_cursor"] is None
    assert [row["kind"] for row in rows] == ["credit_used"] * 3 + ["credit_granted"]
    assert sum(int(row["amount"]["pico"]) for row in rows) == 15 * PICO
    assert rows[-1]["grant_id"] is not None and rows[0]["grant_id"] is None


def test_settings_are_replaced_as_a_whole(alice: Caller, cast: Cast) -> None:
    wanted = {"alert_below": "10", "is_automatic": True, "below": "5", "top_up": "25.00", "monthly_most": "100"}

    answer = alice("PUT", "wallet", wanted)
    alice("PUT", "wallet", {"alert_below": "3.5"})

    assert answer.status_code == 200
    assert answer.json()["automatic"] == {
        "is_on": True,
        "below": "5.00",
        "top_up": "25.00",
        "monthly_most": "100.00",
        "saved_method": "",
    }
    wallet = Wallet.objects.get(pk=cast.alice.organization.pk)
    assert (wallet.alert_below_pico, wallet.is_automatic) == (3 * PICO + PICO // 2, False)


def test_a_setting_that_makes_no_sense_is_named(alice: Caller, cast: Cast) -> None:
    refused = alice("PUT", "wallet", {"is_automatic": True, "below": "5", "top_up": "25", "monthly_most": "10"})
    broken = alice("PUT", "wallet", {"is_automatic": True, "below": "5", "top_up": "25.001", "monthly_most": "90"})

    assert refused.status_code == broken.status_code == 422
    assert (error_of(refused, 422)["code"], error_of(refused, 422)["param"]) == ("invalid_wallet", "monthly_most")
    assert error_of(broken, 422)["param"] == "top_up"


def test_a_top_up_is_started_with_the_address_of_its_payment(committed_cast: Cast) -> None:
    alice = calling(committed_cast.alice, Scope.MANAGE)

    answer = alice("POST", "wallet/top-ups", {"amount": "25.00"})
    refused = alice("POST", "wallet/top-ups", {"amount": "0.10"})

    made = TopUp.objects.get()
    assert answer.status_code == 201
    assert answer.json()["id"] == made.id and answer.json()["amount"]["amount"] == "25.00"
    assert answer.json()["checkout_url"].startswith("http")
    assert refused.status_code == 422


def test_a_wallet_is_its_own_organizations(charlie: Caller, credit: None) -> None:
    assert charlie.get("wallet")["balance"]["pico"] == "0"
    assert charlie.get("wallet/movements")["data"] == []


def test_an_administrator_sets_how_an_organization_pays(ada: Caller, alice: Caller, cast: Cast) -> None:
    refused = alice("PUT", "admin/organizations/harbour/billing-mode", {"mode": "prepaid", "reason": "So."})
    unknown = ada("PUT", "admin/organizations/nowhere/billing-mode", {"mode": "prepaid", "reason": "So."})
    done = ada("PUT", "admin/organizations/harbour/billing-mode", {"mode": "prepaid", "reason": "So."})
    wrong = ada(
        "PUT",
        "admin/organizations/harbour/billing-mode",
        {"mode": "prepaid", "credit_limit": "5", "reason": "So."},
    )

    assert [refused.status_code, unknown.status_code, done.status_code, wrong.status_code] == [403, 404, 200, 422]
    assert done.json()["mode"] == "prepaid" and done.json()["spendable"]["pico"] == "0"
    assert error_of(wrong, 422)["param"] == "credit_limit"
    assert AuditEntry.objects.filter(action="wallet.mode_changed").count() == 1


def test_nobody_sees_a_wallet_without_a_key(db: None) -> None:
    assert Client().get("/api/v1/wallet").status_code == 401
