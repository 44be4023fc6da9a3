"""The administrator's page of an organization's top-ups, and the decision about usage that may not have arrived."""

import pytest
from django.test import Client

from moorage.accounts.models import AuditEntry
from moorage.billing import wallet_queries
from moorage.billing.models import PushStatus, Refund, TopUp, TopUpStatus, UsagePush
from tests.billing.credit_rows import awaited_transfer, bought_by_card, stuck_push
from tests.cast import Cast, Person
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of

PAGE = "/admin/organizations/harbour/top-ups"


@pytest.fixture
def stripe(settings: object) -> None:
    """Stripe can be spoken to; what is asked of it waits in the outbox."""
    settings.STRIPE_API_KEY = "sk_test_x"  # type: ignore[attr-defined]


def credit_of(person: Person) -> int:
    """Cents."""
    return int(wallet_queries.view(person.organization).credit_pico // 10**10)


def test_a_transfer_that_came_is_recorded_from_its_row(committed_cast: Cast, signed_in: SignIn) -> None:
    top_up, ada = awaited_transfer(committed_cast.alice), signed_in(committed_cast.ada)
    address = f"{PAGE}/{top_up.pk}/received"
    before = text_of(ada.get(PAGE))

    answer = ada.post(address, {"reason": "Line 7 of the bank's list."}, follow=True)

    top_up.refresh_from_db()
    after = text_of(answer)
    assert top_up.checkout_reference in before and f'action="{address}"' in before
    assert inline_code(before) == []
    assert "The transfer is recorded" in after and f'action="{address}"' not in after
    assert top_up.status == TopUpStatus.PAID
    assert credit_of(committed_cast.alice) == 2500
    assert AuditEntry.objects.get(action="top_up.transfer_recorded").actor == committed_cast.ada.id


def test_a_transfer_without_a_reason_is_not_recorded(committed_cast: Cast, signed_in: SignIn) -> None:
    top_up, ada = awaited_transfer(committed_cast.alice), signed_in(committed_cast.ada)

    answer = ada.post(f"{PAGE}/{top_up.pk}/received", {"reason": " "}, follow=True)

    assert "Say why" in text_of(answer)
    assert TopUp.objects.get().status == TopUpStatus.STARTED


def test_a_top_up_is_recorded_under_its_own_organization_alone(cast: Cast, ada: Client) -> None:
    top_up = bought_by_card(cast.charlie)

    assert ada.post(f"{PAGE}/{top_up.pk}/received", {"reason": "Wrong page."}).status_code == 404
    assert ada.get(f"{PAGE}/{top_up.pk}/received").status_code == 405
    assert ada.get("/admin/organizations/nowhere/top-ups").status_code == 404


def test_a_card_payment_has_no_form_to_record_it(cast: Cast, ada: Client) -> None:
    top_up = bought_by_card(cast.alice)

    answer = ada.post(f"{PAGE}/{top_up.pk}/received", {"reason": "By hand."}, follow=True)

    assert "Only a top-up by bank transfer" in text_of(answer)
    assert "/received" not in text_of(ada.get(PAGE))


def test_unused_credit_is_paid_back_and_listed(cast: Cast, ada: Client, stripe: None) -> None:
    bought_by_card(cast.alice)

    answer = ada.post(PAGE, {"amount": "30.00", "reason": "They leave.", "key": "1"}, follow=True)

    page = text_of(answer)
    assert "25.00 USD are on their way back" in page
    assert "They leave." in page and "On its way" in page
    assert credit_of(cast.alice) == 0
    assert AuditEntry.objects.get(action="credit.refunded").actor == cast.ada.id


@pytest.mark.parametrize(
    "sent",
    [
        {"amount": "1", "reason": "", "key": "1"},
        {"amount": "0", "reason": "So.", "key": "1"},
        {"amount": "0.001", "reason": "So.", "key": "1"},
    ],
)
def test_a_refund_needs_whole_cents_and_a_reason(cast: Cast, ada: Client, stripe: None, sent: dict[str, str]) -> None:
    bought_by_card(cast.alice)

    answer = ada.post(PAGE, sent)

    assert answer.status_code == 422
    assert credit_of(cast.alice) == 2500


def test_where_nothing_can_be_paid_back_the_page_says_so(cast: Cast, ada: Client) -> None:
    answer = ada.post(PAGE, {"amount": "1", "reason": "So.", "key": "1"})

    assert answer.status_code == 422
    assert "There is no unused paid credit" in text_of(answer)
    assert "No credit was bought yet" in text_of(answer)


def test_the_organizations_page_leads_to_its_top_ups(cast: Cast, ada: Client) -> None:
    assert f'href="{PAGE}"' in text_of(ada.get("/admin/organizations/harbour"))


@pytest.mark.parametrize(("verb", "status"), [("received", PushStatus.ACKED), ("not-received", PushStatus.DROPPED)])
def test_usage_that_may_not_have_arrived_is_decided_in_the_review(
    cast: Cast, ada: Client, verb: str, status: PushStatus
) -> None:
    push = stuck_push(cast.alice.organization)
    address = f"/admin/usage-pushes/{push.pk}/{verb}"
    before = text_of(ada.get("/admin/review"))

    without = ada.post(address, {"reason": ""}, follow=True)
    kept = UsagePush.objects.get().status
    ada.post(address, {"reason": "Read in the sums."})
    again = ada.post(address, {"reason": "Once more."}, follow=True)

    assert push.identifier in before and "1.25 USD" in before and address in before
    assert inline_code(before) == []
    assert "Say why" in text_of(without) and kept == PushStatus.UNCERTAIN
    assert UsagePush.objects.get().status == status
    assert "not waiting for a decision" in text_of(again)
    assert push.identifier not in text_of(ada.get("/admin/review"))


def test_a_push_knows_two_verbs(cast: Cast, ada: Client) -> None:
    push = stuck_push(cast.alice.organization)

    assert ada.post(f"/admin/usage-pushes/{push.pk}/lost", {"reason": "So."}).status_code == 404
    assert ada.post("/admin/usage-pushes/psh_x/received", {"reason": "So."}).status_code == 404
    assert UsagePush.objects.get().status == PushStatus.UNCERTAIN


def test_owners_find_none_of_this(cast: Cast, alice: Client, stripe: None) -> None:
    top_up, push = bought_by_card(cast.alice), stuck_push(cast.alice.organization)

    answers = [
        alice.get(PAGE),
        alice.post(PAGE, {"amount": "1", "reason": "Mine.", "key": "1"}),
        alice.post(f"{PAGE}/{top_up.pk}/received", {"reason": "Mine."}),
        alice.post(f"/admin/usage-pushes/{push.pk}/received", {"reason": "Mine."}),
    ]

    assert [one.status_code for one in answers] == [404] * 4
    assert not Refund.objects.exists()
    assert UsagePush.objects.get().status == PushStatus.UNCERTAIN
