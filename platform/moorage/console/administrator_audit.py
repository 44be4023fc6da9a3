"""The audit log: who did what, to what, and why."""

import datetime as dt
from typing import Any, Final

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import AuditEntry
from moorage.billing import review_csv
from moorage.console.addresses import filter_of, found
from moorage.console.doors import administrator
from moorage.console.downloads import csv_file
from moorage.console.forms_review import AuditForm
from moorage.console.templatetags.shown import curl_command
from moorage.kernel import ids

_PAGE: Final = 100
_EXPORTED_MOST: Final = 50_000


@administrator
@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    """The newest entries that fit, a hundred at a time."""
    form, rows = _asked(request)
    after = filter_of(request, "after")
    if after is not None:
        if not ids.is_id(after, "aud"):
            raise Http404("There is no such page.")
        rows = rows.filter(pk__lt=after)
    page = list(rows[: _PAGE + 1])
    context = {
        "form": form,
        "rows": [(entry, _detail(entry)) for entry in page[:_PAGE]],
        "after": page[_PAGE - 1].pk if len(page) > _PAGE else None,
        "query": request.GET.urlencode(),
        "command": curl_command("admin/audit"),
    }
    return render(request, "administrator/audit.html", context, status=422 if form.errors else 200)


@administrator
@require_safe
def audit_csv(request: HttpRequest) -> HttpResponse:
    """The entries that fit, for a spreadsheet."""
    _, rows = _asked(request)
    return csv_file(review_csv.audit_csv(rows[:_EXPORTED_MOST]), "audit.csv")


def _asked(request: HttpRequest) -> tuple[AuditForm, QuerySet[AuditEntry]]:
    form = AuditForm(request.GET)
    if not form.is_valid():
        return form, AuditEntry.objects.none()
    wanted = form.cleaned_data
    organization = None
    if wanted["organization"]:
        with found():
            organization = accounts.organization(slug=wanted["organization"])
    rows = accounts.audit_entries(
        organization=organization,
        actor=wanted["actor"] or None,
        action=wanted["action"] or None,
        subject=wanted["subject"] or None,
        since=_midnight(wanted["since"]),
        until=_midnight(wanted["until"], days=1),
    )
    return form, rows


def _midnight(day: dt.date | None, *, days: int = 0) -> dt.datetime | None:
    if day is None or day.year > 9000:
        return None
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC) + dt.timedelta(days=days)


def _detail(entry: AuditEntry) -> dict[str, Any]:
    return {name: value for name, value in sorted(entry.detail.items()) if name not in ("by", "reason") and value != ""}
