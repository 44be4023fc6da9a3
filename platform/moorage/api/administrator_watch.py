"""What an administrator watches over REST: reconciliation, anomalies, margin, and what holds a month."""

from typing import Any, Final

from django.conf import settings
from django.db.models import Count
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.api import examples, examples_review, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.renderers import CsvRenderer
from moorage.api.serializers_administrator import ReasonFields
from moorage.api.serializers_margin import MarginFields, MarginRowSerializer, MarginSerializer
from moorage.api.serializers_review import (
    AcknowledgeRunFields,
    AnomaliesFields,
    AnomalySerializer,
    HeldMonthSerializer,
    JobSerializer,
    RunSerializer,
    RunsFields,
    UnpricedUsageSerializer,
    job_documents,
)
from moorage.billing import margins, review, review_csv, usage_watch
from moorage.billing import queries as billing
from moorage.billing.errors import InvalidPeriod, ReasonMissing, ReviewItemNotFound
from moorage.billing.reconciliation import runs
from moorage.billing.reconciliation.jobs import Job
from moorage.kernel import clock

TAG: Final = "Administrator"
EXPORTED_MOST: Final = 10_000


class TableView(AdministratorView):
    """A table that a spreadsheet can have too."""

    renderer_classes = [JSONRenderer, CsvRenderer]

    def is_csv(self, request: Request) -> bool:
        """Whether a spreadsheet is wanted, by ``format`` or by the Accept header."""
        chosen = self.query.get("format")
        return chosen == "csv" or (chosen is None and request.accepted_renderer.format == "csv")

    def as_csv(self, request: Request, text: str) -> Response:
        """``text`` for a spreadsheet."""
        request.accepted_renderer = CsvRenderer()
        request.accepted_media_type = CsvRenderer.media_type
        return Response(text, content_type="text/csv; charset=utf-8", headers={"Cache-Control": "no-store"})

    def as_json(self, request: Request) -> None:
        """``format=json`` wins over the Accept header."""
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type


class ReconciliationView(AdministratorView):
    """The eight jobs."""

    @operation(
        id="adminListReconciliationJobs",
        tag=TAG,
        summary="Read how the books agree",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The eight jobs.",
                kind=paging.page_of(JobSerializer),
                example=examples.page(examples_review.JOB),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Each of the eight comparisons with its interval, its newest run, and how many runs nobody has seen to."""
        counts = dict(runs.open_runs().order_by().values_list("job").annotate(count=Count("*")))
        rows = job_documents(runs.latest(), counts)
        page = paging.page_in_memory(rows, name="job", key=lambda one: str(one["job"]), query=self.query)
        return page.answer(JobSerializer)


class RunsView(TableView):
    """What was compared."""

    @operation(
        id="adminListReconciliationRuns",
        tag=TAG,
        summary="List reconciliation runs",
        query=RunsFields,
        answers={
            200: Answer(
                description="Newest first; as CSV with a line for each finding.",
                kind=paging.page_of(RunSerializer),
                example=examples.page(examples_review.RUN),
                texts={"text/csv": examples_review.RUNS_CSV},
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, request: Request) -> Response:
        """Runs that have ended, clean ones too, with what they found."""
        job = self.query.get("job")
        rows = runs.history(Job(job) if job else None)
        if self.is_csv(request):
            return self.as_csv(request, review_csv.runs_csv(rows[:EXPORTED_MOST]))
        self.as_json(request)
        return paging.page(rows, order="-id", query=self.query).answer(RunSerializer)


class RunJobView(AdministratorView):
    """Now."""

    @operation(
        id="adminRunReconciliation",
        tag=TAG,
        summary="Run a reconciliation job",
        path=["job"],
        answers={
            202: Answer(description="The run that is asked for.", kind=RunSerializer, example=examples_review.RUN)
        },
        raises=[ReviewItemNotFound],
    )
    def post(self, _request: Request, job: str) -> Response:
        """A worker takes it within half a minute. One that is asked for or under way already is given back."""
        return Response(RunSerializer(runs.ask(job=_job(job), by=self.actor)).data, status=202)


class AcknowledgeJobView(AdministratorView):
    """Seen to."""

    @operation(
        id="adminAcknowledgeReconciliation",
        tag=TAG,
        summary="Say that findings are seen to",
        path=["job"],
        body=AcknowledgeRunFields,
        body_example={"until": 812, "reason": "Rated again after the price was set."},
        answers={204: Answer(description="They are seen to.")},
        raises=[ReviewItemNotFound, ReasonMissing],
    )
    def post(self, _request: Request, job: str) -> Response:
        """What the job found up to a run is seen to, with what was done about it."""
        runs.acknowledge(job=_job(job), until=self.body["until"], by=self.actor, reason=self.body["reason"])
        return Response(status=204)


class AnomaliesView(TableView):
    """Unusual usage."""

    @operation(
        id="adminListAnomalies",
        tag=TAG,
        summary="List anomalies of usage",
        query=AnomaliesFields,
        answers={
            200: Answer(
                description="Newest first.",
                kind=paging.page_of(AnomalySerializer),
                example=examples.page(examples_review.ANOMALY),
                texts={"text/csv": examples_review.ANOMALIES_CSV},
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, request: Request) -> Response:
        """Surges, new keys in heavy use, disputed counts, and answers without a token."""
        rows = usage_watch.open_anomalies() if self.query["is_open"] else usage_watch.all_anomalies()
        if self.is_csv(request):
            found = list(rows[:EXPORTED_MOST])
            return self.as_csv(
                request, review_csv.anomalies_csv(found, accounts.slugs(row.organization_id for row in found))
            )
        self.as_json(request)
        return paging.page(rows, order="-id", query=self.query).answer(AnomalySerializer)


class AcknowledgeAnomalyView(AdministratorView):
    """Seen to."""

    @operation(
        id="adminAcknowledgeAnomaly",
        tag=TAG,
        summary="Say what an anomaly was",
        path=["anomaly_id"],
        body=ReasonFields,
        body_example={"reason": "Their launch."},
        answers={200: Answer(description="It now.", kind=AnomalySerializer, example=examples_review.ANOMALY)},
        raises=[ReviewItemNotFound, ReasonMissing],
    )
    def post(self, _request: Request, anomaly_id: int) -> Response:
        """Somebody has looked. What the anomaly said stays as it was."""
        found = usage_watch.acknowledge(anomaly_id=anomaly_id, by=self.actor, reason=self.body["reason"])
        return Response(AnomalySerializer(found).data)


class MarginView(TableView):
    """What is left."""

    @operation(
        id="adminGetMargin",
        tag=TAG,
        summary="Read a month's margin",
        query=MarginFields,
        answers={
            200: Answer(
                description="By organization, model and device class.",
                kind=MarginSerializer,
                example=examples_review.MARGIN,
                texts={"text/csv": examples_review.MARGIN_CSV},
            )
        },
        raises=[InvalidPeriod],
    )
    def get(self, request: Request) -> Response:
        """Revenue from rated usage, cost of devices by replica seconds, and what is left. Idle devices stand apart."""
        period = billing.period_of(self.query.get("period"))
        currency = str(self.query.get("currency") or settings.MOORAGE_CURRENCY)
        month = margins.margin_of(period, now=clock.now(), currency=currency)
        if self.is_csv(request):
            slugs = accounts.slugs(row.organization_id for row in month.rows)
            return self.as_csv(request, review_csv.margin_csv(month, period, slugs))
        self.as_json(request)
        tables = ("by_organization", "by_model", "by_device_class", "rows", "idle")
        document: dict[str, Any] = {
            "period": str(period),
            "currency": currency,
            "currencies": list(margins.currencies_of(period)),
            "total": MarginRowSerializer(month.total).data,
        }
        return Response(document | {name: MarginRowSerializer(getattr(month, name), many=True).data for name in tables})


class UnpricedView(AdministratorView):
    """Charged to nobody."""

    @operation(
        id="adminListUnpricedUsage",
        tag=TAG,
        summary="List usage without a price",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="By organization, meter and model.",
                kind=paging.page_of(UnpricedUsageSerializer),
                example=examples.page(examples_review.UNPRICED),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Usage that nobody has set a price for. Its month cannot be closed until somebody does."""
        rows = review.unpriced_usage()
        page = paging.page_in_memory(
            rows, name="usage", key=lambda one: f"{one.organization_id} {one.meter} {one.model}", query=self.query
        )
        return page.answer(UnpricedUsageSerializer)


class HeldMonthsView(AdministratorView):
    """Not closed."""

    @operation(
        id="adminListHeldMonths",
        tag=TAG,
        summary="List months that are held",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="In the order of their making.",
                kind=paging.page_of(HeldMonthSerializer),
                example=examples.page(examples_review.HELD_MONTH),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Months that are due and not closed, each with what it waits for."""
        return paging.page(review.held_months(), order="id", query=self.query).answer(HeldMonthSerializer)


def _job(text: str) -> Job:
    if text not in set(Job):
        raise ReviewItemNotFound("There is no such job: R1 to R8.")
    return Job(text)
