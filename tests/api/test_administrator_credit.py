"""Bought credit over REST, for administrators: transfers that came, refunds, and usage that may not have arrived."""

import pytest

from moorage.accounts.models import AuditEntry, Scope
from moorage.billing import wallet_queries
from moorage.billing.models import PushStatus, Refund, TopUp, TopUpStatus, UsagePush
from tests.api.conftest import Caller, calling, error_of
from tests.billing.credit_rows import awaited_transfer, bought_by_card, stuck_push
from tests.cast import Cast, Person

REFUNDS = "admin/organizations/harbour/refunds"
WHY = {"reason": "Line 7 of the bank's list."}


@pytest.fixture
def stripe(settings: object) -> None:
    """Stripe can be spoken to; what is asked of it waits in the outbox."""
    settings.STRIPE_API_KEY = "sk_test_x"  # type: ignore[attr-defined]


def credit_of(person: Person) -> int:
    """Cents."""
    return int(wallet_queries.view(person.organization).credit_pico // 10**10)


def test_a_transfer_that_came_is_recorded_and_gives_credit_once(committed_cast: Cast) -> None:
    top_up, ada = awaited_transfer(committed_cast.alice), calling(committed_cast.charlie, Scope.ADMIN)
    (waiting,) = ada.get("admin/organizations/harbour/top-ups")["data"]

    answers = [ada("POST", f"admin/top-ups/{top_up.pk}/received", WHY) for _ in range(2)]

    assert (waiting["status"], waiting["transfer_reference"]) == ("started", top_up.checkout_reference)
    assert [(one.status_code, one.json()["status"]) for one in answers] == [(200, "paid")] * 2
    assert credit_of(committed_cast.alice) == 2500
    assert AuditEntry.objects.filter(action="top_up.transfer_recorded", subject=top_up.pk).exists()


def test_a_transfer_needs_a_reason_and_a_top_up(committed_cast: Cast) -> None:
    top_up, ada = awaited_transfer(committed_cast.alice), calling(committed_cast.charlie, Scope.ADMIN)

    for body in ({}, {"reason": ""}, {"reason": "  "}):
        assert error_of(ada("POST", f"admin/top-ups/{top_up.pk}/received", body), 422)["param"] == "reason"
    unknown = error_of(ada("POST", "admin/top-ups/top_x/received", WHY), 404)

    assert unknown["code"] == "top_up_not_found"
    assert TopUp.objects.get().status == TopUpStatus.STARTED
    assert credit_of(committed_cast.alice) == 0


def test_what_is_paid_at_the_provider_is_not_recorded_by_hand(cast: Cast, ada: Caller) -> None:
    top_up = bought_by_card(cast.alice)

    refused = error_of(ada("POST", f"admin/top-ups/{top_up.pk}/received", WHY), 409)

    assert refused["code"] == "top_up_changed"


def test_top_ups_are_listed_of_one_organization(cast: Cast, ada: Caller) -> None:
    bought_by_card(cast.alice)

    assert [one["amount"]["amount"] for one in ada.get("admin/organizations/harbour/top-ups")["data"]] == ["25.00"]
    assert ada.get(f"admin/organizations/{cast.charlie.organization.slug}/top-ups")["data"] == []
    error_of(ada("GET", "admin/organizations/nowhere/top-ups"), 404)


def test_unused_credit_is_paid_back_as_far_as_there_is_some(cast: Cast, ada: Caller, stripe: None) -> None:
    top_up = bought_by_card(cast.alice)

    some = ada("POST", REFUNDS, {"amount": "10.00", "reason": "Asked for.", "key": "1"})
    rest = ada("POST", REFUNDS, {"amount": "100", "reason": "They leave.", "key": "2"})
    nothing = error_of(ada("POST", REFUNDS, {"amount": "1", "reason": "More.", "key": "3"}), 409)

    assert (some.status_code, some.json()["amount"]["amount"]) == (201, "10.00")
    assert rest.json()["amount"]["amount"] == "15.00"
    assert rest.json()["refunds"][0] | {"id": "", "created_at": ""} == {
        "id": "",
        "top_up_id": top_up.pk,
        "status": "pending",
        "amount": {"pico": str(15 * 10**12), "amount": "15.00", "currency": "USD"},
        "reason": "They leave.",
        "created_by": Refund.objects.latest("created_at").created_by,
        "created_at": "",
    }
    assert nothing["code"] == "nothing_to_refund"
    assert credit_of(cast.alice) == 0


@pytest.mark.parametrize(
    "body",
    [{"amount": "10", "key": "1"}, {"amount": "10", "reason": " ", "key": "1"}, {"reason": "Asked for.", "key": "1"}],
)
def test_a_refund_needs_an_amount_and_a_reason(cast: Cast, ada: Caller, stripe: None, body: dict[str, str]) -> None:
    bought_by_card(cast.alice)

    error_of(ada("POST", REFUNDS, body), 422)

    assert credit_of(cast.alice) == 2500


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "NaN", "1e30", "x"])
def test_a_refund_is_of_whole_cents_above_zero(cast: Cast, ada: Caller, stripe: None, amount: str) -> None:
    bought_by_card(cast.alice)

    refused = error_of(ada("POST", REFUNDS, {"amount": amount, "reason": "Asked for.", "key": "1"}), 422)

    assert refused["param"] == "amount"
    assert not Refund.objects.exists()


def test_an_unknown_organization_is_paid_nothing_back(ada: Caller) -> None:
    error_of(ada("POST", "admin/organizations/nowhere/refunds", {"amount": "1", "reason": "So.", "key": "1"}), 404)


def test_pushes_that_wait_for_a_person_are_listed_by_their_state(cast: Cast, ada: Caller) -> None:
    uncertain = stuck_push(cast.alice.organization)
    rejected = stuck_push(cast.charlie.organization, PushStatus.REJECTED)

    shown = {state: ada.get(f"admin/usage-pushes{state}")["data"] for state in ("", "?state=uncertain")}

    assert [one["id"] for one in shown[""]] == [uncertain.pk, rejected.pk]
    (one,) = shown["?state=uncertain"]
    assert (one["identifier"], one["amount"]["amount"]) == (uncertain.identifier, "1.25")
    assert (one["organization"]["slug"], one["state"]) == ("harbour", "uncertain")
    error_of(ada("GET", "admin/usage-pushes?state=acked"), 422)


@pytest.mark.parametrize(("is_received", "status"), [(True, PushStatus.ACKED), (False, PushStatus.DROPPED)])
def test_a_push_is_decided_once_and_with_a_reason(
    cast: Cast, ada: Caller, is_received: bool, status: PushStatus
) -> None:
    address = f"admin/usage-pushes/{stuck_push(cast.alice.organization).pk}/resolve"
    body = {"is_received": is_received, "reason": "Read in the sums."}

    for missing in ("is_received", "reason"):
        error_of(ada("POST", address, {name: body[name] for name in body if name != missing}), 422)
    decided = ada("POST", address, body)
    again = ada("POST", address, body)

    assert decided.status_code == 204
    assert UsagePush.objects.get().status == status
    error_of(again, 409)
    assert ada.get("admin/usage-pushes")["data"] == []
    assert AuditEntry.objects.get(action="usage_push.resolved").detail["reason"] == "Read in the sums."
    error_of(ada("POST", "admin/usage-pushes/psh_x/resolve", body), 404)


def test_owners_do_none_of_this(cast: Cast, alice: Caller, stripe: None) -> None:
    top_up, push = bought_by_card(cast.alice), stuck_push(cast.alice.organization)

    answers = [
        alice("GET", "admin/organizations/harbour/top-ups"),
        alice("GET", "admin/usage-pushes"),
        alice("POST", REFUNDS, {"amount": "1", "reason": "Mine.", "key": "1"}),
        alice("POST", f"admin/top-ups/{top_up.pk}/received", WHY),
        alice("POST", f"admin/usage-pushes/{push.pk}/resolve", {"is_received": True, "reason": "Mine."}),
    ]

    for answer in answers:
        error_of(answer, 403)
    assert not Refund.objects.exists()
    assert UsagePush.objects.get().status == PushStatus.UNCERTAIN
