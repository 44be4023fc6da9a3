"""Usage: a month's sums, and down to single requests."""

import dataclasses
from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts.models import ApiKey, Organization
from moorage.api import examples, examples_usage, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_usage import (
    RatedRequestSerializer,
    RequestSerializer,
    RequestsFields,
    UsageFields,
    UsageSerializer,
    rated_document,
)
from moorage.billing import queries as billing
from moorage.billing.errors import InvalidPeriod
from moorage.deployments.models import Deployment, Revision
from moorage.metering import queries as metering
from moorage.metering.errors import RequestNotFound
from moorage.metering.queries import Grouping

TAG: Final = "Usage"
REQUESTS_ANSWERS: Final = {
    200: Answer(
        description="The requests, newest first.",
        kind=paging.page_of(RequestSerializer),
        example=examples.page(examples_usage.REQUEST),
    )
}
REQUEST_ANSWERS: Final = {
    200: Answer(
        description="The request and what it costs.",
        kind=RatedRequestSerializer,
        example=examples_usage.RATED_REQUEST,
    )
}


class UsageView(OrganizationView):
    """A month's sums."""

    @operation(
        id="getUsage",
        tag=TAG,
        summary="Sum up a month's usage",
        query=UsageFields,
        answers={200: Answer(description="The sums by group.", kind=UsageSerializer, example=examples_usage.USAGE)},
        raises=[InvalidPeriod, paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Tokens and replica seconds that ended in the month, some seconds old. What they cost is on the statement.

        Replica time belongs to no key and to no single model name, so those groups have none.
        """
        period = billing.period_of(self.query.get("period"))
        grouping = Grouping(self.query["group"])
        start, end = period.start, period.end
        rows = metering.usage(organization=self.organization, by=grouping, start=start, end=end)
        page = paging.page_in_memory(rows, name=grouping.value, key=lambda row: row.group, query=self.query)
        labels = _labels(self.organization, grouping, [row.group for row in page.rows])
        total = metering.total(organization=self.organization, start=start, end=end)
        document = {
            "period": str(period),
            "period_start": period.start,
            "period_end": period.end,
            "grouped_by": grouping.value,
            "total": {**dataclasses.asdict(total), "label": ""},
            "data": [{**dataclasses.asdict(row), "label": labels.get(row.group, row.group)} for row in page.rows],
            "next_cursor": page.next_cursor,
        }
        return Response(UsageSerializer(document).data)


class RequestsView(OrganizationView):
    """Single requests."""

    @operation(
        id="listRequests",
        tag=TAG,
        summary="List requests",
        query=RequestsFields,
        answers=REQUESTS_ANSWERS,
        raises=[InvalidPeriod, paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """The requests that ended in the month, newest first. Prompts and answers are stored nowhere."""
        return requests_page(self.organization, self.query)


class RequestView(OrganizationView):
    """One request by its id."""

    @operation(
        id="getRequest",
        tag=TAG,
        summary="Look at a request",
        path=["request_id"],
        answers=REQUEST_ANSWERS,
        raises=[RequestNotFound],
    )
    def get(self, _request: Request, request_id: str) -> Response:
        """One request with its counts, and every charge with the price that was in force."""
        return Response(rated_document(billing.rated_request(organization=self.organization, request_id=request_id)))


def requests_page(organization: Organization, query: dict[str, Any]) -> Response:
    """The page of requests that ``query`` (RequestsFields) asks for. Raises InvalidPeriod, InvalidCursor."""
    period = billing.period_of(query.get("period"))
    found = metering.requests(
        organization=organization,
        start=period.start,
        end=period.end,
        deployment_id=query.get("deployment_id"),
        revision_id=query.get("revision_id"),
        key_id=query.get("key_id"),
        served_name=query.get("served_name"),
        after=query.get("cursor"),
        limit=query["limit"],
    )
    return paging.Page(rows=found.requests, next_cursor=found.after).answer(RequestSerializer)


def _labels(organization: Organization, grouping: Grouping, groups: list[str]) -> dict[str, str]:
    """The names behind the ids of the groups."""
    match grouping:
        case Grouping.DEPLOYMENT:
            deployments = Deployment.objects.for_organization(organization).filter(pk__in=groups)
            return dict(deployments.values_list("id", "name"))
        case Grouping.KEY:
            return dict(ApiKey.objects.for_organization(organization).filter(pk__in=groups).values_list("id", "name"))
        case Grouping.REVISION:
            revisions = Revision.objects.for_organization(organization).filter(pk__in=groups)
            found = revisions.values_list("id", "deployment__name", "number")
            return {key: f"{name} revision {number}" for key, name, number in found}
        case _:
            return {}
