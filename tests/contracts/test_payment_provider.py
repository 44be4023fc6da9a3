"""One contract for every payment provider: memory, bank transfer, and Stripe's SDK against the twin."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator

import pytest

from moorage.billing.payments import (
    Capability,
    CreditNoteDocument,
    Customer,
    DocumentLine,
    InvoiceDocument,
    LineKind,
    NotSupported,
    Payment,
    PaymentProvider,
    PaymentStatus,
    ProviderDisputeStatus,
    ProviderRefused,
    ProviderStatus,
    ProviderUnavailable,
    ReferenceUnknown,
    RefundDocument,
    TopUpDocument,
    UsageReport,
)
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.payments_stripe import API_VERSION, StripeProvider, StripeSettings
from moorage.billing.payments_transfer import TransferProvider
from moorage.kernel import clock
from tests.stripe_twin.process import API_KEY, CARD, DECLINED_CARD, TwinProcess, running

CUSTOMER = Customer(organization_id="org_a", name="Harbour", email="alice@example.com")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Harness:
    """A provider, and what its customer, or somebody at the provider, would do."""

    provider: PaymentProvider
    #: Pays an invoice, or what a top-up's page is about.
    pay: Callable[[str], object]
    #: Saves a card for a customer: by its number's end.
    save_card: Callable[[str, str], object] | None = None
    #: A payment is disputed; the dispute's reference.
    dispute: Callable[[str], str] | None = None
    #: The banks decide.
    close_dispute: Callable[[str, ProviderDisputeStatus], object] | None = None

    def issue(self, **changes: object) -> str:
        """Issues an invoice of 3.21 USD; its reference."""
        document = self.document(**changes)
        return self.provider.issue_invoice(document, idempotency_key=f"issue:{document.invoice_id}").reference

    def customer(self) -> str:
        """The customer that everything here is about."""
        return self.provider.ensure_customer(CUSTOMER, idempotency_key="customer:org_a")

    def document(self, **changes: object) -> InvoiceDocument:
        """An invoice with two lines and one of nothing."""
        plain = InvoiceDocument(
            invoice_id="inv_1",
            number="M-000001",
            customer_reference=self.customer(),
            currency="USD",
            total_cents=321,
            lines=(
                DocumentLine(description="demo/llm: input tokens", amount_cents=300),
                DocumentLine(description="demo/llm: output tokens", amount_cents=21),
                DocumentLine(description="demo/llm: cached input tokens", amount_cents=0),
            ),
            statement_sha256="ab" * 32,
            period="2026-11",
            due_days=14,
        )
        return dataclasses.replace(plain, **changes)

    def credit_note(self, invoice_reference: str, **changes: object) -> CreditNoteDocument:
        """It takes off a dollar of what is owed."""
        plain = CreditNoteDocument(
            credit_note_id="cn_1",
            number="C-000001",
            invoice_reference=invoice_reference,
            currency="USD",
            owed_cents=100,
            refund_cents=0,
            reason="A mistake.",
        )
        return dataclasses.replace(plain, **changes)

    def top_up(self, **changes: object) -> TopUpDocument:
        """Credit for 25 USD."""
        plain = TopUpDocument(
            top_up_id="top_000000000001",
            customer_reference=self.customer(),
            currency="USD",
            cents=2500,
            asked_at=clock.now(),
            return_url="https://console.example/harbour/top-ups/top_1",
            cancel_url="https://console.example/harbour/top-ups/top_1?cancelled=yes",
        )
        return dataclasses.replace(plain, **changes)

    def paid(self, **changes: object) -> Payment:
        """A top-up that the customer has paid on its page."""
        document = self.top_up(**changes)
        page = self.provider.start_top_up(document, idempotency_key=f"top_up:{document.top_up_id}")
        self.pay(page.reference)
        return self.provider.fetch_payment(page.reference)

    def can(self, capability: Capability) -> bool:
        """Whether the provider has it. Where it has not, every verb that needs it says so, and that is all."""
        if capability in self.provider.capabilities:
            return True
        for verb in _verbs(self)[capability]:
            with pytest.raises(NotSupported) as refused:
                verb()
            assert refused.value.capability is capability
        return False


def _verbs(harness: Harness) -> dict[Capability, list[Callable[[], object]]]:
    provider, now = harness.provider, clock.now()
    note = harness.credit_note("x")
    back = RefundDocument(refund_id="ref_1", payment_reference="x", currency="USD", cents=1)
    report = UsageReport(identifier="u1", customer_reference="x", value_micro=1, at=now)
    return {
        Capability.SAVED_METHOD: [
            lambda: provider.start_setup(
                "x", currency="USD", return_url="https://a", cancel_url="https://b", idempotency_key="k"
            ),
            lambda: provider.finish_setup("x", customer_reference="x"),
            lambda: provider.saved_method("x"),
            lambda: provider.charge_saved(harness.top_up(), idempotency_key="k"),
        ],
        Capability.PORTAL: [lambda: provider.open_portal("x", return_url="https://a")],
        Capability.REFUND: [
            lambda: provider.refund(back, idempotency_key="k"),
            lambda: provider.fetch_refund("x"),
        ],
        Capability.CREDIT_NOTE: [lambda: provider.issue_credit_note(note, idempotency_key="k")],
        Capability.DISPUTE: [lambda: provider.fetch_dispute("x")],
        Capability.METER: [
            lambda: provider.push_usage(report, idempotency_key="k"),
            lambda: provider.usage_total("x", start=now, end=now),
        ],
    }


@pytest.fixture(scope="module")
def twin() -> Iterator[TwinProcess]:
    with running() as started:
        yield started


@pytest.fixture
def fresh_twin(twin: TwinProcess) -> TwinProcess:
    twin.control("forget")
    return twin


METER = "moorage_usage_microusd"


def _stripe(twin: TwinProcess, meter: str = "") -> StripeProvider:
    return StripeProvider(StripeSettings(api_key=API_KEY, base_url=twin.url, meter=meter))


@pytest.fixture(params=["memory", "transfer", "stripe"])
def harness(request: pytest.FixtureRequest, db: None) -> Harness:
    if request.param == "memory":
        memory = MemoryProvider(has_meter=True)
        return Harness(
            provider=memory,
            pay=memory.pay,
            save_card=lambda customer, last4: memory.save_card(customer, last4=last4),
            dispute=memory.dispute,
            close_dispute=memory.close_dispute,
        )
    if request.param == "transfer":
        transfer = TransferProvider()
        return Harness(provider=transfer, pay=lambda reference: transfer.record(reference, received_at=clock.now()))
    fresh: TwinProcess = request.getfixturevalue("fresh_twin")
    provider = _stripe(fresh, METER)
    provider._client.v1.billing.meters.create(
        {"display_name": "Usage", "event_name": METER, "default_aggregation": {"formula": "sum"}}
    )

    def save_card(customer: str, last4: str) -> None:
        page = provider.start_setup(
            customer,
            currency="USD",
            return_url="https://a.example",
            cancel_url="https://b.example",
            idempotency_key=f"setup:{last4}",
        )
        fresh.pay(page.reference, card={"4242": CARD, "0341": DECLINED_CARD}[last4])
        provider.finish_setup(page.reference, customer_reference=customer)

    def dispute(reference: str) -> str:
        intent = reference
        if reference.startswith("in_"):
            (intent,) = [
                one["payment"]["payment_intent"] for one in fresh.all("invoice_payment") if one["invoice"] == reference
            ]
        return str(fresh.control("dispute", payment_intent=intent)["id"])

    return Harness(
        provider=provider,
        pay=fresh.pay,
        save_card=save_card,
        dispute=dispute,
        close_dispute=lambda reference, status: fresh.control("close_dispute", id=reference, status=str(status)),
    )


def test_a_customer_is_made_once(harness: Harness) -> None:
    first = harness.provider.ensure_customer(CUSTOMER, idempotency_key="customer:org_a")
    second = harness.provider.ensure_customer(CUSTOMER, idempotency_key="customer:org_a")

    assert first == second != ""


def test_an_issued_invoice_is_open_with_our_total_and_our_names(harness: Harness) -> None:
    reference = harness.issue()

    found = harness.provider.fetch_invoice(reference)
    assert found.status is ProviderStatus.OPEN
    assert (found.total_cents, found.paid_cents, found.currency) == (321, 0, "USD")
    assert (found.invoice_id, found.statement_sha256) == ("inv_1", "ab" * 32)
    assert found.customer_reference == harness.document().customer_reference


def test_issuing_again_gives_the_same_invoice(harness: Harness) -> None:
    first, second = harness.issue(), harness.issue()

    assert first == second


def test_a_paid_invoice_says_so_and_how_much(harness: Harness) -> None:
    reference = harness.issue()

    harness.pay(reference)

    found = harness.provider.fetch_invoice(reference)
    assert (found.status, found.paid_cents) == (ProviderStatus.PAID, 321)


def test_a_void_invoice_stays_void_and_voiding_again_does_nothing(harness: Harness) -> None:
    reference = harness.issue()

    harness.provider.void_invoice(reference, idempotency_key="void:inv_1")
    harness.provider.void_invoice(reference, idempotency_key="void:inv_1")

    assert harness.provider.fetch_invoice(reference).status is ProviderStatus.VOID


def test_a_paid_invoice_is_not_voided(harness: Harness) -> None:
    reference = harness.issue()
    harness.pay(reference)

    with pytest.raises(ProviderRefused):
        harness.provider.void_invoice(reference, idempotency_key="void:inv_1")


def test_an_unknown_reference_is_said_to_be_unknown(harness: Harness) -> None:
    with pytest.raises(ReferenceUnknown):
        harness.provider.fetch_invoice("in_nowhere")
    with pytest.raises(ReferenceUnknown):
        harness.provider.void_invoice("in_nowhere", idempotency_key="void:nowhere")


def test_two_invoices_are_two(harness: Harness) -> None:
    assert harness.issue() != harness.issue(invoice_id="inv_2", number="M-000002")


def test_credit_that_was_applied_and_tax_are_lines_like_others(harness: Harness) -> None:
    lines = (
        DocumentLine(description="demo/llm: input tokens", amount_cents=500),
        DocumentLine(description="Credit applied", amount_cents=-300, kind=LineKind.CREDIT),
        DocumentLine(description="VAT 20 %", amount_cents=40, kind=LineKind.TAX),
    )

    reference = harness.issue(lines=lines, total_cents=240)

    assert harness.provider.fetch_invoice(reference).total_cents == 240


def test_a_credit_note_takes_off_what_is_owed_once(harness: Harness) -> None:
    if not harness.can(Capability.CREDIT_NOTE):
        return
    note = harness.credit_note(harness.issue(), owed_cents=100)

    first = harness.provider.issue_credit_note(note, idempotency_key="cn_1")
    second = harness.provider.issue_credit_note(note, idempotency_key="cn_1")

    assert first == second != ""
    assert harness.provider.fetch_invoice(note.invoice_reference).credited_cents == 100
    harness.pay(note.invoice_reference)
    paid = harness.provider.fetch_invoice(note.invoice_reference)
    assert (paid.status, paid.paid_cents, paid.total_cents) == (ProviderStatus.PAID, 221, 321)


def test_a_credit_note_of_more_than_the_invoice_is_refused(harness: Harness) -> None:
    if not harness.can(Capability.CREDIT_NOTE):
        return
    note = harness.credit_note(harness.issue(), owed_cents=322)

    with pytest.raises(ProviderRefused):
        harness.provider.issue_credit_note(note, idempotency_key="cn_1")


def test_a_saved_method_is_known_by_its_brand_and_last_digits(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return
    customer = harness.customer()
    before = harness.provider.saved_method(customer)
    page = harness.provider.start_setup(
        customer, currency="USD", return_url="https://a.example", cancel_url="https://b.example", idempotency_key="k"
    )
    waiting = harness.provider.finish_setup(page.reference, customer_reference=customer)

    assert harness.save_card is not None
    harness.save_card(customer, "4242")

    found = harness.provider.saved_method(customer)
    assert (before, waiting) == (None, None)
    assert found is not None
    assert (found.brand, found.last4, found.expires, found.customer_reference) == ("visa", "4242", "2030-12", customer)


def test_another_customers_page_gives_nothing(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return
    page = harness.provider.start_setup(
        harness.customer(),
        currency="USD",
        return_url="https://a.example",
        cancel_url="https://b.example",
        idempotency_key="k",
    )

    assert harness.provider.finish_setup(page.reference, customer_reference="somebody_else") is None


def test_an_invoice_is_taken_from_the_saved_method_where_that_was_asked_for(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return
    assert harness.save_card is not None
    harness.save_card(harness.customer(), "4242")

    reference = harness.issue(is_charged_automatically=True)

    assert harness.provider.fetch_invoice(reference).status is ProviderStatus.PAID


def test_an_invoice_that_the_saved_method_declines_stays_open(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return
    assert harness.save_card is not None
    harness.save_card(harness.customer(), "0341")

    first = harness.issue(is_charged_automatically=True)
    second = harness.issue(is_charged_automatically=True)

    assert first == second
    assert harness.provider.fetch_invoice(first).status is ProviderStatus.OPEN


def test_the_portal_is_a_page(harness: Harness) -> None:
    if not harness.can(Capability.PORTAL):
        return

    assert harness.provider.open_portal(harness.customer(), return_url="https://a.example").startswith("http")


def test_a_top_up_waits_for_its_payment_and_says_what_it_is_about(harness: Harness) -> None:
    document = harness.top_up()

    page = harness.provider.start_top_up(document, idempotency_key="top_up:1")
    again = harness.provider.start_top_up(document, idempotency_key="top_up:1")

    waiting = harness.provider.fetch_payment(page.reference)
    assert page == again
    assert bool(page.url) is (Capability.PAYMENT_PAGE in harness.provider.capabilities)
    assert (waiting.status, waiting.cents, waiting.paid_cents, waiting.currency) == ("pending", 2500, 0, "USD")
    assert (waiting.top_up_id, waiting.customer_reference) == (document.top_up_id, harness.customer())


def test_a_paid_top_up_says_so_by_its_page_and_by_its_payment(harness: Harness) -> None:
    paid = harness.paid()

    by_payment = harness.provider.fetch_payment(paid.reference)
    assert (paid.status, paid.paid_cents, paid.top_up_id) == (PaymentStatus.PAID, 2500, "top_000000000001")
    assert (by_payment.status, by_payment.paid_cents, by_payment.top_up_id) == ("paid", 2500, "top_000000000001")


def test_the_saved_method_is_charged_once_for_a_top_up(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return
    assert harness.save_card is not None
    harness.save_card(harness.customer(), "4242")

    first = harness.provider.charge_saved(harness.top_up(), idempotency_key="charge:1")
    second = harness.provider.charge_saved(harness.top_up(), idempotency_key="another key, a day later")

    assert first.reference == second.reference
    assert (first.status, first.paid_cents, first.cents) == (PaymentStatus.PAID, 2500, 2500)


def test_a_declined_card_is_a_payment_that_failed_and_says_why(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return
    assert harness.save_card is not None
    harness.save_card(harness.customer(), "0341")

    declined = harness.provider.charge_saved(harness.top_up(), idempotency_key="charge:1")
    again = harness.provider.charge_saved(harness.top_up(), idempotency_key="charge:1")

    assert (declined.status, declined.paid_cents) == (PaymentStatus.FAILED, 0)
    assert "declined" in declined.reason
    assert declined.reference == again.reference


def test_without_a_saved_method_nothing_is_charged(harness: Harness) -> None:
    if not harness.can(Capability.SAVED_METHOD):
        return

    with pytest.raises(ProviderRefused):
        harness.provider.charge_saved(harness.top_up(), idempotency_key="charge:1")


def test_a_refund_is_made_once_and_never_of_more_than_is_left(harness: Harness) -> None:
    if not harness.can(Capability.REFUND):
        return
    payment = harness.paid().reference
    first_part = RefundDocument(refund_id="ref_1", payment_reference=payment, currency="USD", cents=2000)
    too_much = RefundDocument(refund_id="ref_2", payment_reference=payment, currency="USD", cents=501)

    made = harness.provider.refund(first_part, idempotency_key="refund:1")
    again = harness.provider.refund(first_part, idempotency_key="another key, a day later")

    assert made == again
    assert (made.cents, made.refund_id, made.payment_reference, str(made.status)) == (
        2000,
        "ref_1",
        payment,
        "succeeded",
    )
    assert harness.provider.fetch_refund(made.reference) == made
    assert harness.provider.fetch_payment(payment).refunded_cents == 2000
    with pytest.raises(ProviderRefused):
        harness.provider.refund(too_much, idempotency_key="refund:2")


def test_a_dispute_names_the_top_up_it_is_about_and_how_it_ended(harness: Harness) -> None:
    if not harness.can(Capability.DISPUTE):
        return
    assert harness.dispute is not None
    assert harness.close_dispute is not None
    payment = harness.paid()

    reference = harness.dispute(payment.reference)

    opened = harness.provider.fetch_dispute(reference)
    assert (opened.top_up_id, opened.invoice_id, opened.cents) == ("top_000000000001", "", 2500)
    assert (opened.status, opened.payment_reference) == (ProviderDisputeStatus.OPEN, payment.reference)
    for status in (ProviderDisputeStatus.LOST, ProviderDisputeStatus.WON):
        harness.close_dispute(reference, status)
        assert harness.provider.fetch_dispute(reference).status is status


def test_refunds_of_an_invoice_are_those_of_what_was_paid_of_it(harness: Harness) -> None:
    if not (harness.can(Capability.REFUND) and harness.can(Capability.CREDIT_NOTE)):
        assert list(harness.provider.refunds_of_invoice("in_x")) == []
        return
    invoice = harness.issue()
    assert list(harness.provider.refunds_of_invoice(invoice)) == []
    assert harness.pay is not None
    harness.pay(invoice)
    note = harness.credit_note(invoice, owed_cents=0, refund_cents=30)

    harness.provider.issue_credit_note(note, idempotency_key="cn_1")

    (back,) = harness.provider.refunds_of_invoice(invoice)
    assert (back.cents, back.refund_id) == (30, "")
    assert list(harness.provider.refunds_of_invoice("in_stranger")) == []


def test_a_dispute_names_the_invoice_it_is_about(harness: Harness) -> None:
    if not harness.can(Capability.DISPUTE):
        return
    assert harness.dispute is not None
    invoice = harness.issue()
    harness.pay(invoice)

    found = harness.provider.fetch_dispute(harness.dispute(invoice))

    assert (found.top_up_id, found.invoice_id, found.cents) == ("", "inv_1", 321)


def test_everything_of_a_time_can_be_read_back(harness: Harness) -> None:
    before = clock.now() - dt.timedelta(seconds=5)
    payment = harness.paid()
    invoice = harness.issue()
    if Capability.REFUND in harness.provider.capabilities:
        back = RefundDocument(refund_id="ref_1", payment_reference=payment.reference, currency="USD", cents=10)
        harness.provider.refund(back, idempotency_key="refund:1")
    if harness.dispute is not None:
        harness.dispute(payment.reference)

    provider, later = harness.provider, clock.now() + dt.timedelta(hours=1)
    assert payment.reference in {one.reference for one in provider.payments_since(before)}
    assert [one.total_cents for one in provider.invoices_since(before) if one.reference == invoice] == [321]
    assert len(list(provider.refunds_since(before))) == int(Capability.REFUND in provider.capabilities)
    assert len(list(provider.disputes_since(before))) == int(Capability.DISPUTE in provider.capabilities)
    assert list(provider.payments_since(later)) == []
    assert list(provider.refunds_since(later)) == list(provider.disputes_since(later)) == []


def test_what_is_unknown_is_said_to_be_unknown(harness: Harness) -> None:
    with pytest.raises(ReferenceUnknown):
        harness.provider.fetch_payment("pi_nowhere")
    for capability, fetch in (
        (Capability.REFUND, harness.provider.fetch_refund),
        (Capability.DISPUTE, harness.provider.fetch_dispute),
    ):
        if capability in harness.provider.capabilities:
            with pytest.raises(ReferenceUnknown):
                fetch("xx_nowhere")


def test_a_meter_counts_each_identifier_once(harness: Harness) -> None:
    if not harness.can(Capability.METER):
        return
    customer, at = harness.customer(), clock.now() - dt.timedelta(hours=2)
    hour = at.replace(minute=0, second=0, microsecond=0)
    reports = [
        UsageReport(identifier=name, customer_reference=customer, value_micro=value, at=at)
        for name, value in (("u1-a", 1_000), ("u1-b", 234), ("u1-a", 1_000))
    ]

    for number, report in enumerate(reports):
        harness.provider.push_usage(report, idempotency_key=f"push:{number}")

    total = harness.provider.usage_total(customer, start=hour, end=hour + dt.timedelta(hours=1))
    assert total == 1_234
    assert harness.provider.usage_total(customer, start=hour - dt.timedelta(hours=3), end=hour) == 0


# Stripe alone: what the network does.


def test_stripe_gets_our_lines_in_cents_and_none_of_nothing(fresh_twin: TwinProcess) -> None:
    Harness(provider=_stripe(fresh_twin), pay=fresh_twin.pay).issue()

    items = fresh_twin.control("items")
    assert [(item["amount"], item["description"]) for item in items] == [
        (300, "demo/llm: input tokens"),
        (21, "demo/llm: output tokens"),
    ]


@pytest.mark.parametrize(
    ("path", "suffix"),
    [("/v1/invoices", "invoices"), ("/v1/invoiceitems", ""), ("/v1/invoices", "/finalize"), ("/v1/invoices", "/send")],
)
def test_a_lost_answer_makes_no_second_invoice_and_no_second_line(
    fresh_twin: TwinProcess, path: str, suffix: str
) -> None:
    harness = Harness(provider=_stripe(fresh_twin), pay=fresh_twin.pay)
    harness.document()
    fresh_twin.fault("drop", path, times=3, suffix=suffix)
    with pytest.raises(ProviderUnavailable):
        harness.issue()

    reference = harness.issue()

    (invoice,) = fresh_twin.control("invoices")
    assert (invoice["id"], invoice["status"], invoice["total"]) == (reference, "open", 321)
    assert len(fresh_twin.control("items")) == 2


def test_an_interrupted_invoice_is_carried_on_after_the_key_is_forgotten(fresh_twin: TwinProcess) -> None:
    harness = Harness(provider=_stripe(fresh_twin), pay=fresh_twin.pay)
    harness.document()
    fresh_twin.fault("500", "/v1/invoices", suffix="/finalize")
    with pytest.raises(ProviderUnavailable):
        harness.issue()
    fresh_twin.control("clock", seconds=25 * 3600)

    reference = harness.issue()

    (invoice,) = fresh_twin.control("invoices")
    assert (invoice["id"], invoice["status"], invoice["total"]) == (reference, "open", 321)
    assert len(fresh_twin.control("items")) == 2


def test_too_many_requests_are_tried_again_later(fresh_twin: TwinProcess) -> None:
    harness = Harness(provider=_stripe(fresh_twin), pay=fresh_twin.pay)
    harness.document()
    fresh_twin.fault("429", "/v1/invoices")

    with pytest.raises(ProviderUnavailable):
        harness.issue()


def test_what_stripe_refuses_is_refused_for_good(twin: TwinProcess) -> None:
    provider = _stripe(twin)
    nobody = dataclasses.replace(CUSTOMER, organization_id="org_b", email="")
    reference = provider.ensure_customer(nobody, idempotency_key="customer:org_b")
    harness = Harness(provider=provider, pay=twin.pay)

    with pytest.raises(ProviderRefused, match="email"):
        harness.issue(customer_reference=reference, invoice_id="inv_mail")


def test_another_total_at_stripe_is_never_made_payable(fresh_twin: TwinProcess) -> None:
    harness = Harness(provider=_stripe(fresh_twin), pay=fresh_twin.pay)
    harness.document()
    fresh_twin.fault("500", "/v1/invoices", suffix="/finalize")
    with pytest.raises(ProviderUnavailable):
        harness.issue()
    fresh_twin.control("clock", seconds=25 * 3600)
    changed = (DocumentLine(description="another", amount_cents=400),)

    with pytest.raises(ProviderRefused, match="321"):
        harness.issue(lines=changed, total_cents=400)

    assert fresh_twin.control("invoices")[0]["status"] == "draft"


def test_more_lines_than_stripe_takes_end_in_one_that_sums_up_the_rest(fresh_twin: TwinProcess) -> None:
    lines = tuple(DocumentLine(description=f"line {number}", amount_cents=number) for number in range(1, 231))
    harness = Harness(provider=_stripe(fresh_twin), pay=fresh_twin.pay)

    harness.issue(lines=lines, total_cents=sum(range(1, 231)))

    items = fresh_twin.control("items")
    assert len(items) == 200
    assert items[-1]["description"] == "31 further lines, see the statement"
    assert sum(item["amount"] for item in items) == sum(range(1, 231))


def test_the_client_speaks_to_no_real_host_and_sends_no_telemetry(twin: TwinProcess) -> None:
    import stripe

    provider = _stripe(twin)

    options = provider._client._requestor._options

    assert set(options.base_addresses.values()) == {twin.url}
    assert set(options.base_addresses) == {"api", "connect", "files", "meter_events"}
    assert stripe.enable_telemetry is False
    assert provider._client._requestor._options.max_network_retries == 2
    assert stripe.api_version == API_VERSION
