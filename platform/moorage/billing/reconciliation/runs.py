"""Runs the jobs that are due or asked for, one run of a job at a time, and keeps what they found.

A row without an end is a run that is asked for or under way: the database lets there be one of a job. The comparison is
made outside any transaction. A run that could not be made (the provider or the runtime does not answer, the process
died) is a row that says so; it is not clean.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.models import ReconciliationRun
from moorage.billing.payments import PaymentProvider, ProviderError
from moorage.billing.reconciliation import books, engines, invoices, journals, meter, payments, replicas, settled
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.billing.reconciliation.jobs import JOBS, Job, is_due
from moorage.fleet.errors import RuntimeUnreachable
from moorage.fleet.runtime import ContainerRuntime
from moorage.kernel import clock

logger = logging.getLogger(__name__)

#: A run that takes longer has died.
RUNS_MOST: Final = dt.timedelta(minutes=20)
#: What is committed may have arrived so much earlier: a transaction's rows carry the time of its beginning.
ARRIVED: Final = dt.timedelta(minutes=1)
#: How far the first run looks back, and any run at most: longer gaps are read in several runs.
LOOKS_BACK: Final = dt.timedelta(hours=24)
#: Rows of one job that are kept: the newest, and the newest that were not clean.
KEPT_ROWS: Final = 500
KEPT_DIRTY: Final = 100

Run = Callable[[Window], Result]


def jobs(*, providers: Mapping[str, PaymentProvider]) -> dict[Job, Run]:
    """What a worker without a container runtime runs."""
    return {
        Job.BOOKS: books.books,
        Job.SETTLED: settled.settled,
        Job.JOURNALS: journals.journals,
        Job.METER: lambda window: meter.meter(window, providers=providers),
        Job.INVOICES: lambda window: invoices.invoices(window, providers=providers),
        Job.PAYMENTS: lambda window: payments.payments(window, providers=providers),
    }


def runtime_jobs(*, runtime: ContainerRuntime) -> dict[Job, Run]:
    """What the provisioning worker runs."""
    return {
        Job.REPLICAS: lambda window: replicas.replicas(window, runtime=runtime),
        Job.ENGINES: engines.engines,
    }


def run_due(available: Mapping[Job, Run], *, now: dt.datetime) -> tuple[ReconciliationRun, ...]:
    """Runs those of ``available`` that are due or asked for, and gives back their rows."""
    _bury(now)
    ran = []
    for job, run in available.items():
        claimed = _claim(job, now)
        if claimed is not None:
            ran.append(_run(claimed, run, now))
    return tuple(ran)


@transaction.atomic
def ask(*, job: Job, by: Actor) -> ReconciliationRun:
    """Asks for a run of ``job`` as soon as a worker looks, which is within seconds. One that is asked for or under way
    already is given back."""
    try:
        with transaction.atomic():
            asked = ReconciliationRun.objects.create(job=job, asked_by=by.label[:120])
    except IntegrityError:
        return ReconciliationRun.objects.get(job=job, ended_at=None)
    audit.record(organization=None, by=by, action="reconciliation.asked", subject=str(job))
    return asked


@transaction.atomic
def acknowledge(*, job: Job, until: int, by: Actor, reason: str) -> int:
    """Somebody has seen to what the runs of ``job`` found, up to the run with the id ``until``: how many rows.

    Raises ReasonMissing, ReviewItemNotFound."""
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    moved = open_runs().filter(job=job, pk__lte=until)
    changed = moved.update(
        acknowledged_at=clock.now(), acknowledged_by=by.label[:120], acknowledged_because=said[:2000]
    )
    if not changed:
        raise ReviewItemNotFound
    audit.record(
        organization=None,
        by=by,
        action="reconciliation.acknowledged",
        subject=str(job),
        detail={"reason": said, "until": until, "runs": changed},
    )
    return changed


def open_runs() -> QuerySet[ReconciliationRun]:
    """Runs that found something nobody has seen to, newest first."""
    return ReconciliationRun.objects.filter(is_clean=False, acknowledged_at=None).order_by("-id")


def latest() -> dict[Job, ReconciliationRun]:
    """The newest run of each job, finished or not."""
    newest = ReconciliationRun.objects.order_by().values("job").annotate(newest=Max("id")).values("newest")
    return {Job(run.job): run for run in ReconciliationRun.objects.filter(pk__in=newest) if run.job in set(Job)}


def history(job: Job | None = None) -> QuerySet[ReconciliationRun]:
    """Runs that have ended, newest first."""
    found = ReconciliationRun.objects.filter(ended_at__isnull=False).order_by("-id")
    return found if job is None else found.filter(job=job)


def _claim(job: Job, now: dt.datetime) -> ReconciliationRun | None:
    """The row of a run that is this worker's to make; None where there is nothing to do or somebody else does it."""
    rows = ReconciliationRun.objects.filter(job=job)
    asked = rows.filter(started_at=None, ended_at=None).first()
    if asked is not None:
        if not rows.filter(pk=asked.pk, started_at=None).update(started_at=now):
            return None
        asked.started_at = now
        return asked
    last = rows.aggregate(last=Max("started_at"))["last"]
    if not is_due(job, last_started_at=last, now=now):
        return None
    try:
        with transaction.atomic():
            return ReconciliationRun.objects.create(job=job, asked_at=now, started_at=now)
    except IntegrityError:
        return None


def _run(row: ReconciliationRun, run: Run, now: dt.datetime) -> ReconciliationRun:
    window = _window(row, now)
    covered: dt.datetime | None = window.until
    try:
        result = run(window)
    except (ProviderError, RuntimeUnreachable, OSError) as error:
        # Not asked is not agreed: the next run begins where this one would have.
        sentence = f"Nothing could be compared: {str(error)[:300] or type(error).__name__}"
        result = Result(compared=0, findings=(Finding(code="not_compared", sentence=sentence, subject=row.job),))
        covered = None
    _finish(row, result, covered)
    return row


def _window(row: ReconciliationRun, now: dt.datetime) -> Window:
    until = now - ARRIVED
    covered = ReconciliationRun.objects.filter(job=row.job, covered_until__isnull=False)
    since = covered.aggregate(last=Max("covered_until"))["last"] or until - LOOKS_BACK
    return Window(since=min(since, until), until=min(until, since + LOOKS_BACK), now=now)


@transaction.atomic
def _finish(row: ReconciliationRun, result: Result, covered: dt.datetime | None) -> None:
    row.is_clean = result.count == 0
    row.ended_at = clock.now()
    row.compared = result.compared
    row.findings = [finding.to_json() for finding in result.findings[:KEPT_MOST]]
    row.finding_count = result.count
    row.note = result.note
    row.covered_until = covered
    changed = ReconciliationRun.objects.filter(pk=row.pk, ended_at=None).update(
        is_clean=row.is_clean,
        ended_at=row.ended_at,
        compared=row.compared,
        findings=row.findings,
        finding_count=row.finding_count,
        note=row.note,
        covered_until=covered,
    )
    if changed and not row.is_clean:
        logger.error("reconciliation_differs job=%s findings=%d run=%d", row.job, row.finding_count, row.pk)
    _forget(Job(row.job))


def _bury(now: dt.datetime) -> None:
    """Runs whose worker died say so, and make room for the next."""
    for row in ReconciliationRun.objects.filter(ended_at=None, started_at__lt=now - RUNS_MOST):
        finding = Finding(code="not_compared", sentence="The worker that ran it died or hung.", subject=row.job)
        _finish(row, Result(compared=0, findings=(finding,)), None)


def _forget(job: Job) -> None:
    """The oldest rows go; those that were not clean stay longer."""
    rows = ReconciliationRun.objects.filter(job=job, ended_at__isnull=False).order_by("-id")
    kept = list(rows.values_list("pk", flat=True)[:KEPT_ROWS])
    if len(kept) == KEPT_ROWS:
        dirty = list(rows.filter(is_clean=False).values_list("pk", flat=True)[:KEPT_DIRTY])
        rows.filter(pk__lt=kept[-1]).exclude(pk__in=dirty).delete()


__all__ = ["JOBS", "Job", "acknowledge", "ask", "history", "jobs", "latest", "open_runs", "run_due", "runtime_jobs"]
