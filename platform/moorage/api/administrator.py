"""The administrator's review across organizations: months, requests, nodes. Needs a key with the scope `admin`."""

from typing import Final

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.accounts.models import Organization
from moorage.api import examples, examples_statements, paging
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.renderers import CsvRenderer
from moorage.api.serializers_administrator import NodeSerializer, OrganizationMonthSerializer, OrganizationsFields
from moorage.api.serializers_statements import StatementFields
from moorage.api.serializers_usage import RequestsFields, rated_document
from moorage.api.statements import STATEMENT_ANSWERS, statement_answer
from moorage.api.usage import REQUEST_ANSWERS, REQUESTS_ANSWERS, requests_page
from moorage.billing import queries as billing
from moorage.billing import review
from moorage.billing.errors import InvalidPeriod
from moorage.fleet import queries as fleet
from moorage.metering import queries as metering
from moorage.metering.errors import RequestNotFound

TAG: Final = "Administrator"


class OrganizationsView(AdministratorView):
    """Every organization's month."""

    @operation(
        id="adminListOrganizations",
        tag=TAG,
        summary="Review a month of all organizations",
        query=OrganizationsFields,
        answers={
            200: Answer(
                description="The organizations by their short name.",
                kind=paging.page_of(OrganizationMonthSerializer),
                example=examples.page(examples_statements.ORGANIZATION_MONTH),
            )
        },
        raises=[InvalidPeriod, paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Usage that ended in the month and what is charged in it, of every organization, with its invoice."""
        months = review.organizations_of_month(billing.period_of(self.query.get("period")))
        page = paging.page_in_memory(months, name="slug", key=lambda month: month.organization.slug, query=self.query)
        return page.answer(OrganizationMonthSerializer)


class OrganizationStatementView(AdministratorView):
    """One organization's month."""

    renderer_classes = [JSONRenderer, CsvRenderer]

    @operation(
        id="adminGetStatement",
        tag=TAG,
        summary="Read an organization's statement",
        path=["slug"],
        query=StatementFields,
        answers=STATEMENT_ANSWERS,
        raises=[OrganizationNotFound, InvalidPeriod],
    )
    def get(self, request: Request, slug: str) -> Response:
        """The statement as the organization sees it."""
        return statement_answer(request, _organization(slug), self.query)


class OrganizationRequestsView(AdministratorView):
    """One organization's requests."""

    @operation(
        id="adminListRequests",
        tag=TAG,
        summary="List an organization's requests",
        path=["slug"],
        query=RequestsFields,
        answers=REQUESTS_ANSWERS,
        raises=[OrganizationNotFound, InvalidPeriod, paging.InvalidCursor],
    )
    def get(self, _request: Request, slug: str) -> Response:
        """The requests that ended in the month, as the organization sees them."""
        return requests_page(_organization(slug), self.query)


class AnyRequestView(AdministratorView):
    """One request, whoever's."""

    @operation(
        id="adminGetRequest",
        tag=TAG,
        summary="Look at any request",
        path=["request_id"],
        answers=REQUEST_ANSWERS,
        raises=[RequestNotFound],
    )
    def get(self, _request: Request, request_id: str) -> Response:
        """One request of any organization with its counts, its charges and the prices that were in force."""
        event = metering.events([request_id]).get(request_id)
        if event is None:
            raise RequestNotFound
        organization = accounts.organization_with_id(event.organization_id)
        return Response(rated_document(billing.rated_request(organization=organization, request_id=request_id)))


class NodesView(AdministratorView):
    """The fleet."""

    @operation(
        id="adminListNodes",
        tag=TAG,
        summary="List nodes",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The nodes by name.",
                kind=paging.page_of(NodeSerializer),
                example=examples.page(examples.NODE),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Every node, what it has, and what is reserved on it."""
        return paging.page(fleet.nodes(), order="name", query=self.query).answer(NodeSerializer)


def _organization(slug: str) -> Organization:
    return accounts.organization(slug=slug)
