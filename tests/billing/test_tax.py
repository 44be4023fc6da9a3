"""Tax is on the invoice, not in the statement; buyer and seller stand on it as they were with the number."""

from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import given
from hypothesis import strategies as st

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import billing_details, customers, invoice_document, ledger, services, taxes
from moorage.billing.errors import InvalidBillingDetails
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, InvoiceTaxLine, Statement
from moorage.billing.policy import ReviewPolicy
from moorage.billing.tax import tax_of
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import invoiced
from tests.cast import Cast, Person


def give_details(person: Person, **changes: str) -> None:
    """Billing details of the person's organization."""
    given_details = {
        "legal_name": "Harbour Ltd",
        "address": "1 Quay\n\n  Old   Town ",
        "country": "gb",
        "tax_id": "GB 123",
        "email": "bills@harbour.example",
    }
    billing_details.set_details(
        organization=person.organization, by=Actor.person(person.user), **{**given_details, **changes}
    )


@pytest.mark.parametrize(
    ("due", "rate", "cents"),
    [(100, 1900, 19), (1, 5000, 1), (1, 4999, 0), (3, 5000, 2), (-1, 5000, -1), (0, 1900, 0), (10_000, 775, 775)],
)
def test_tax_is_rounded_once_a_line_half_away_from_zero(due: int, rate: int, cents: int) -> None:
    assert tax_of(due, rate) == cents


@given(due=st.integers(-(10**12), 10**12), rate=st.integers(0, 10_000))
def test_the_tax_on_a_credit_mirrors_that_on_a_charge(due: int, rate: int) -> None:
    assert tax_of(-due, rate) == -tax_of(due, rate)


def test_without_a_rate_nothing_is_taxed(cast: Cast) -> None:
    invoice = invoiced(cast.alice)

    assert taxes.chosen().name == "none"
    assert (invoice.subtotal_cents, invoice.tax_cents, invoice.total_cents) == (120, 0, 120)
    assert not InvoiceTaxLine.objects.exists()


def test_a_rate_is_a_line_of_its_own_and_owed_to_somebody_else(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_TAX_NAME, settings.MOORAGE_TAX_BASIS_POINTS = "VAT", 1900

    invoice = invoiced(cast.alice)

    (line,) = invoice.tax_lines.all()
    assert (line.name, line.basis_points, line.amount_cents) == ("VAT", 1900, 23)
    assert (invoice.subtotal_cents, invoice.tax_cents, invoice.total_cents) == (120, 23, 143)
    assert int(Statement.objects.get().total_pico) == 120 * PICO_PER_CENT
    assert ledger.balance(organization=invoice.organization, kind=Account.TAX) == -23 * PICO_PER_CENT
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 143 * PICO_PER_CENT
    document = invoice_document.of_invoice(invoice)
    assert document.tax[0].text == "VAT 19%"
    assert sum(one.amount_cents for one in (*document.lines, *document.tax)) == document.total_cents == 143


def test_what_credit_has_paid_is_not_taxed_again(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_TAX_BASIS_POINTS = 1900

    invoice = invoiced(cast.alice, credit_pico=20 * PICO_PER_CENT)

    assert (invoice.subtotal_cents, invoice.tax_cents) == (100, 19)


def test_tax_is_owed_from_the_number_on_and_not_before(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    invoice = invoiced(cast.alice, policy=ReviewPolicy())
    assert (invoice.tax_cents, invoice.total_cents) == (23, 143)
    assert ledger.balance(organization=invoice.organization, kind=Account.TAX) == 0
    settings.MOORAGE_TAX_BASIS_POINTS = 700

    services.approve_invoice(invoice=invoice, by=Actor.person(cast.ada))

    assert (invoice.tax_cents, invoice.total_cents) == (8, 128)
    assert ledger.balance(organization=invoice.organization, kind=Account.TAX) == -8 * PICO_PER_CENT


def test_the_buyer_and_the_seller_stay_as_they_were_with_the_number(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_SELLER_NAME, settings.MOORAGE_SELLER_ADDRESS = "Quay Works", "2 Dock | Harbour"
    give_details(cast.alice)
    invoice = invoiced(cast.alice)

    give_details(cast.alice, legal_name="Another Ltd")
    settings.MOORAGE_SELLER_NAME = "Somebody else"

    invoice.refresh_from_db()
    buyer, seller = billing_details.buyer_from(invoice.buyer), billing_details.seller_from(invoice.seller)
    assert (buyer.legal_name, buyer.address, buyer.country) == ("Harbour Ltd", ("1 Quay", "Old Town"), "GB")
    assert (seller.legal_name, seller.address) == ("Quay Works", ("2 Dock", "Harbour"))
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        Invoice.objects.filter(pk=invoice.pk).update(buyer={"legal_name": "Another Ltd"})


def test_without_details_an_invoice_is_made_out_to_the_organization(cast: Cast) -> None:
    assert billing_details.buyer_from(invoiced(cast.alice).buyer).legal_name == "Harbour"


def test_bills_go_to_the_address_in_the_details_else_to_the_first_owner(cast: Cast) -> None:
    before = customers.email_of(cast.alice.organization)
    give_details(cast.alice)

    assert before == "alice@example.com"
    assert customers.email_of(cast.alice.organization) == "bills@harbour.example"


def test_setting_details_is_in_the_audit_log(cast: Cast) -> None:
    give_details(cast.alice)

    entry = AuditEntry.objects.get(action="billing_details.set")
    assert (entry.actor, entry.detail["country"]) == (cast.alice.user.id, "GB")


@pytest.mark.parametrize(
    ("param", "evil"),
    [
        ("country", "Britain"),
        ("email", "nobody"),
        ("address", "\n".join("1234567")),
        ("address", "x" * 101),
        ("legal_name", "x" * 161),
        ("tax_id", "a\u202eb"),
    ],
)
def test_details_that_cannot_stand_on_an_invoice_are_refused(cast: Cast, param: str, evil: str) -> None:
    with pytest.raises(InvalidBillingDetails) as refused:
        give_details(cast.alice, **{param: evil})

    assert refused.value.param == param
