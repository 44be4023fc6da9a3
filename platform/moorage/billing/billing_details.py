"""To whom an invoice is made out and by whom: the organization's billing details and the seller's, as they are copied
onto an invoice with its number."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing.errors import InvalidBillingDetails
from moorage.billing.models import BillingDetails
from moorage.kernel import clock

ADDRESS_LINES_MOST: Final = 6
_LINE_MOST: Final = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """Who owes an invoice."""

    organization: str
    legal_name: str
    address: tuple[str, ...] = ()
    country: str = ""
    tax_id: str = ""
    email: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Who sends it, and how they want to be paid."""

    legal_name: str
    address: tuple[str, ...] = ()
    tax_id: str = ""
    email: str = ""
    #: Lines such as a bank and an account.
    payment: tuple[str, ...] = ()


def details_of(organization: Organization) -> BillingDetails:
    """The billing details of ``organization``; empty ones where nobody has given any."""
    return BillingDetails.objects.filter(pk=organization.pk).first() or BillingDetails(organization=organization)


@transaction.atomic
def set_details(
    *,
    organization: Organization,
    legal_name: str,
    address: str,
    country: str,
    tax_id: str,
    email: str,
    by: Actor,
) -> BillingDetails:
    """What stands on the next invoices; those that have a number keep theirs. Raises InvalidBillingDetails."""
    lines = [" ".join(line.split()) for line in address.splitlines() if line.strip()]
    if len(lines) > ADDRESS_LINES_MOST or any(len(line) > _LINE_MOST for line in lines):
        raise InvalidBillingDetails(
            f"An address has at most {ADDRESS_LINES_MOST} lines of {_LINE_MOST} characters.", param="address"
        )
    given = {
        "legal_name": _one_line(legal_name, 160, "legal_name"),
        "address": "\n".join(_one_line(line, _LINE_MOST, "address") for line in lines),
        "country": country.strip().upper(),
        "tax_id": _one_line(tax_id, 40, "tax_id"),
        "email": email.strip(),
    }
    if not re.fullmatch(r"([A-Z]{2})?", given["country"]):
        raise InvalidBillingDetails("A country is two letters such as DE or US.", param="country")
    if given["email"]:
        try:
            validate_email(given["email"])
        except ValidationError as error:
            raise InvalidBillingDetails("This is no e-mail address.", param="email") from error
    details, _ = BillingDetails.objects.update_or_create(
        organization=organization, defaults={**given, "updated_at": clock.now()}
    )
    audit.record(
        organization=organization, by=by, action="billing_details.set", subject=organization.pk, detail=dict(given)
    )
    return details


def buyer_of(organization: Organization) -> Buyer:
    """``organization`` as it would stand on an invoice now; without details, under its own name."""
    details = details_of(organization)
    return Buyer(
        organization=organization.name,
        legal_name=details.legal_name or organization.name,
        address=tuple(details.address.splitlines()),
        country=details.country,
        tax_id=details.tax_id,
        email=details.email,
    )


def seller() -> Seller:
    """This instance's seller, from its settings. In the environment, lines are parted by a bar."""
    return Seller(
        legal_name=settings.MOORAGE_SELLER_NAME,
        address=_parted(settings.MOORAGE_SELLER_ADDRESS),
        tax_id=settings.MOORAGE_SELLER_TAX_ID,
        email=settings.MOORAGE_SELLER_EMAIL,
        payment=_parted(settings.MOORAGE_SELLER_PAYMENT),
    )


def kept(party: Buyer | Seller) -> dict[str, object]:
    """``party`` as an invoice keeps it."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(party).items()
    }


def buyer_from(found: Mapping[str, object]) -> Buyer:
    """The inverse of :func:`kept`; an invoice of the time before has none."""
    return Buyer(
        organization=str(found.get("organization", "")),
        legal_name=str(found.get("legal_name", "")),
        address=_lines(found.get("address")),
        country=str(found.get("country", "")),
        tax_id=str(found.get("tax_id", "")),
        email=str(found.get("email", "")),
    )


def seller_from(found: Mapping[str, object]) -> Seller:
    """The inverse of :func:`kept`."""
    return Seller(
        legal_name=str(found.get("legal_name", "")),
        address=_lines(found.get("address")),
        tax_id=str(found.get("tax_id", "")),
        email=str(found.get("email", "")),
        payment=_lines(found.get("payment")),
    )


def _lines(found: object) -> tuple[str, ...]:
    return tuple(str(line) for line in found) if isinstance(found, list) else ()


def _parted(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _one_line(text: str, most: int, param: str) -> str:
    said = " ".join(text.split())
    if len(said) > most or not said.isprintable():
        raise InvalidBillingDetails(f"Write at most {most} printable characters.", param=param)
    return said
