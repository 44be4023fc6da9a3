"""The administrator's review of usage: all organizations in a month, down to a line, down to a request."""

from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import Organization
from moorage.billing import review
from moorage.billing.provenance import provenance
from moorage.console import statements, usage
from moorage.console.addresses import filter_of, found, month_choice, month_of
from moorage.console.doors import administrator
from moorage.console.priced import meter_words
from moorage.console.templatetags.shown import curl_command
from moorage.console.usage import Links
from moorage.fleet import runtime_classes
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.metering import queries as metering

LINKS: Final = Links(
    request="console:admin_request",
    requests="console:admin_requests",
    line="console:admin_line",
    csv="console:admin_statement_csv",
    json="console:admin_statement_json",
)


@administrator
@require_safe
def organizations(request: HttpRequest) -> HttpResponse:
    """Every organization with its month, the highest amount first, and whatever waits for a person."""
    period = month_of(request)
    months = review.organizations_of_month(period)
    known = {month.organization.id: month.organization for month in months}
    context = {
        "month": month_choice(period, now=clock.now()),
        "rows": months,
        "totals": review.totals(months),
        "in_review": review.review_queue().count(),
        "unpriced": [(one, known.get(one.organization_id), meter_words(one.meter)) for one in review.unpriced_usage()],
        "held": [
            (held, known.get(held.organization_id), Period.containing(held.period_start))
            for held in review.held_months()
        ],
        "parked": review.parked_messages().count(),
        "disputed": [
            (one, known.get(one.organization_id)) for one in metering.disputed(start=period.start, end=period.end)
        ],
        "command": curl_command(f"admin/organizations?period={period}"),
    }
    return render(request, "administrator/organizations.html", context)


@administrator
@require_safe
def organization(request: HttpRequest, slug: str) -> HttpResponse:
    """One organization's month: what it used, its statement, its invoice."""
    one, period = _organization(slug), month_of(request)
    context = {
        **statements.statement_context(one, period),
        "trust_class": runtime_classes.class_of(one.pk),
        "total": metering.total(organization=one, start=period.start, end=period.end),
        "links": LINKS,
        "command": curl_command(f"admin/organizations/{slug}/statement?period={period}"),
    }
    return render(request, "administrator/organization.html", context)


@administrator
@require_safe
def statement_csv(request: HttpRequest, slug: str) -> HttpResponse:
    """The organization's month for a spreadsheet."""
    return statements.csv_answer(_organization(slug), month_of(request))


@administrator
@require_safe
def statement_json(request: HttpRequest, slug: str) -> HttpResponse:
    """The organization's statement as its canonical text."""
    return statements.json_answer(_organization(slug), month_of(request))


@administrator
@require_safe
def line(request: HttpRequest, slug: str, line_id: str) -> HttpResponse:
    """What a line of an organization's statement sums up."""
    context = statements.line_context(request, _organization(slug), month_of(request), line_id)
    return render(request, "administrator/line.html", {**context, "links": LINKS})


@administrator
@require_safe
def requests(request: HttpRequest, slug: str) -> HttpResponse:
    """An organization's requests of a month, newest first."""
    period = month_of(request)
    context = {
        **usage.requests_context(request, _organization(slug), period),
        "links": LINKS,
        "command": curl_command(f"admin/organizations/{slug}/requests?period={period}"),
    }
    return render(request, "administrator/requests.html", context)


@administrator
@require_safe
def request_page(request: HttpRequest, slug: str, request_id: str) -> HttpResponse:
    """One request of an organization with its charges, prices and trace."""
    found_context = usage.request_context(_organization(slug), request_id)
    context = {
        **found_context,
        "provenance": provenance(found_context["event"]),
        "links": LINKS,
        "command": curl_command(f"admin/requests/{request_id}"),
    }
    return render(request, "administrator/request.html", context)


@administrator
@require_safe
def find_request(request: HttpRequest) -> HttpResponseRedirect:
    """From a request id alone, as a person quotes it, to its page."""
    request_id = (filter_of(request, "id") or "").strip()
    with found():
        event = metering.any_request(request_id)
        owner = accounts.organization_with_id(event.organization_id)
    return redirect("console:admin_request", slug=owner.slug, request_id=event.request_id)


def _organization(slug: str) -> Organization:
    with found():
        return accounts.organization(slug=slug)
