"""How the caller's organization pays: what is saved, the provider's pages, and each top-up."""

from typing import Any, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import RoleTooLow
from moorage.accounts.models import Organization
from moorage.api.doors import OrganizationView
from moorage.api.examples_payment import PAYMENT, PORTAL_PAGE, SETUP_PAGE, TOP_UP
from moorage.api.operation import Answer, operation
from moorage.api.serializers_payment import PageSerializer, PaymentFields, PaymentSerializer, TopUpSerializer
from moorage.billing import payment_methods, topups
from moorage.billing.errors import NoSavedMethod, NotOffered, ProviderAway, TopUpNotFound

TAG: Final = "Wallet"
_SHOWN: Final = Answer(description="How your organization pays.", kind=PaymentSerializer, example=PAYMENT)


class PaymentView(OrganizationView):
    """Ways to pay."""

    @operation(id="getPayment", tag=TAG, summary="Show how you pay", answers={200: _SHOWN})
    def get(self, _request: Request) -> Response:
        """The saved payment method, and what this instance's payment provider can do."""
        return Response(_document(self.organization))

    @operation(
        id="setPayment",
        tag=TAG,
        summary="Set how invoices are paid",
        body=PaymentFields,
        body_example={"is_charged_automatically": True},
        answers={200: _SHOWN},
        raises=[NotOffered, NoSavedMethod, RoleTooLow],
    )
    def put(self, _request: Request) -> Response:
        """Whether invoices are taken from the saved method from now on, or sent. For keys of those who may pay."""
        self.require_maker(accounts.MAY_PAY)
        payment_methods.charge_automatically(
            organization=self.organization, is_wanted=self.body["is_charged_automatically"], by=self.actor
        )
        return Response(_document(self.organization))


class PaymentSetupView(OrganizationView):
    """A method is saved."""

    @operation(
        id="startPaymentSetup",
        tag=TAG,
        summary="Add a payment method",
        answers={201: Answer(description="Where a person adds it.", kind=PageSerializer, example=SETUP_PAGE)},
        raises=[NotOffered, ProviderAway, RoleTooLow],
    )
    def post(self, _request: Request) -> Response:
        """A page of the payment provider. Whoever saves a method there comes back to the console, and it is charged
        from then on."""
        self.require_maker(accounts.MAY_PAY)
        page = f"{settings.MOORAGE_CONSOLE_URL}/{self.organization.slug}/payment"
        url = payment_methods.start_setup(organization=self.organization, return_url=f"{page}/saved", cancel_url=page)
        return Response({"url": url}, status=201)


class PaymentPortalView(OrganizationView):
    """The provider's own page."""

    @operation(
        id="openPaymentPortal",
        tag=TAG,
        summary="Open the payment provider's page",
        answers={201: Answer(description="Where a person goes.", kind=PageSerializer, example=PORTAL_PAGE)},
        raises=[NotOffered, ProviderAway, RoleTooLow],
    )
    def post(self, _request: Request) -> Response:
        """A page of the payment provider where a person changes what it keeps. It is good for minutes."""
        self.require_maker(accounts.MAY_PAY)
        page = f"{settings.MOORAGE_CONSOLE_URL}/{self.organization.slug}/payment?from=portal"
        return Response(
            {"url": payment_methods.open_portal(organization=self.organization, return_url=page)}, status=201
        )


class TopUpView(OrganizationView):
    """One top-up."""

    @operation(
        id="getTopUp",
        tag=TAG,
        summary="Show a top-up",
        path=["top_up_id"],
        answers={200: Answer(description="The top-up.", kind=TopUpSerializer, example=TOP_UP)},
        raises=[TopUpNotFound],
    )
    def get(self, _request: Request, top_up_id: str) -> Response:
        """Whether it is paid, and where to pay it while it waits."""
        return Response(TopUpSerializer(topups.one(organization=self.organization, top_up_id=top_up_id)).data)


def _document(organization: Organization) -> dict[str, Any]:
    means = payment_methods.means_of(organization)
    known = means.collection
    method = {"brand": known.method_brand, "last4": known.method_last4, "expires": known.method_expires}
    shown = {
        "provider": means.provider,
        "capabilities": sorted(str(one) for one in means.capabilities),
        "method": method if known.method_reference else None,
        "is_charged_automatically": known.is_charged_automatically,
        "bank_details": settings.MOORAGE_BANK_DETAILS,
    }
    return dict(PaymentSerializer(shown).data)
