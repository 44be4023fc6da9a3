"""Revenue, cost of devices and margin of a month: by organization, model and device class."""

import dataclasses

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import Organization
from moorage.billing import margins, review_csv
from moorage.billing.margin import Row
from moorage.console.addresses import month_choice, month_of
from moorage.console.doors import administrator
from moorage.console.downloads import csv_file
from moorage.console.templatetags.shown import curl_command
from moorage.kernel import clock, currencies


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarginRow:
    """A line with whose it is."""

    row: Row
    organization: Organization | None
    #: Margin in tenths of a percent of the revenue; None without revenue.
    per_mille: int | None

    @property
    def percent(self) -> str:
        """``12.3 %``; empty without revenue."""
        if self.per_mille is None:
            return ""
        whole, tenth = divmod(abs(self.per_mille), 10)
        return f"{'−' if self.per_mille < 0 else ''}{whole}.{tenth} %"


@administrator
@require_safe
def margin(request: HttpRequest) -> HttpResponse:
    """The month as it is rated and metered by now."""
    period, currency = month_of(request), _currency(request)
    month = margins.margin_of(period, now=clock.now(), currency=currency)
    owners = accounts.organizations_by_id(row.organization_id for row in month.rows)
    context = {
        "month": month_choice(period, now=clock.now()),
        "total": _shown(month.total, owners),
        "by_organization": [_shown(row, owners) for row in month.by_organization],
        "by_model": [_shown(row, owners) for row in month.by_model],
        "by_device_class": [_shown(row, owners) for row in month.by_device_class],
        "rows": [_shown(row, owners) for row in month.rows],
        "idle": [_shown(row, owners) for row in month.idle],
        "currency": currency,
        "currencies": margins.currencies_of(period),
        "has_costs": margins.has_costs(),
        "command": curl_command(f"admin/margin?period={period}&currency={currency}"),
    }
    return render(request, "administrator/margin.html", context)


@administrator
@require_safe
def margin_csv(request: HttpRequest) -> HttpResponse:
    """The month's lines for a spreadsheet."""
    period, currency = month_of(request), _currency(request)
    month = margins.margin_of(period, now=clock.now(), currency=currency)
    text = review_csv.margin_csv(month, period, accounts.slugs(row.organization_id for row in month.rows))
    return csv_file(text, f"margin-{period}-{currency}.csv")


def _currency(request: HttpRequest) -> str:
    """What the page is in: ``?currency=``, or what new organizations pay in."""
    asked = request.GET.get("currency", "")
    try:
        return currencies.parse(asked) if asked else settings.MOORAGE_CURRENCY
    except currencies.CurrencyRefused as refused:
        raise Http404(refused.message) from refused


def _shown(row: Row, owners: dict[str, Organization]) -> MarginRow:
    per_mille = row.margin_pico * 1000 // row.revenue_pico if row.revenue_pico > 0 and row.is_cost_known else None
    return MarginRow(row=row, organization=owners.get(row.organization_id), per_mille=per_mille)
