"""Statements and invoices of the caller's organization."""

from typing import Any, Final

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts.models import Organization
from moorage.api import examples, examples_statements, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.renderers import CsvRenderer
from moorage.api.serializers_statements import (
    InvoiceSerializer,
    StatementFields,
    StatementSerializer,
    StatementSummarySerializer,
    statement_document,
    summary_document,
)
from moorage.billing import queries as billing
from moorage.billing.errors import InvalidPeriod

TAG: Final = "Billing"
STATEMENT_ANSWERS: Final = {
    200: Answer(
        description="The statement; as CSV with `format=csv` or `Accept: text/csv`.",
        kind=StatementSerializer,
        example=examples_statements.STATEMENT,
        texts={"text/csv": examples_statements.CSV},
    )
}


class StatementView(OrganizationView):
    """One month."""

    renderer_classes = [JSONRenderer, CsvRenderer]

    @operation(
        id="getStatement",
        tag=TAG,
        summary="Read a month's statement",
        query=StatementFields,
        answers=STATEMENT_ANSWERS,
        raises=[InvalidPeriod],
    )
    def get(self, request: Request) -> Response:
        """The month line by line: quantity × price = amount, exactly. A running month grows until it is closed."""
        return statement_answer(request, self.organization, self.query)


class StatementsView(OrganizationView):
    """All months."""

    @operation(
        id="listStatements",
        tag=TAG,
        summary="List statements",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The months, newest first.",
                kind=paging.page_of(StatementSummarySerializer),
                example=examples.page(examples_statements.STATEMENT_SUMMARY),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every month with usage, frozen or running, newest first. The present one is always among them."""
        months = billing.months(organization=self.organization)
        page = paging.page_in_memory(months, name="period", key=str, query=self.query, newest_first=True)
        views = [billing.statement(organization=self.organization, period=period) for period in page.rows]
        shown = paging.Page(rows=[summary_document(view) for view in views], next_cursor=page.next_cursor)
        return shown.answer(StatementSummarySerializer)


class InvoicesView(OrganizationView):
    """The organization's invoices."""

    @operation(
        id="listInvoices",
        tag=TAG,
        summary="List invoices",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The invoices, newest first.",
                kind=paging.page_of(InvoiceSerializer),
                example=examples.page(examples_statements.INVOICE),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """What you owe and have paid, newest first, those that an administrator is looking at included."""
        rows = billing.invoices_of(self.organization)
        return paging.page(rows, order="-id", query=self.query).answer(InvoiceSerializer)


def statement_answer(request: Request, organization: Organization, query: dict[str, Any]) -> Response:
    """The statement that ``query`` (StatementFields) asks for, in the format asked for. Raises InvalidPeriod."""
    view = billing.statement(organization=organization, period=billing.period_of(query.get("period")))
    wanted = query.get("format") or request.accepted_renderer.format
    if wanted == "json":
        request.accepted_renderer = JSONRenderer()
        return Response(StatementSerializer(statement_document(view)).data)
    request.accepted_renderer = CsvRenderer()
    request.accepted_media_type = CsvRenderer.media_type
    filename = f"{organization.slug}-{view.statement.period}.csv"
    return Response(
        view.csv,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )
