"""Limits and budgets of the organization, its keys and its deployments."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import limits as accounts_limits
from moorage.accounts.errors import InvalidAccount
from moorage.accounts.models import ApiKey, Priority
from moorage.api import examples
from moorage.api.doors import OrganizationView
from moorage.api.keys import KeyNotFound
from moorage.api.operation import Answer, operation
from moorage.api.serializers_limits import (
    KeyLimitFields,
    KeyLimitsAndUseSerializer,
    LimitFields,
    LimitsAndUseSerializer,
    limits_document,
    limits_from,
    use_document,
)
from moorage.deployments import queries as deployments
from moorage.deployments.errors import DeploymentNotFound

TAG: Final = "Limits"
_BODY: Final = {"requests_per_minute": 600, "money_per_month": "50.00"}
_SHOWN: Final = Answer(
    description="The limits, and how each stands.", kind=LimitsAndUseSerializer, example=examples.LIMITS
)
_SHOWN_KEY: Final = Answer(
    description="The limits, and how each stands.", kind=KeyLimitsAndUseSerializer, example=examples.KEY_LIMITS
)


class _LimitsView(OrganizationView):
    def shown(self, subject: str) -> dict[str, Any]:
        """The limits of ``subject`` and how they stand."""
        organization = self.organization
        return {
            "limits": limits_document(accounts_limits.limits_of(organization=organization, subject=subject)),
            "uses": [use_document(use) for use in accounts_limits.uses(organization=organization, subject=subject)],
        }

    def set(self, subject: str) -> None:
        """The limits of ``subject`` are those of the body from now on."""
        accounts_limits.set_limits(
            organization=self.organization, subject=subject, limits=limits_from(self.body), by=self.actor
        )


class OrganizationLimitsView(_LimitsView):
    """Of the whole organization."""

    @operation(id="getLimits", tag=TAG, summary="Show the organization's limits", answers={200: _SHOWN})
    def get(self, _request: Request) -> Response:
        """What all keys of your organization together may use, and how much of it is used in the present windows."""
        return Response(self.shown(self.organization.pk))

    @operation(
        id="setLimits",
        tag=TAG,
        summary="Set the organization's limits",
        body=LimitFields,
        body_example=_BODY,
        answers={200: _SHOWN},
        raises=[InvalidAccount],
    )
    def put(self, _request: Request) -> Response:
        """Replaces all limits; what is left out is not limited. Gateways hold them within a second."""
        self.set(self.organization.pk)
        return Response(self.shown(self.organization.pk))


class KeyLimitsView(_LimitsView):
    """Of one key."""

    @operation(
        id="getKeyLimits",
        tag=TAG,
        summary="Show a key's limits",
        path=["key_id"],
        answers={200: _SHOWN_KEY},
        raises=[KeyNotFound],
    )
    def get(self, _request: Request, key_id: str) -> Response:
        """What the key may use, where from, and how much of it is used in the present windows."""
        return self._answer(self._found(key_id))

    @operation(
        id="setKeyLimits",
        tag=TAG,
        summary="Set a key's limits",
        path=["key_id"],
        body=KeyLimitFields,
        body_example={**_BODY, "networks": ["192.0.2.0/24"]},
        answers={200: _SHOWN_KEY},
        raises=[KeyNotFound, InvalidAccount],
    )
    def put(self, _request: Request, key_id: str) -> Response:
        """Replaces all limits and the networks; what is left out is not limited. A priority that is left out stays.
        Gateways hold them within a second.
        """
        key = self._found(key_id)
        chosen = self.body["priority"]
        accounts_limits.set_key_limits(
            key=key,
            limits=limits_from(self.body),
            networks=self.body["networks"],
            priority=None if chosen is None else Priority(chosen),
            by=self.actor,
        )
        return self._answer(key)

    def _found(self, key_id: str) -> ApiKey:
        key = ApiKey.objects.for_organization(self.organization).filter(pk=key_id).first()
        if key is None:
            raise KeyNotFound
        return key

    def _answer(self, key: ApiKey) -> Response:
        return Response({**self.shown(key.pk), "networks": key.networks, "priority": key.priority})


class DeploymentLimitsView(_LimitsView):
    """Of one deployment."""

    @operation(
        id="getDeploymentLimits",
        tag=TAG,
        summary="Show a deployment's limits",
        path=["name"],
        answers={200: _SHOWN},
        raises=[DeploymentNotFound],
    )
    def get(self, _request: Request, name: str) -> Response:
        """What all calls of the deployment's models together may use, and how much of it is used."""
        found = deployments.deployment(organization=self.organization, name=name)
        return Response(self.shown(found.pk))

    @operation(
        id="setDeploymentLimits",
        tag=TAG,
        summary="Set a deployment's limits",
        path=["name"],
        body=LimitFields,
        body_example=_BODY,
        answers={200: _SHOWN},
        raises=[DeploymentNotFound, InvalidAccount],
    )
    def put(self, _request: Request, name: str) -> Response:
        """Replaces all limits; what is left out is not limited. Gateways hold them within a second."""
        found = deployments.deployment(organization=self.organization, name=name)
        self.set(found.pk)
        return Response(self.shown(found.pk))
