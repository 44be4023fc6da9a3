"""Ways to pay, in the console and by REST, walked through the twin's pages as a person would."""

import pytest
from django.test import Client

from moorage.accounts.models import AuditEntry, Membership, Role, Scope
from moorage.billing import ledger, topups
from moorage.billing.ledger import Account
from moorage.billing.models import Collection, TopUp, TopUpStatus
from moorage.kernel.money import PICO_PER_CENT
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of
from tests.stripe_twin.process import DECLINED_CARD, TwinProcess


@pytest.fixture
def browser(committed_cast: Cast, signed_in: SignIn) -> Client:
    """Alice's; she owns harbour."""
    return signed_in(committed_cast.alice.user)


def _path(url: str) -> str:
    return "/" + url.partition("//")[2].partition("/")[2]


def _save_card(browser: Client, twin: TwinProcess) -> None:
    page = browser.post("/harbour/payment/method")["Location"]
    assert page.startswith(f"{twin.url}/pay/cs_")
    browser.get(_path(twin.pay(page.rpartition("/")[2])))


def test_a_card_is_saved_on_the_providers_page_and_shown_by_its_end(browser: Client, twin: TwinProcess) -> None:
    before = text_of(browser.get("/harbour/payment"))

    _save_card(browser, twin)

    page = text_of(browser.get("/harbour/payment"))
    assert "Add a payment method" in before
    assert "Visa ···· 4242" in page
    assert "2030-12" in page
    assert "4242424242424242" not in page
    assert inline_code(page) == []
    assert AuditEntry.objects.filter(action="payment_method.saved").count() == 1


def test_nothing_is_saved_by_coming_back_from_somebody_elses_page(
    browser: Client, twin: TwinProcess, committed_cast: Cast, signed_in: SignIn
) -> None:
    charlie = signed_in(committed_cast.charlie.user)
    theirs = charlie.post("/island/payment/method")["Location"].rpartition("/")[2]
    twin.pay(theirs)
    browser.post("/harbour/payment/method")

    answers = [browser.get(f"/harbour/payment/saved?page={page}") for page in (theirs, "cs_nowhere", "")]

    assert {answer.status_code for answer in answers} == {302}
    assert not Collection.objects.exclude(method_reference="").exists()


def test_a_card_changed_at_the_provider_is_seen_by_whoever_comes_back(browser: Client, twin: TwinProcess) -> None:
    _save_card(browser, twin)
    portal = browser.post("/harbour/payment/portal")["Location"]
    (method,) = twin.all("payment_method")
    twin.control("change", id=method["id"], fields={"card": {**method["card"], "last4": "1881"}})

    page = text_of(browser.get("/harbour/payment?from=portal"))

    assert portal.startswith(f"{twin.url}/portal/")
    assert "Visa ···· 1881" in page


def test_invoices_are_taken_from_the_saved_method_only_when_there_is_one(browser: Client, twin: TwinProcess) -> None:
    refused = browser.post("/harbour/payment/automatic", {"is_wanted": "yes"}, follow=True)
    _save_card(browser, twin)

    browser.post("/harbour/payment/automatic", {"is_wanted": "yes"})

    assert "There is no saved payment method" in text_of(refused)
    assert Collection.objects.get().is_charged_automatically
    assert "are taken from it" in text_of(browser.get("/harbour/payment"))


def test_a_top_up_is_paid_on_the_providers_page_and_is_credit_when_the_customer_comes_back(
    browser: Client, twin: TwinProcess, committed_cast: Cast
) -> None:
    page = browser.post("/harbour/wallet/top-up", {"amount": "25.00"})["Location"]

    back = twin.pay(page.rpartition("/")[2])
    shown = text_of(browser.get(_path(back)))
    again = text_of(browser.get(_path(back)))

    assert "The credit is in your wallet." in shown
    assert "25.00 USD" in again
    assert inline_code(shown) == []
    balance = ledger.balance(organization=committed_cast.alice.organization, kind=Account.WALLET)
    assert balance == -2500 * PICO_PER_CENT


def test_whoever_leaves_the_payment_page_is_told_that_nothing_was_charged(browser: Client, twin: TwinProcess) -> None:
    browser.post("/harbour/wallet/top-up", {"amount": "25.00"})
    top_up = TopUp.objects.get()

    page = text_of(browser.get(f"/harbour/top-ups/{top_up.id}?cancelled=yes"))

    assert "Nothing was charged." in page
    assert top_up.payment_url in page
    assert "hx-trigger" not in page


def test_a_provider_that_does_not_answer_leaves_a_page_that_waits(
    browser: Client, twin: TwinProcess, committed_cast: Cast
) -> None:
    twin.fault("drop", "/v1/checkout/sessions", times=9, method="POST")

    url = browser.post("/harbour/wallet/top-up", {"amount": "25.00"})["Location"]

    top_up = TopUp.objects.get()
    assert url == topups.page_of(top_up)
    assert "We wait to hear of the payment." in text_of(browser.get(_path(url)))
    assert browser.post("/harbour/payment/method", follow=True).status_code == 200


def test_a_declined_card_on_the_page_changes_nothing(browser: Client, twin: TwinProcess) -> None:
    page = browser.post("/harbour/wallet/top-up", {"amount": "25.00"})["Location"]

    with pytest.raises(Exception, match="402"):
        twin.pay(page.rpartition("/")[2], card=DECLINED_CARD)

    browser.get(f"/harbour/top-ups/{TopUp.objects.get().id}")
    assert TopUp.objects.get().status == TopUpStatus.STARTED


def test_by_bank_transfer_the_page_says_where_to_and_with_which_reference(browser: Client, settings: object) -> None:
    settings.MOORAGE_BANK_DETAILS = "Harbour Bank\nIBAN XX00 1234"  # type: ignore[attr-defined]

    url = browser.post("/harbour/wallet/top-up", {"amount": "25.00"})["Location"]
    page, ways = text_of(browser.get(_path(url))), text_of(browser.get("/harbour/payment"))

    assert TopUp.objects.get().checkout_reference in page
    assert "IBAN XX00 1234" in page
    assert "IBAN XX00 1234" in ways
    assert "Add a payment method" not in ways
    assert browser.post("/harbour/payment/method", follow=True).status_code == 200
    assert "does not offer this" in text_of(browser.post("/harbour/payment/portal", follow=True))


def test_who_may_not_pay_sees_and_changes_nothing_and_a_stranger_finds_nothing(
    browser: Client, committed_cast: Cast, signed_in: SignIn
) -> None:
    url = browser.post("/harbour/wallet/top-up", {"amount": "25.00"})["Location"]
    bob, charlie = signed_in(committed_cast.bob.user), signed_in(committed_cast.charlie.user)

    developer = [bob.get("/harbour/payment"), bob.post("/harbour/payment/method"), bob.get(_path(url))]
    stranger = [charlie.get("/harbour/payment"), charlie.post("/harbour/payment/method"), charlie.get(_path(url))]
    Membership.objects.filter(user=committed_cast.bob.user).update(role=Role.BILLING)

    assert [answer.status_code for answer in developer] == [200, 403, 200]
    assert [answer.status_code for answer in stranger] == [404, 404, 404]
    assert charlie.get(_path(url).replace("/harbour/", "/island/")).status_code == 404
    assert bob.post("/harbour/payment/automatic", {"is_wanted": "no"}).status_code == 302


def test_rest_says_how_an_organization_pays_and_starts_the_same_pages(
    browser: Client, twin: TwinProcess, committed_cast: Cast
) -> None:
    key = committed_cast.alice.key(Scope.MANAGE)
    client = Client(headers={"authorization": f"Bearer {key}"})
    before = client.get("/api/v1/payment").json()
    setup = client.post("/api/v1/payment/setup", content_type="application/json")
    browser.get(_path(twin.pay(setup.json()["url"].rpartition("/")[2])))

    after = client.get("/api/v1/payment").json()
    automatic = client.put(
        "/api/v1/payment", {"is_charged_automatically": True}, content_type="application/json"
    ).json()
    made = client.post("/api/v1/wallet/top-ups", {"amount": "25.00"}, content_type="application/json").json()
    shown = client.get(f"/api/v1/wallet/top-ups/{made['id']}").json()

    assert (before["provider"], before["method"]) == ("stripe", None)
    assert "saved_method" in before["capabilities"]
    assert "meter" not in before["capabilities"]
    assert after["method"] == {"brand": "visa", "last4": "4242", "expires": "2030-12"}
    assert automatic["is_charged_automatically"] is True
    assert client.post("/api/v1/payment/portal", content_type="application/json").status_code == 201
    assert (shown["status"], shown["payment_url"]) == ("started", made["checkout_url"])
    assert (
        Client(headers={"authorization": f"Bearer {committed_cast.charlie.key(Scope.MANAGE)}"})
        .get(f"/api/v1/wallet/top-ups/{made['id']}")
        .status_code
        == 404
    )


def test_rest_refuses_what_the_provider_cannot_do_by_its_code(committed_cast: Cast) -> None:
    client = Client(headers={"authorization": f"Bearer {committed_cast.alice.key(Scope.MANAGE)}"})

    answers = [client.post(f"/api/v1/payment/{what}", content_type="application/json") for what in ("setup", "portal")]

    assert client.get("/api/v1/payment").json()["capabilities"] == []
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(409, "not_offered")] * 2
