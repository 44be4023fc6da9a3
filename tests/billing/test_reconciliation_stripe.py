"""R4, R5 and R6 against the provider they are about: the real SDK, the twin's HTTP, money in both directions."""

import pytest

from moorage.billing.models import Dispute, Invoice, InvoiceStatus, Refund, TopUp
from moorage.billing.payments import UsageReport
from moorage.billing.reconciliation import invoices, meter, payments
from tests.billing.collected import HOUR, configured, later, stripe
from tests.billing.measured import LAST_MONTH
from tests.billing.stripe_post import hear
from tests.stripe_twin.process import TwinProcess


@pytest.mark.urls("moorage.billing.urls")
def test_where_all_is_well_each_is_clean_and_has_looked(collected: Invoice, twin: TwinProcess) -> None:
    found = {
        "R4": meter.meter(later(), providers=configured()),
        "R5": invoices.invoices(later(), providers=configured()),
        "R6": payments.payments(later(), providers=configured()),
    }

    assert collected.status == InvoiceStatus.PAID
    assert (Refund.objects.count(), Dispute.objects.get().status) == (2, "lost")
    assert {job: [one.sentence for one in result.findings] for job, result in found.items()} == {
        "R4": [],
        "R5": [],
        "R6": [],
    }
    # An organization's month; its invoice; three payments, three refunds, a dispute and one account.
    assert [result.compared for result in found.values()] == [1, 1, 8]


@pytest.mark.urls("moorage.billing.urls")
def test_what_differs_at_the_provider_is_found(collected: Invoice, twin: TwinProcess) -> None:
    first = TopUp.objects.order_by("id")[0]
    twin.control("change", id=collected.provider_reference, fields={"total": 126})
    # Refunded in the dashboard, and the webhook has not come.
    twin.control("refund", payment_intent=first.payment_reference, amount=100)
    customer = twin.all("customer")[0]["id"]
    stripe().push_usage(
        UsageReport(identifier="by hand", customer_reference=customer, value_micro=7, at=LAST_MONTH.end - HOUR),
        idempotency_key="by hand",
    )

    found = [
        [one.code for one in result.findings]
        for result in (
            meter.meter(later(), providers=configured()),
            invoices.invoices(later(), providers=configured()),
            payments.payments(later(), providers=configured()),
        )
    ]

    assert found == [["meter_differs"], ["total_differs"], ["clearing_differs"]]
    hear(twin)
    assert payments.payments(later(), providers=configured()).findings == ()
