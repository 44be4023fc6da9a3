"""What units cost us, prices made of that with a margin, and the least that organizations pay a month."""

import dataclasses

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries as accounts
from moorage.accounts.models import Organization
from moorage.billing import minimums as agreed
from moorage.billing import price_list as listed
from moorage.billing import prices
from moorage.billing import pricing as billing
from moorage.billing import queries as questions
from moorage.billing.models import Meter, MinimumCommitment, UnitCost
from moorage.console.administrator_prices import add_error, organization_in
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_prices import CostForm, MarginForm, MinimumForm
from moorage.console.priced import meter_words, price_words
from moorage.kernel.clock import Period
from moorage.kernel.errors import PlatformError


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostRow:
    """A cost in words."""

    cost: UnitCost
    meter: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimumRow:
    """A minimum in words."""

    minimum: MinimumCommitment
    period: str


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def costs(request: HttpRequest) -> HttpResponse:
    """Costs, the form that sets one, and the form that makes a price of one."""
    known = listed.costs()
    is_margin = request.method == "POST" and "cost_id" in request.POST
    is_cost = request.method == "POST" and not is_margin
    cost_form = CostForm(request.POST if is_cost else None)
    margin_form = MarginForm(
        request.POST if is_margin else None, costs=known, organizations=Organization.objects.order_by("name")
    )
    try:
        if is_cost and cost_form.is_valid():
            _set_cost(request, cost_form)
            return redirect("console:admin_costs")
        if is_margin and margin_form.is_valid():
            _set_margin(request, margin_form)
            return redirect("console:admin_prices")
    except PlatformError as error:
        add_error(margin_form if is_margin else cost_form, error)
    context = {
        "cost_form": cost_form,
        "margin_form": margin_form,
        "rows": [
            CostRow(
                cost=cost,
                meter=meter_words(cost.meter),
                text=price_words(cost.meter, cost.pico_per_unit, cost.currency),
            )
            for cost in known
        ],
    }
    has_errors = bool(cost_form.errors or margin_form.errors)
    return render(request, "administrator/costs.html", context, status=422 if has_errors else 200)


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def minimums(request: HttpRequest) -> HttpResponse:
    """Minimum commitments, and the form that sets one."""
    form = MinimumForm(
        request.POST if request.method == "POST" else None, organizations=Organization.objects.order_by("name")
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = agreed.set_minimum(
                organization=accounts.organization(slug=form.cleaned_data["organization"]),
                pico=prices.parse_amount(form.cleaned_data["amount"]),
                period=questions.period_of(form.cleaned_data["period"]),
                note=form.cleaned_data["note"],
                by=actor_of(request),
            )
        except PlatformError as error:
            add_error(form, error)
        else:
            period = Period.containing(made.period_start)
            messages.success(
                request,
                f"From {period} on {made.organization.name} pays at least {form.cleaned_data['amount']}"
                f" {made.organization.currency}.",
            )
            return redirect("console:admin_minimums")
    rows = [MinimumRow(minimum=one, period=str(Period.containing(one.period_start))) for one in listed.minimums()]
    context = {"form": form, "rows": rows}
    return render(request, "administrator/minimums.html", context, status=422 if form.errors else 200)


def _set_cost(request: HttpRequest, form: CostForm) -> None:
    given = form.cleaned_data
    meter = Meter(given["meter"])
    try:
        pico = prices.parse(meter, given["cost"])
    except PlatformError as error:
        error.param = "cost"
        raise
    made = billing.set_cost(
        meter=meter,
        model=given["model"],
        device_class=given["device_class"],
        currency=given["currency"],
        pico_per_unit=pico,
        valid_from=given["valid_from"],
        note=given["note"],
        by=actor_of(request),
    )
    messages.success(
        request, f"{meter_words(made.meter)} of {made.model} cost us {price_words(made.meter, pico, made.currency)}."
    )


def _set_margin(request: HttpRequest, form: MarginForm) -> None:
    given = form.cleaned_data
    made = billing.set_price_over_cost(
        cost=billing.cost_by_id(given["cost_id"]),
        margin_basis_points=given["margin_basis_points"],
        organization=organization_in(form),
        valid_from=given["valid_from"],
        note=given["note"],
        by=actor_of(request),
    )
    messages.success(
        request,
        f"{meter_words(made.meter)} of {made.model} cost {price_words(made.meter, made.pico_per_unit, made.currency)}.",
    )
