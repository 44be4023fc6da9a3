"""Unusual usage: what is found, whose it is, and who has looked."""

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.accounts import queries as accounts
from moorage.billing import closing, review_csv, usage_watch
from moorage.billing.models import UsageAnomaly
from moorage.console.addresses import filter_of
from moorage.console.doors import actor_of, administrator
from moorage.console.downloads import csv_file
from moorage.console.templatetags.shown import curl_command
from moorage.kernel.errors import NotFound, PlatformError

_SHOWN_MOST: Final = 200
_EXPORTED_MOST: Final = 10_000


@administrator
@require_safe
def anomalies(request: HttpRequest) -> HttpResponse:
    """What nobody has looked at yet; with ``?all=1`` everything that is kept."""
    is_all = filter_of(request, "all") is not None
    found = usage_watch.all_anomalies() if is_all else usage_watch.open_anomalies()
    rows = list(found[:_SHOWN_MOST])
    context = {
        "rows": _rows(rows),
        "is_all": is_all,
        "open": usage_watch.open_anomalies().count(),
        "command": curl_command("admin/anomalies"),
    }
    return render(request, "administrator/anomalies.html", context)


@administrator
@require_safe
def anomalies_csv(_request: HttpRequest) -> HttpResponse:
    """All that is kept, for a spreadsheet."""
    rows = list(usage_watch.all_anomalies()[:_EXPORTED_MOST])
    slugs = accounts.slugs(row.organization_id for row in rows)
    return csv_file(review_csv.anomalies_csv(rows, slugs), "anomalies.csv")


@administrator
@require_POST
def acknowledge(request: HttpRequest, anomaly_id: int) -> HttpResponse:
    """Somebody has looked, and says what it was."""
    try:
        usage_watch.acknowledge(anomaly_id=anomaly_id, by=actor_of(request), reason=request.POST.get("reason", ""))
    except NotFound as error:
        raise Http404(error.message) from error
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "It is seen to.")
    return redirect("console:admin_anomalies")


def _rows(rows: list[UsageAnomaly]) -> list[dict[str, Any]]:
    owners = accounts.organizations_by_id(row.organization_id for row in rows)
    of_keys = {row.subject_id for row in rows if row.subject_kind == "key"}
    keys = accounts.key_names(of_keys)
    names = closing.deployment_names({row.subject_id for row in rows if row.subject_kind == "deployment"})
    return [
        {
            "anomaly": row,
            "organization": owners.get(row.organization_id),
            "name": keys.get(row.subject_id) or names.get(row.subject_id) or "",
        }
        for row in rows
    ]
