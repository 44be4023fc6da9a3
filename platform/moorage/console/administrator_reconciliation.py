"""Reconciliation: the eight comparisons, when each was made last, and what differs, with where to look."""

import dataclasses
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.accounts import queries as accounts
from moorage.billing import review_csv
from moorage.billing.models import ReconciliationRun
from moorage.billing.reconciliation import runs
from moorage.billing.reconciliation.jobs import JOBS, Job, JobWords
from moorage.console.addresses import filter_of
from moorage.console.doors import actor_of, administrator
from moorage.console.downloads import csv_file
from moorage.console.templatetags.shown import curl_command
from moorage.kernel.errors import PlatformError

_HISTORY: Final = 60
_EXPORTED_MOST: Final = 5_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job with its last run and what of it is still open."""

    job: Job
    words: JobWords
    every_seconds: int
    last: ReconciliationRun | None
    #: The newest run that found something nobody has seen to, and how many there are.
    dirty: ReconciliationRun | None
    dirty_count: int
    findings: list[dict[str, Any]]


@administrator
@require_safe
def reconciliation(request: HttpRequest) -> HttpResponse:
    """The eight jobs; below them the runs of all of them, or of one."""
    chosen = _filter(request)
    rows = _rows()
    history = list(runs.history(chosen)[:_HISTORY])
    context = {
        "rows": rows,
        "open": sum(1 for row in rows if row.dirty is not None),
        "never": sum(1 for row in rows if row.last is None),
        "history": history,
        "chosen": chosen,
        "command": curl_command("admin/reconciliation"),
    }
    return render(request, "administrator/reconciliation.html", context)


@administrator
@require_safe
def runs_csv(request: HttpRequest) -> HttpResponse:
    """The runs with their findings for a spreadsheet."""
    return csv_file(review_csv.runs_csv(runs.history(_filter(request))[:_EXPORTED_MOST]), "reconciliation.csv")


@administrator
@require_POST
def run(request: HttpRequest, job: str) -> HttpResponse:
    """Asks for a run now."""
    asked = _job(job)
    runs.ask(job=asked, by=actor_of(request))
    messages.success(request, f"{asked} runs within half a minute. Load this page again then.")
    return redirect("console:admin_reconciliation")


@administrator
@require_POST
def acknowledge(request: HttpRequest, job: str) -> HttpResponse:
    """Somebody has seen to what a job found."""
    seen, until = _job(job), request.POST.get("until", "")
    if not until.isascii() or not until.isdecimal() or len(until) > 18:
        raise Http404("There is no such run.")
    try:
        runs.acknowledge(job=seen, until=int(until), by=actor_of(request), reason=request.POST.get("reason", ""))
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"What {seen} found is seen to.")
    return redirect("console:admin_reconciliation")


def _rows() -> list[JobRow]:
    latest = runs.latest()
    dirty: dict[str, list[ReconciliationRun]] = {}
    for one in runs.open_runs():
        dirty.setdefault(one.job, []).append(one)
    shown = [found[0] for found in dirty.values()]
    slugs = _slugs(shown)
    rows = []
    for job, words in JOBS.items():
        found = dirty.get(str(job), [])
        rows.append(
            JobRow(
                job=job,
                words=words,
                every_seconds=int(words.every.total_seconds()),
                last=latest.get(job),
                dirty=found[0] if found else None,
                dirty_count=len(found),
                findings=[_with_slug(finding, slugs) for finding in found[0].findings] if found else [],
            )
        )
    return rows


def _slugs(found: list[ReconciliationRun]) -> dict[str, str]:
    return accounts.slugs(finding.get("organization_id", "") for one in found for finding in one.findings)


def _with_slug(finding: dict[str, Any], slugs: dict[str, str]) -> dict[str, Any]:
    """With the short name that addresses have, where the organization is known."""
    return {**finding, "slug": slugs.get(finding.get("organization_id", ""), "")}


def _job(text: str) -> Job:
    if text not in set(Job):
        raise Http404("There is no such job.")
    return Job(text)


def _filter(request: HttpRequest) -> Job | None:
    text = filter_of(request, "job")
    return _job(text) if text is not None else None
