"""The outbox: the same key for every attempt, committed before the call, put off or parked as the provider answers."""

import datetime as dt

import pytest
from django.db import connection, transaction

from moorage.accounts.actor import Actor
from moorage.billing import outbox, review, services
from moorage.billing.models import Invoice, OutboxMessage
from moorage.billing.payments import InvoiceDocument, Issued, ProviderError, ProviderRefused, ProviderUnavailable
from moorage.billing.payments_memory import MemoryProvider
from tests.billing.bills import invoiced
from tests.billing.measured import CLOSING
from tests.cast import Cast


class Flaky(MemoryProvider):
    """Fails as it is told, before or after the work, and notes what it was asked."""

    def __init__(self, *failures: ProviderError | None, is_done_first: bool = False) -> None:
        super().__init__()
        self.failures = list(failures)
        self.is_done_first = is_done_first
        self.keys: list[str] = []
        self.were_committed: list[bool] = []

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:
        self.keys.append(idempotency_key)
        message = OutboxMessage.objects.get(idempotency_key=idempotency_key)
        self.were_committed.append(not connection.in_atomic_block and message.attempts == len(self.keys))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and not self.is_done_first:
            raise failure
        issued = super().issue_invoice(document, idempotency_key=idempotency_key)
        if failure is not None:
            raise failure
        return issued


@pytest.fixture
def invoice(committed_cast: Cast) -> Invoice:
    """A finalized invoice of Alice's organization, 1.20 USD."""
    return invoiced(committed_cast.alice)


def _send(provider: MemoryProvider, now: dt.datetime = CLOSING) -> outbox.Sent:
    return outbox.send_due(providers={"transfer": provider}, now=now)


def test_an_invoice_is_sent_once_and_its_address_is_kept(invoice: Invoice) -> None:
    provider = MemoryProvider()

    first, second = _send(provider), _send(provider, CLOSING + dt.timedelta(days=1))

    invoice.refresh_from_db()
    assert (first.sent, second.sent) == (1, 0)
    assert invoice.payment_url == f"https://payments.invalid/{invoice.provider_reference}"
    assert provider.fetch_invoice(invoice.provider_reference).total_cents == 120


def test_every_attempt_has_the_same_key_and_is_committed_before_the_call(invoice: Invoice) -> None:
    provider = Flaky(ProviderUnavailable("no answer"), ProviderUnavailable("no answer"))
    now = CLOSING

    for _ in range(3):
        _send(provider, now)
        now += dt.timedelta(hours=1)

    assert provider.keys == [f"invoice.issue:{invoice.id}"] * 3
    assert provider.were_committed == [True] * 3
    assert OutboxMessage.objects.get().sent_at is not None


def test_an_answer_that_was_lost_makes_no_second_invoice(invoice: Invoice) -> None:
    provider = Flaky(ProviderUnavailable("answer lost"), is_done_first=True)

    _send(provider)
    _send(provider, CLOSING + dt.timedelta(hours=1))

    assert len(provider._invoices) == 1
    invoice.refresh_from_db()
    assert invoice.provider_reference == f"mem_{invoice.id}"


def test_a_sender_that_was_killed_in_the_middle_is_followed_by_another(invoice: Invoice) -> None:
    class Killed(MemoryProvider):
        def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:
            super().issue_invoice(document, idempotency_key=idempotency_key)
            raise KeyboardInterrupt

    provider = Killed()
    with pytest.raises(KeyboardInterrupt):
        _send(provider)
    at_once = _send(provider)

    provider.__class__ = MemoryProvider
    later = _send(provider, CLOSING + dt.timedelta(minutes=11))

    assert (at_once.sent, later.sent) == (0, 1)
    assert len(provider._invoices) == 1


def test_attempts_are_put_off_longer_and_longer(invoice: Invoice) -> None:
    provider = Flaky(ProviderUnavailable("no answer"))

    _send(provider)

    message = OutboxMessage.objects.get()
    assert message.next_attempt_at == CLOSING + dt.timedelta(seconds=30)
    assert message.last_error == "no answer"
    pauses = [outbox.pause_after(attempt).seconds for attempt in (1, 2, 3, 8, 500)]
    assert pauses == [30, 60, 120, 3600, 3600]


def test_what_is_refused_for_good_is_parked_until_a_person_sends_it_again(
    invoice: Invoice, committed_cast: Cast
) -> None:
    provider = Flaky(ProviderRefused("The customer has no address."))
    _send(provider)
    _send(provider, CLOSING + dt.timedelta(days=30))
    (parked,) = review.parked_messages()
    assert (parked.last_error, len(provider.keys)) == ("The customer has no address.", 1)

    services.retry_message(message=parked, by=Actor.person(committed_cast.ada))
    OutboxMessage.objects.update(next_attempt_at=CLOSING)
    again = _send(provider)

    assert again.sent == 1
    assert not review.parked_messages().exists()


def test_an_invoice_voided_before_it_was_sent_is_never_sent(invoice: Invoice, committed_cast: Cast) -> None:
    services.void_invoice(invoice=invoice, by=Actor.person(committed_cast.ada), reason="A mistake.")
    OutboxMessage.objects.update(next_attempt_at=CLOSING)
    provider = MemoryProvider()

    for minutes in (0, 20, 40):
        _send(provider, CLOSING + dt.timedelta(minutes=minutes))

    assert provider._invoices == {}
    assert not OutboxMessage.objects.filter(sent_at=None).exists()


def test_an_invoice_voided_after_it_was_sent_is_void_at_the_provider(invoice: Invoice, committed_cast: Cast) -> None:
    provider = MemoryProvider()
    _send(provider)
    invoice.refresh_from_db()

    services.void_invoice(invoice=invoice, by=Actor.person(committed_cast.ada), reason="A mistake.")
    OutboxMessage.objects.filter(sent_at=None).update(next_attempt_at=CLOSING)
    _send(provider)

    assert provider.fetch_invoice(invoice.provider_reference).status == "void"


def test_no_call_is_made_inside_a_transaction(invoice: Invoice) -> None:
    with pytest.raises(AssertionError), transaction.atomic():
        _send(MemoryProvider())
