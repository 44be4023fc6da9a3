"""What a provider answers to everything that it cannot do."""

import datetime as dt
from collections.abc import Iterator
from typing import NoReturn

from moorage.billing.payments import (
    Capability,
    CreditNoteDocument,
    NotSupported,
    Page,
    Payment,
    ProviderDispute,
    ProviderEvent,
    ProviderRefund,
    RefundDocument,
    SavedMethod,
    TopUpDocument,
    UsageReport,
)


class WithoutCards:
    """For a provider that keeps no payment methods: each of these says which capability is missing."""

    capabilities: frozenset[Capability] = frozenset()

    def issue_credit_note(self, document: CreditNoteDocument, *, idempotency_key: str) -> str:  # noqa: ARG002
        """See the port."""
        _missing(Capability.CREDIT_NOTE)

    def start_setup(
        self,
        customer_reference: str,  # noqa: ARG002
        *,
        currency: str,  # noqa: ARG002
        return_url: str,  # noqa: ARG002
        cancel_url: str,  # noqa: ARG002
        idempotency_key: str,  # noqa: ARG002
    ) -> Page:
        """See the port."""
        _missing(Capability.SAVED_METHOD)

    def finish_setup(self, reference: str, *, customer_reference: str) -> SavedMethod | None:  # noqa: ARG002
        """See the port."""
        _missing(Capability.SAVED_METHOD)

    def saved_method(self, customer_reference: str) -> SavedMethod | None:  # noqa: ARG002
        """See the port."""
        _missing(Capability.SAVED_METHOD)

    def open_portal(self, customer_reference: str, *, return_url: str) -> str:  # noqa: ARG002
        """See the port."""
        _missing(Capability.PORTAL)

    def charge_saved(self, document: TopUpDocument, *, idempotency_key: str) -> Payment:  # noqa: ARG002
        """See the port."""
        _missing(Capability.SAVED_METHOD)

    def refund(self, document: RefundDocument, *, idempotency_key: str) -> ProviderRefund:  # noqa: ARG002
        """See the port."""
        _missing(Capability.REFUND)

    def fetch_refund(self, reference: str) -> ProviderRefund:  # noqa: ARG002
        """See the port."""
        _missing(Capability.REFUND)

    def refunds_of(self, reference: str) -> Iterator[ProviderRefund]:  # noqa: ARG002
        """See the port."""
        return iter(())

    def refunds_of_invoice(self, reference: str) -> Iterator[ProviderRefund]:  # noqa: ARG002
        """See the port."""
        return iter(())

    def fetch_dispute(self, reference: str) -> ProviderDispute:  # noqa: ARG002
        """See the port."""
        _missing(Capability.DISPUTE)

    def refunds_since(self, since: dt.datetime) -> Iterator[ProviderRefund]:  # noqa: ARG002
        """See the port."""
        return iter(())

    def disputes_since(self, since: dt.datetime) -> Iterator[ProviderDispute]:  # noqa: ARG002
        """See the port."""
        return iter(())

    def events_since(self, since: dt.datetime) -> Iterator[ProviderEvent]:  # noqa: ARG002
        """See the port."""
        return iter(())

    def push_usage(self, report: UsageReport, *, idempotency_key: str) -> None:  # noqa: ARG002
        """See the port."""
        _missing(Capability.METER)

    def usage_total(self, customer_reference: str, *, start: dt.datetime, end: dt.datetime) -> int:  # noqa: ARG002
        """See the port."""
        _missing(Capability.METER)


def _missing(capability: Capability) -> NoReturn:
    raise NotSupported(capability)
