"""The audit log over REST, and the limits that an administrator sets for an organization."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import limits as accounts_limits
from moorage.accounts import queries as accounts
from moorage.accounts.errors import InvalidAccount, OrganizationNotFound
from moorage.accounts.models import Organization
from moorage.api import examples, examples_review, paging
from moorage.api.administrator_watch import EXPORTED_MOST, TableView
from moorage.api.doors import AdministratorView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_limits import (
    LimitFields,
    LimitsAndUseSerializer,
    limits_document,
    limits_from,
    use_document,
)
from moorage.api.serializers_review import AuditEntrySerializer, AuditFields
from moorage.billing import review_csv

TAG: Final = "Administrator"
_LIMITS: Final = Answer(
    description="The limits, and how each stands.", kind=LimitsAndUseSerializer, example=examples.LIMITS
)


class AuditView(TableView):
    """Who did what."""

    @operation(
        id="adminListAuditEntries",
        tag=TAG,
        summary="Read the audit log",
        query=AuditFields,
        answers={
            200: Answer(
                description="Newest first; as CSV at most ten thousand.",
                kind=paging.page_of(AuditEntrySerializer),
                example=examples.page(examples_review.AUDIT_ENTRY),
                texts={"text/csv": examples_review.AUDIT_CSV},
            )
        },
        raises=[OrganizationNotFound, paging.InvalidCursor],
    )
    def get(self, request: Request) -> Response:
        """Deeds of people, of programs by their keys, and of Moorage itself, with the reason where there is one."""
        asked = self.query
        slug = asked.get("organization")
        rows = accounts.audit_entries(
            organization=accounts.organization(slug=slug) if slug else None,
            **{name: asked.get(name) for name in ("actor", "action", "subject", "since", "until")},
        )
        if self.is_csv(request):
            return self.as_csv(request, review_csv.audit_csv(rows[:EXPORTED_MOST]))
        self.as_json(request)
        return paging.page(rows, order="-id", query=asked).answer(AuditEntrySerializer)


class AnyOrganizationLimitsView(AdministratorView):
    """Of any organization."""

    @operation(
        id="adminGetLimits",
        tag=TAG,
        summary="Show an organization's limits",
        path=["slug"],
        answers={200: _LIMITS},
        raises=[OrganizationNotFound],
    )
    def get(self, _request: Request, slug: str) -> Response:
        """What all keys of the organization together may use, and how much of it is used."""
        return Response(_limits(accounts.organization(slug=slug)))

    @operation(
        id="adminSetLimits",
        tag=TAG,
        summary="Set an organization's limits",
        path=["slug"],
        body=LimitFields,
        body_example={"requests_per_minute": 600, "money_per_month": "50.00"},
        answers={200: _LIMITS},
        raises=[OrganizationNotFound, InvalidAccount],
    )
    def put(self, _request: Request, slug: str) -> Response:
        """Replaces all limits; what is left out is not limited. Gateways hold them within a second."""
        organization = accounts.organization(slug=slug)
        accounts_limits.set_limits(
            organization=organization, subject=organization.pk, limits=limits_from(self.body), by=self.actor
        )
        return Response(_limits(organization))


def _limits(organization: Organization) -> dict[str, Any]:
    subject = organization.pk
    return {
        "limits": limits_document(accounts_limits.limits_of(organization=organization, subject=subject)),
        "uses": [use_document(use) for use in accounts_limits.uses(organization=organization, subject=subject)],
    }
