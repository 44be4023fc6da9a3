"""The price list with its history, and a new price from a moment on."""

import dataclasses
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.billing import review
from moorage.billing import services as billing
from moorage.billing.models import Price
from moorage.billing.review import PriceEntry
from moorage.console.addresses import filter_of
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_billing import PriceForm
from moorage.console.priced import hour_words, meter_words, price_words
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntryRow:
    """A meter of a model: its price now, the ones to come, the ones before."""

    entry: PriceEntry
    meter: str
    in_force: PriceRow | None
    upcoming: tuple[PriceRow, ...]
    history: tuple[PriceRow, ...]


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def price_list(request: HttpRequest) -> HttpResponse:
    """What everything costs, and the form that sets a new price; nothing that is rated changes."""
    # The alarm of unpriced usage leads here with what is missing and since when: a price from now on would be too late.
    first = {name: filter_of(request, name) for name in ("meter", "model", "valid_from")}
    form = PriceForm(request.POST or None, initial={name: value for name, value in first.items() if value})
    if request.method == "POST" and form.is_valid():
        try:
            meter, pico = form.meter_and_pico()
            made = billing.set_price(
                meter=meter,
                model=form.cleaned_data["model"],
                pico_per_unit=pico,
                valid_from=form.cleaned_data["valid_from"],
                note=form.cleaned_data["note"],
                by=actor_of(request),
            )
        except PlatformError as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
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
        "rows": [_entry(entry) for entry in review.price_list(now=clock.now())],
        "command": curl_command("admin/prices", method="POST", options=_BODY),
    }
    return render(request, "administrator/prices.html", context, status=422 if form.errors else 200)


def _entry(entry: PriceEntry) -> EntryRow:
    return EntryRow(
        entry=entry,
        meter=meter_words(entry.meter),
        in_force=_row(entry.in_force) if entry.in_force else None,
        upcoming=tuple(_row(price) for price in entry.upcoming),
        history=tuple(_row(price) for price in entry.history),
    )


def _row(price: Price) -> PriceRow:
    return PriceRow(
        price=price,
        text=price_words(price.meter, price.pico_per_unit),
        hour=hour_words(price.meter, price.pico_per_unit),
    )
