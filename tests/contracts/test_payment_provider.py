"""One contract for every payment provider: memory, bank transfer, and Stripe's SDK against the twin."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from moorage.billing.payments import (
    Customer,
    DocumentLine,
    InvoiceDocument,
    PaymentProvider,
    ProviderRefused,
    ProviderStatus,
    ProviderUnavailable,
    ReferenceUnknown,
)
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.payments_stripe import API_VERSION, StripeProvider, StripeSettings
from moorage.billing.payments_transfer import TransferProvider
from moorage.kernel import clock
from tests.stripe_twin.process import API_KEY, TwinProcess, running

CUSTOMER = Customer(organization_id="org_a", name="Harbour", email="alice@example.com")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Harness:
    """A provider, and what its customer would do."""

    provider: PaymentProvider
    pay: Callable[[str], None]

    def issue(self, **changes: object) -> str:
        """Issues an invoice of 3.21 USD; its reference."""
        document = self.document(**changes)
        return self.provider.issue_invoice(document, idempotency_key=f"issue:{document.invoice_id}").reference

    def document(self, **changes: object) -> InvoiceDocument:
        """An invoice with two lines and one of nothing."""
        reference = self.provider.ensure_customer(CUSTOMER, idempotency_key="customer:org_a")
        plain = InvoiceDocument(
            invoice_id="inv_1",
            number="M-000001",
            customer_reference=reference,
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


@pytest.fixture(scope="module")
def twin() -> Iterator[TwinProcess]:
    with running() as started:
        yield started


@pytest.fixture
def fresh_twin(twin: TwinProcess) -> TwinProcess:
    twin.control("forget")
    return twin


def _stripe(twin: TwinProcess) -> StripeProvider:
    return StripeProvider(StripeSettings(api_key=API_KEY, base_url=twin.url))


@pytest.fixture(params=["memory", "transfer", "stripe"])
def harness(request: pytest.FixtureRequest, db: None) -> Harness:
    if request.param == "memory":
        memory = MemoryProvider()
        return Harness(provider=memory, pay=memory.pay)
    if request.param == "transfer":
        transfer = TransferProvider()
        return Harness(provider=transfer, pay=lambda reference: transfer.record(reference, received_at=clock.now()))
    fresh = request.getfixturevalue("fresh_twin")
    return Harness(provider=_stripe(fresh), pay=fresh.pay)


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
