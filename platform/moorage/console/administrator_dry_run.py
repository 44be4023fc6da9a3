"""A month re-rated with a candidate price list; nothing of it is written."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from moorage.billing import queries as billing
from moorage.billing.dry_run import DryRun, run
from moorage.console.administrator_prices import add_error
from moorage.console.doors import administrator
from moorage.console.forms_prices import DryRunForm
from moorage.console.priced import meter_words
from moorage.kernel.errors import PlatformError


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def dry_run_page(request: HttpRequest) -> HttpResponse:
    """The form, and what came of it: a POST because the candidate is long, though it changes nothing."""
    form = DryRunForm(
        request.POST if request.method == "POST" else None, initial={"period": str(billing.period_of(None))}
    )
    found: DryRun | None = None
    if request.method == "POST" and form.is_valid():
        try:
            found = run(
                period=billing.period_of(form.cleaned_data["period"]),
                text=form.cleaned_data["rows"],
                is_whole=form.is_whole,
            )
        except PlatformError as error:
            add_error(form, error)
    rows = [
        (one, [(meter_words(meter), name) for meter, name in one.unpriced])
        for one in (found.differences if found else ())
    ]
    context = {"form": form, "found": found, "rows": rows}
    return render(request, "administrator/dry_run.html", context, status=422 if form.errors else 200)
