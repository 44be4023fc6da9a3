"""The price list for an administrator: prices, costs, minimums, dry runs. Needs a key with the scope `admin`."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.api import examples, examples_prices, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_money import PriceSerializer
from moorage.api.serializers_prices import (
    CostSerializer,
    DryRunFields,
    DryRunSerializer,
    EndPriceFields,
    MinimumSerializer,
    NewCostFields,
    NewMinimumFields,
    NewPriceFields,
    PriceEntrySerializer,
)
from moorage.billing import dry_run, minimums, price_list, prices, pricing
from moorage.billing import queries as billing
from moorage.billing.errors import (
    CandidateInvalid,
    InvalidPeriod,
    InvalidPrice,
    PriceExists,
    PriceInThePast,
    PriceNotFound,
)
from moorage.billing.models import Meter, Price
from moorage.billing.tiers import Tier
from moorage.kernel import clock

TAG: Final = "Administrator"


class PricesView(AdministratorView):
    """The price list."""

    @operation(
        id="adminListPrices",
        tag=TAG,
        summary="Read the price list",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="Everybody's by meter and model, then those of single organizations.",
                kind=paging.page_of(PriceEntrySerializer),
                example=examples.page(examples_prices.PRICE_ENTRY),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every scope that has a price: the one in force, what follows, and what was before."""
        entries = price_list.price_list(now=clock.now())
        page = paging.page_in_memory(entries, name="price", key=lambda entry: entry.key, query=self.query)
        return page.answer(PriceEntrySerializer)

    @operation(
        id="adminSetPrice",
        tag=TAG,
        summary="Set a price",
        body=NewPriceFields,
        body_example={"meter": "output_tokens", "model": "demo/*", "price": "0.60"},
        answers={201: Answer(description="The new price.", kind=PriceSerializer, example=examples_prices.PRICE)},
        raises=[InvalidPrice, PriceInThePast, PriceExists, PriceNotFound, OrganizationNotFound],
    )
    def post(self, _request: Request) -> Response:
        """A new price from a moment on. No existing price changes, and no usage that is rated already."""
        return Response(PriceSerializer(self._made()).data, status=201)

    def _made(self) -> Price:
        body = self.body
        organization = accounts.organization(slug=body["organization"]) if body["organization"] else None
        if sum(map(bool, (body["price"], body["tiers"], body["cost_id"]))) != 1:
            raise InvalidPrice("Give one of price, tiers, and cost_id with margin_basis_points.", param="price")
        if body["cost_id"]:
            if body["margin_basis_points"] is None:
                raise InvalidPrice("Say the margin over the cost.", param="margin_basis_points")
            return pricing.set_price_over_cost(
                cost=pricing.cost_by_id(body["cost_id"]),
                margin_basis_points=body["margin_basis_points"],
                organization=organization,
                state=body["state"],
                valid_from=body["valid_from"],
                note=body["note"],
                by=self.actor,
            )
        if body["meter"] is None:
            raise InvalidPrice("Say which meter is priced.", param="meter")
        meter = Meter(body["meter"])
        return pricing.set_price(
            meter=meter,
            model=body["model"],
            organization=organization,
            state=body["state"],
            device_class=body["device_class"],
            currency=body["currency"],
            pico_per_unit=prices.parse(meter, body["price"]) if body["price"] else 0,
            graduated=[Tier(begins=tier["begins"], pico=prices.parse(meter, tier["price"])) for tier in body["tiers"]],
            valid_from=body["valid_from"],
            valid_to=body["valid_to"],
            note=body["note"],
            by=self.actor,
        )


class EndPriceView(AdministratorView):
    """In force no more."""

    @operation(
        id="adminEndPrice",
        tag=TAG,
        summary="End a price",
        path=["price_id"],
        body=EndPriceFields,
        body_example={"note": "The contract has ended."},
        answers={201: Answer(description="The row that says so.", kind=PriceSerializer, example=examples_prices.PRICE)},
        raises=[PriceNotFound, PriceInThePast, PriceExists],
    )
    def post(self, _request: Request, price_id: str) -> Response:
        """Ends the price of this scope at a moment: from then on the next best price counts, if there is one. The price
        itself does not change; a row that is never in force says so."""
        ended = pricing.end_price(
            price=pricing.price_by_id(price_id), at=self.body["at"], note=self.body["note"], by=self.actor
        )
        return Response(PriceSerializer(ended).data, status=201)


class CostsView(AdministratorView):
    """What units cost us."""

    @operation(
        id="adminListCosts",
        tag=TAG,
        summary="Read what units cost us",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By meter, model and device class, the latest first.",
                kind=paging.page_of(CostSerializer),
                example=examples.page(examples_prices.COST),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every cost that was set, by what it is of."""
        page = paging.page_in_memory(price_list.costs(), name="cost", key=lambda cost: cost.id, query=self.query)
        return page.answer(CostSerializer)

    @operation(
        id="adminSetCost",
        tag=TAG,
        summary="Set a cost",
        body=NewCostFields,
        body_example={"meter": "replica_seconds", "device_class": "h200", "cost": "0.0005"},
        answers={201: Answer(description="The new cost.", kind=CostSerializer, example=examples_prices.COST)},
        raises=[InvalidPrice, PriceExists],
    )
    def post(self, _request: Request) -> Response:
        """What a unit costs us from a moment on. Prices that were made of an earlier cost stay as they are."""
        meter = Meter(self.body["meter"])
        made = pricing.set_cost(
            meter=meter,
            model=self.body["model"],
            device_class=self.body["device_class"],
            currency=self.body["currency"],
            pico_per_unit=prices.parse(meter, self.body["cost"]),
            valid_from=self.body["valid_from"],
            note=self.body["note"],
            by=self.actor,
        )
        return Response(CostSerializer(made).data, status=201)


class MinimumsView(AdministratorView):
    """The least that organizations pay."""

    @operation(
        id="adminListMinimums",
        tag=TAG,
        summary="Read minimum commitments",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By the order they were agreed on.",
                kind=paging.page_of(MinimumSerializer),
                example=examples.page(examples_prices.MINIMUM),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every minimum that was set; of an organization the latest that has begun holds."""
        page = paging.page_in_memory(price_list.minimums(), name="minimum", key=lambda one: one.id, query=self.query)
        return page.answer(MinimumSerializer)

    @operation(
        id="adminSetMinimum",
        tag=TAG,
        summary="Set a minimum commitment",
        body=NewMinimumFields,
        body_example={"organization": "harbour", "amount": "500.00", "period": "2026-11"},
        answers={201: Answer(description="The minimum.", kind=MinimumSerializer, example=examples_prices.MINIMUM)},
        raises=[InvalidPrice, InvalidPeriod, PriceInThePast, OrganizationNotFound],
    )
    def post(self, _request: Request) -> Response:
        """From a month on the organization pays at least so much a month; what is missing becomes a line when the month
        closes. Zero ends it."""
        made = minimums.set_minimum(
            organization=accounts.organization(slug=self.body["organization"]),
            pico=prices.parse_amount(self.body["amount"]),
            period=billing.period_of(self.body["period"]),
            note=self.body["note"],
            by=self.actor,
        )
        return Response(MinimumSerializer(made).data, status=201)


class DryRunView(AdministratorView):
    """What if."""

    @operation(
        id="adminTryPrices",
        tag=TAG,
        summary="Try a price list on a month",
        body=DryRunFields,
        body_example={"period": "2026-10", "rows": examples_prices.CANDIDATE},
        answers={200: Answer(description="The difference.", kind=DryRunSerializer, example=examples_prices.DRY_RUN)},
        raises=[CandidateInvalid, InvalidPeriod],
    )
    def post(self, _request: Request) -> Response:
        """Re-rates the usage that ended in a month with a candidate price list and says what each organization would
        have been charged. Nothing is written."""
        found = dry_run.run(
            period=billing.period_of(self.body["period"]), text=self.body["rows"], is_whole=self.body["is_whole"]
        )
        return Response(DryRunSerializer(found).data)
