"""The price list with its history, a new price from a moment on, and the end of one."""

import dataclasses
from typing import Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries as accounts
from moorage.accounts.models import Organization
from moorage.billing import price_list as listed
from moorage.billing import pricing as billing
from moorage.billing.models import Price
from moorage.billing.price_list import PriceEntry
from moorage.console.addresses import filter_of, found
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_prices import EndPriceForm, PriceForm
from moorage.console.priced import hour_words, meter_words, price_words, scope_words, tier_words
from moorage.console.templatetags.shown import curl_command
from moorage.kernel import clock
from moorage.kernel.errors import PlatformError

#: The body of the same over REST.
_BODY: Final = (
    """-H "Content-Type: application/json" -d '{"meter": "output_tokens", "model": "demo/*", "price": "0.60"}'"""
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceRow:
    """One price in words."""

    price: Price
    text: str
    hour: str
    tiers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntryRow:
    """A scope: its price now, the ones to come, the ones before."""

    entry: PriceEntry
    meter: str
    scope: str
    in_force: PriceRow | None
    upcoming: tuple[PriceRow, ...]
    history: tuple[PriceRow, ...]


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def price_list(request: HttpRequest) -> HttpResponse:
    """What everything costs, and the form that sets a new price; nothing that is rated changes."""
    # The alarm of unpriced usage leads here with what is missing and since when: a price from now on would be too late.
    first = {name: filter_of(request, name) for name in ("meter", "model", "valid_from", "organization", "currency")}
    form = PriceForm(
        request.POST or None,
        initial={name: value for name, value in first.items() if value},
        organizations=Organization.objects.order_by("name"),
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = _set(request, form)
        except PlatformError as error:
            add_error(form, error)
        else:
            row = _row(made)
            messages.success(
                request,
                f"{meter_words(made.meter)} of {made.model} cost {row.text}"
                f" from {made.valid_from:%Y-%m-%d %H:%M:%S} UTC on.",
            )
            return redirect("console:admin_prices")
    context = {
        "form": form,
        "rows": [_entry(entry) for entry in listed.price_list(now=clock.now())],
        "command": curl_command("admin/prices", method="POST", options=_BODY),
    }
    return render(request, "administrator/prices.html", context, status=422 if form.errors else 200)


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def end_price(request: HttpRequest, price_id: str) -> HttpResponse:
    """Ends a price at a moment: from then on the next best one counts."""
    with found():
        price = billing.price_by_id(price_id)
    form = EndPriceForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            ended = billing.end_price(
                price=price, at=form.cleaned_data["at"], note=form.cleaned_data["note"], by=actor_of(request)
            )
        except PlatformError as error:
            add_error(form, error)
        else:
            messages.success(
                request,
                f"{meter_words(price.meter)} of {price.model} have this price until"
                f" {ended.valid_from:%Y-%m-%d %H:%M:%S} UTC.",
            )
            return redirect("console:admin_prices")
    context = {
        "form": form,
        "row": _row(price),
        "meter": meter_words(price.meter),
        "scope": scope_words(organization=price.organization, state=price.state, device_class=price.device_class),
    }
    return render(request, "administrator/end_price.html", context, status=422 if form.errors else 200)


def add_error(form: forms.Form, error: PlatformError) -> None:
    """The sentence at the field that it is about, or above the form."""
    form.add_error(error.param if error.param in form.fields else None, error.message)


def organization_in(form: forms.Form) -> Organization | None:
    """The organization that was chosen; None: everybody."""
    slug = form.cleaned_data["organization"]
    return accounts.organization(slug=slug) if slug else None


def _set(request: HttpRequest, form: PriceForm) -> Price:
    meter, pico, graduated = form.meter_and_rates()
    given = form.cleaned_data
    return billing.set_price(
        meter=meter,
        model=given["model"],
        organization=organization_in(form),
        state=given["state"],
        device_class=given["device_class"],
        currency=given["currency"],
        pico_per_unit=pico,
        graduated=graduated,
        valid_from=given["valid_from"],
        valid_to=given["valid_to"],
        note=given["note"],
        by=actor_of(request),
    )


def _entry(entry: PriceEntry) -> EntryRow:
    return EntryRow(
        entry=entry,
        meter=meter_words(entry.meter),
        scope=scope_words(organization=entry.organization, state=entry.state, device_class=entry.device_class),
        in_force=_row(entry.in_force) if entry.in_force else None,
        upcoming=tuple(_row(price) for price in entry.upcoming),
        history=tuple(_row(price) for price in entry.history),
    )


def _row(price: Price) -> PriceRow:
    return PriceRow(
        price=price,
        text=price_words(price.meter, price.pico_per_unit, price.currency),
        hour=hour_words(price.meter, price.pico_per_unit, price.currency),
        tiers=tier_words(price),
    )
