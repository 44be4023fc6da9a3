"""The runs of the eight comparisons: when each is due, the row that it leaves, and what stays open."""

import datetime as dt
from collections.abc import Callable

import pytest

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.models import ReconciliationRun, Wallet
from moorage.billing.payments import ProviderUnavailable
from moorage.billing.reconciliation import runs
from moorage.billing.reconciliation.findings import Finding, Result, Window
from moorage.billing.reconciliation.jobs import JOBS, Job, is_due
from moorage.fleet.errors import RuntimeUnreachable
from moorage.kernel import clock
from tests.billing.findings import HOUR, MINUTE, NOW, Runtime
from tests.cast import Cast


def clean(_window: Window) -> Result:
    """A comparison that agrees."""
    return Result(compared=3)


def dirty(_window: Window) -> Result:
    """One that does not."""
    return Result(compared=3, findings=(Finding(code="differs", sentence="It differs.", subject="x"),), finding_count=9)


@pytest.mark.parametrize("job", list(Job))
def test_a_job_is_due_when_its_interval_has_passed(job: Job) -> None:
    every = JOBS[job].every

    assert is_due(job, last_started_at=None, now=NOW)
    assert is_due(job, last_started_at=NOW - every, now=NOW)
    assert not is_due(job, last_started_at=NOW - every + dt.timedelta(seconds=1), now=NOW)


def test_a_clean_run_is_a_row_too(db: None) -> None:
    (row,) = runs.run_due({Job.BOOKS: clean}, now=NOW)

    kept = ReconciliationRun.objects.get()
    assert kept.pk == row.pk
    assert (kept.job, kept.is_clean, kept.compared, kept.findings, kept.started_at) == ("R1", True, 3, [], NOW)
    assert runs.run_due({Job.BOOKS: clean}, now=NOW + MINUTE) == ()
    assert len(runs.run_due({Job.BOOKS: clean}, now=NOW + 5 * MINUTE)) == 1


def test_a_dirty_run_stays_open_until_somebody_says_what_was_done(cast: Cast) -> None:
    (row,) = runs.run_due({Job.BOOKS: dirty}, now=NOW)
    ada = Actor.person(cast.ada)

    assert [run.pk for run in runs.open_runs()] == [row.pk]
    assert (row.finding_count, row.findings[0]["sentence"]) == (9, "It differs.")
    with pytest.raises(ReasonMissing):
        runs.acknowledge(job=Job.BOOKS, until=row.pk, by=ada, reason=" ")
    runs.acknowledge(job=Job.BOOKS, until=row.pk, by=ada, reason="Our own test.")

    assert not runs.open_runs().exists()
    entry = AuditEntry.objects.get(action="reconciliation.acknowledged")
    assert (entry.actor, entry.detail["reason"]) == (ada.id, "Our own test.")
    with pytest.raises(ReviewItemNotFound):
        runs.acknowledge(job=Job.BOOKS, until=row.pk, by=ada, reason="Again.")


def test_the_button_runs_a_job_before_it_is_due_and_once(cast: Cast) -> None:
    runs.run_due({Job.PAYMENTS: clean}, now=NOW)
    asked = runs.ask(job=Job.PAYMENTS, by=Actor.person(cast.ada))

    again = runs.ask(job=Job.PAYMENTS, by=Actor.person(cast.ada))
    (ran,) = runs.run_due({Job.PAYMENTS: clean}, now=NOW + MINUTE)

    assert again.pk == asked.pk == ran.pk
    assert (ran.asked_by, ran.is_clean) == ("ada@example.com", True)
    assert AuditEntry.objects.filter(action="reconciliation.asked").count() == 1
    assert runs.run_due({Job.PAYMENTS: clean}, now=NOW + 2 * MINUTE) == ()


@pytest.mark.parametrize("error", [ProviderUnavailable("It did not answer."), RuntimeUnreachable("No answer.")])
def test_what_could_not_be_asked_is_not_clean_and_is_looked_at_again(db: None, error: Exception) -> None:
    seen: list[Window] = []

    def failing(asked: Window) -> Result:
        seen.append(asked)
        raise error

    def watching(asked: Window) -> Result:
        seen.append(asked)
        return Result(compared=1)

    runs.run_due({Job.SETTLED: clean}, now=NOW)
    (failed,) = runs.run_due({Job.SETTLED: failing}, now=NOW + HOUR)
    runs.run_due({Job.SETTLED: watching}, now=NOW + 2 * HOUR)

    assert failed.is_clean is False
    assert failed.findings[0]["code"] == "not_compared"
    assert seen[0].since == seen[1].since == NOW - runs.ARRIVED, "nothing falls between two runs"


def test_a_run_whose_worker_died_says_so_and_makes_room(db: None) -> None:
    ReconciliationRun.objects.create(job=Job.BOOKS, started_at=NOW - HOUR)

    (ran,) = runs.run_due({Job.BOOKS: clean}, now=NOW)

    died = ReconciliationRun.objects.order_by("pk")[0]
    assert (died.is_clean, ran.is_clean) == (False, True)
    assert "died" in died.findings[0]["sentence"]


def test_a_run_that_is_under_way_is_nobody_elses(db: None) -> None:
    ReconciliationRun.objects.create(job=Job.BOOKS, started_at=NOW - MINUTE)

    assert runs.run_due({Job.BOOKS: clean}, now=NOW + 10 * MINUTE) == ()


def test_rows_are_bounded_and_what_was_not_clean_stays_longer(db: None) -> None:
    old = ReconciliationRun(job=Job.BOOKS, started_at=NOW, ended_at=NOW, is_clean=False)
    rows = [ReconciliationRun(job=Job.BOOKS, started_at=NOW, ended_at=NOW, is_clean=True) for _ in range(520)]
    other = ReconciliationRun(job=Job.SETTLED, started_at=NOW, ended_at=NOW, is_clean=True)
    ReconciliationRun.objects.bulk_create([old, other, *rows])

    runs.run_due({Job.BOOKS: clean}, now=NOW + HOUR)

    assert ReconciliationRun.objects.filter(job=Job.BOOKS, is_clean=True).count() == runs.KEPT_ROWS
    assert ReconciliationRun.objects.filter(job=Job.BOOKS, is_clean=False).count() == 1
    assert ReconciliationRun.objects.filter(job=Job.SETTLED).count() == 1


def test_every_job_is_run_by_one_of_the_two_workers() -> None:
    here = set(runs.jobs(providers={}))
    there = set(runs.runtime_jobs(runtime=Runtime()))  # type: ignore[arg-type]

    assert here | there == set(Job)
    assert not here & there
    assert there == {job for job in Job if JOBS[job].needs_runtime}


def test_on_an_instance_where_all_is_well_every_job_is_clean(funded: Wallet) -> None:
    available: dict[Job, Callable[[Window], Result]] = {
        **runs.jobs(providers={}),
        **runs.runtime_jobs(runtime=Runtime()),  # type: ignore[arg-type]
    }

    ran = runs.run_due(available, now=clock.now() + 2 * MINUTE)

    assert {row.job: row.findings for row in ran} == {str(job): [] for job in Job}
