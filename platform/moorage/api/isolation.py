"""What stands around replicas: for their tenants what each got, for administrators hosts, probes and trust classes."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import OrganizationNotFound
from moorage.api import examples, examples_isolation, paging
from moorage.api.doors import AdministratorView, OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_isolation import (
    HostWallsSerializer,
    IsolationSerializer,
    TrustClassFields,
    TrustClassSerializer,
)
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound, ReplicaNotFound
from moorage.fleet import isolation_rows, runtime_classes
from moorage.kernel.errors import InvalidInput

_TRUST: Final = Answer(
    description="The class, and those that there are.", kind=TrustClassSerializer, example=examples_isolation.TRUST
)


class ReplicaIsolationView(OrganizationView):
    """What stands around one replica's runner."""

    @operation(
        id="getReplicaIsolation",
        tag="Replicas",
        summary="Read a replica's isolation",
        path=["name", "replica_id"],
        answers={
            200: Answer(
                description="The walls, each with what was found.",
                kind=IsolationSerializer,
                example=examples_isolation.ISOLATION,
            )
        },
        raises=[DeploymentNotFound, ReplicaNotFound],
    )
    def get(self, _request: Request, name: str, replica_id: str) -> Response:
        """What the replica's runner really got: read back from the container runtime and the kernel after its first
        token, not what was asked for. `level` is `unknown` before that."""
        deployment = questions.deployment(organization=self.organization, name=name)
        replica = questions.replica(deployment=deployment, replica_id=replica_id)
        found = isolation_rows.of_replicas([replica.pk]).get(replica.pk) or isolation_rows.UNREAD
        return Response(IsolationSerializer({"replica_id": replica.pk, **found}).data)


class HostsView(AdministratorView):
    """What the walls of each node are made of."""

    @operation(
        id="adminHosts",
        tag="Administrator",
        summary="Read the walls of all nodes",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The nodes by name.",
                kind=paging.page_of(HostWallsSerializer),
                example=examples.page(examples_isolation.HOST),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """Versions of kernel, Engine and runc with what is known against them, and what the last probe inside a runner
        found (`./manage.py probe_runner`)."""
        page = paging.page_in_memory(
            list(isolation_rows.host_walls()), name="name", key=lambda row: row.node.name, query=self.query
        )
        return page.answer(HostWallsSerializer)


class TrustClassView(AdministratorView):
    """How far an organization is trusted."""

    @operation(
        id="adminGetTrustClass",
        tag="Administrator",
        summary="Read an organization's trust class",
        path=["slug"],
        answers={200: _TRUST},
        raises=[OrganizationNotFound],
    )
    def get(self, _request: Request, slug: str) -> Response:
        """What its containers are started with."""
        return self._answer(slug)

    @operation(
        id="adminSetTrustClass",
        tag="Administrator",
        summary="Set an organization's trust class",
        path=["slug"],
        body=TrustClassFields,
        body_example={"trust_class": "default"},
        answers={200: _TRUST},
        raises=[OrganizationNotFound, InvalidInput],
    )
    def put(self, _request: Request, slug: str) -> Response:
        """Replicas that start from now on are started with the class's container runtime; those that run go on."""
        runtime_classes.set_class(
            organization=accounts.organization(slug=slug), trust_class=self.body["trust_class"], by=self.actor
        )
        return self._answer(slug)

    def _answer(self, slug: str) -> Response:
        organization = accounts.organization(slug=slug)
        trust_class = runtime_classes.class_of(organization.pk)
        return Response({"trust_class": trust_class, "classes": dict(runtime_classes.policy())})
