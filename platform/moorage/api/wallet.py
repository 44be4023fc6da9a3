"""The wallet of the caller's organization; for an administrator, how an organization pays."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound, RoleTooLow
from moorage.accounts.models import Organization
from moorage.api import examples, paging
from moorage.api.doors import AdministratorView, OrganizationView
from moorage.api.examples_wallet import MOVEMENT, STARTED_TOP_UP, WALLET
from moorage.api.operation import Answer, operation
from moorage.api.serializers_wallet import (
    ModeFields,
    MovementSerializer,
    StartedTopUpSerializer,
    TopUpFields,
    WalletFields,
    WalletSerializer,
    cents_of,
    pico_of,
    preferences_from,
    wallet_document,
)
from moorage.billing import topups, wallet_queries, wallet_settings
from moorage.billing.errors import InvalidTopUp, InvalidWallet, ReasonMissing
from moorage.billing.models import BillingMode, TopUp

TAG: Final = "Wallet"
_SHOWN: Final = Answer(description="The wallet.", kind=WalletSerializer, example=WALLET)


class WalletView(OrganizationView):
    """What there is, and what the owners decide."""

    @operation(id="getWallet", tag=TAG, summary="Show the wallet", answers={200: _SHOWN})
    def get(self, _request: Request) -> Response:
        """How your organization pays, what credit it has, and what may still be spent."""
        return _shown(self.organization)

    @operation(
        id="setWallet",
        tag=TAG,
        summary="Set alerts and automatic top-ups",
        body=WalletFields,
        body_example={
            "alert_below": "10.00",
            "is_automatic": True,
            "below": "5.00",
            "top_up": "25.00",
            "monthly_most": "100.00",
        },
        answers={200: _SHOWN},
        raises=[InvalidWallet, RoleTooLow],
    )
    def put(self, _request: Request) -> Response:
        """Replaces all settings; what is left out is off. A top-up by itself charges the saved payment method, one at
        a time, and never more than the most of a calendar month."""
        self.require_maker(accounts.MAY_PAY)
        wallet_settings.set_preferences(
            organization=self.organization, preferences=preferences_from(self.body), by=self.actor
        )
        return _shown(self.organization)


class MovementsView(OrganizationView):
    """What moved the credit."""

    @operation(
        id="listMovements",
        tag=TAG,
        summary="List the movements of credit",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The movements, newest first.",
                kind=paging.page_of(MovementSerializer),
                example=examples.page(MOVEMENT),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every entry of your credit in the ledger. Their sum is the balance, to the last digit."""
        rows = wallet_queries.movements(self.organization)
        return paging.page(rows, order="-id", query=self.query).answer(MovementSerializer)


class TopUpsView(OrganizationView):
    """Credit is bought."""

    @operation(
        id="startTopUp",
        tag=TAG,
        summary="Buy credit",
        body=TopUpFields,
        body_example={"amount": "25.00"},
        answers={
            201: Answer(
                description="A person opens `checkout_url` and pays.",
                kind=StartedTopUpSerializer,
                example=STARTED_TOP_UP,
            )
        },
        raises=[InvalidTopUp, RoleTooLow],
    )
    def post(self, _request: Request) -> Response:
        """Starts a top-up. The credit is there once it is paid; nothing happens if it is not."""
        self.require_maker(accounts.MAY_PAY)
        made = topups.open_checkout(organization=self.organization, cents=cents_of(self.body["amount"]), by=self.actor)
        return Response(_started(made), status=201)


class AdministratorModeView(AdministratorView):
    """How any organization pays."""

    @operation(
        id="adminSetBillingMode",
        tag="Administrator",
        summary="Set how an organization pays",
        path=["slug"],
        body=ModeFields,
        body_example={"mode": "postpaid", "credit_limit": "500.00", "reason": "Paid on time for a year."},
        answers={200: _SHOWN},
        raises=[OrganizationNotFound, InvalidWallet, ReasonMissing],
    )
    def put(self, _request: Request, slug: str) -> Response:
        """Prepaid: served while there is credit. Postpaid: billed by the month, with or without a limit to what may be
        owed. The gateways hold to it within a second."""
        organization = accounts.organization(slug=slug)
        wallet_settings.set_mode(
            organization=organization,
            mode=BillingMode(self.body["mode"]),
            credit_limit_pico=pico_of(self.body["credit_limit"]),
            reason=self.body["reason"],
            by=self.actor,
        )
        return _shown(organization)


def _shown(organization: Organization) -> Response:
    return Response(wallet_document(wallet_queries.view(organization)))


def _started(made: TopUp) -> dict[str, object]:
    made.checkout_url = made.payment_url or topups.page_of(made)  # type: ignore[attr-defined]
    return dict(StartedTopUpSerializer(made).data)
