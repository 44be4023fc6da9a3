"""What an organization pays in, for an administrator."""

from typing import Any, Final

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.accounts.models import Organization
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import ReasonFields
from moorage.api.serializers_money import CurrencyField
from moorage.billing import currencies
from moorage.billing.errors import CurrencyInUse, CurrencyUnpriced, ReasonMissing
from moorage.kernel import clock

TAG: Final = "Administrator"


class NewCurrencyFields(ReasonFields):
    """What the organization pays in from now on, and why."""

    currency = CurrencyField()


class CurrencySerializer(serializers.Serializer):
    """What an organization pays in."""

    currency = serializers.CharField(help_text="ISO 4217.")
    in_the_way = serializers.ListField(
        child=serializers.CharField(), help_text="Why it cannot change any more; empty while it can."
    )
    priced = serializers.ListField(
        child=serializers.CharField(), help_text="Currencies in which everything has a generally valid price."
    )


_SHOWN: Final = Answer(
    description="The currency.",
    kind=CurrencySerializer,
    example={"currency": "EUR", "in_the_way": [], "priced": ["EUR", "USD"]},
)


class OrganizationCurrencyView(AdministratorView):
    """One currency an organization."""

    @operation(
        id="adminGetCurrency",
        tag=TAG,
        summary="Read what an organization pays in",
        path=["slug"],
        answers={200: _SHOWN},
        raises=[OrganizationNotFound],
    )
    def get(self, _request: Request, slug: str) -> Response:
        """Prices, charges, credit, limits and invoices of the organization are in this currency and in no other."""
        return Response(_document(accounts.organization(slug=slug)))

    @operation(
        id="adminSetCurrency",
        tag=TAG,
        summary="Set what an organization pays in",
        path=["slug"],
        body=NewCurrencyFields,
        body_example={"currency": "EUR", "reason": "They are in Rotterdam."},
        answers={200: _SHOWN},
        raises=[OrganizationNotFound, CurrencyInUse, CurrencyUnpriced, ReasonMissing],
    )
    def put(self, _request: Request, slug: str) -> Response:
        """Possible as long as nothing of the organization is charged, credited, limited in money or priced; amounts are
        never converted. Everything that is priced must have a generally valid price in the new currency."""
        organization = accounts.organization(slug=slug)
        currencies.set_currency(
            organization=organization, currency=self.body["currency"], reason=self.body["reason"], by=self.actor
        )
        return Response(_document(organization))


def _document(organization: Organization) -> dict[str, Any]:
    return {
        "currency": organization.currency,
        "in_the_way": list(currencies.standing_in_the_way(organization)),
        "priced": list(currencies.priced(at=clock.now())),
    }
