"""One node for an administrator: what it has, what holds it and why; drained, resumed, labelled. Scope `admin`."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api.doors import AdministratorView
from moorage.api.examples_nodes import NODE
from moorage.api.operation import Answer, operation
from moorage.api.serializers_nodes import DrainFields, MarkChangesFields, MarksFields, NodeDetailSerializer, document
from moorage.fleet import nodes
from moorage.fleet.errors import NodeNotFound, NotForThisNode

TAG: Final = "Administrator"
_NODE: Final = {200: Answer(description="The node.", kind=NodeDetailSerializer, example=NODE)}


class NodeView(AdministratorView):
    """One node."""

    @operation(id="adminGetNode", tag=TAG, summary="Read one node", path=["name"], answers=_NODE, raises=[NodeNotFound])
    def get(self, _request: Request, name: str) -> Response:
        """What it has, free and held, by device; who sits there and why; the weights in its store; and who drained,
        resumed and marked it."""
        return Response(document(nodes.named(name)))

    @operation(
        id="adminMarkNode",
        tag=TAG,
        summary="Set a node's labels and taints",
        path=["name"],
        body=MarksFields,
        body_example={"labels": {"zone": "a"}, "taints": {}},
        answers=_NODE,
        raises=[NodeNotFound, NotForThisNode],
    )
    def put(self, _request: Request, name: str) -> Response:
        """A model asks for labels; a taint keeps out all models that do not ask for it. What runs there stays."""
        nodes.mark(node=nodes.named(name), labels=self.body["labels"], taints=self.body["taints"], by=self.actor)
        return Response(document(nodes.named(name)))


class NodeMarksView(AdministratorView):
    """Some labels and taints."""

    @operation(
        id="adminChangeNodeMarks",
        tag=TAG,
        summary="Change some of a node's labels and taints",
        path=["name"],
        body=MarkChangesFields,
        body_example={"labels": {"zone": "a", "disk": None}},
        answers=_NODE,
        raises=[NodeNotFound, NotForThisNode],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Those that are named are set, or taken away with `null`; all others stay. What runs there stays."""
        nodes.change_marks(
            node=nodes.named(name), labels=self.body["labels"], taints=self.body["taints"], by=self.actor
        )
        return Response(document(nodes.named(name)))


class DrainNodeView(AdministratorView):
    """Nothing new there."""

    @operation(
        id="adminDrainNode",
        tag=TAG,
        summary="Drain a node",
        path=["name"],
        body=DrainFields,
        body_example={"why": "A fan is replaced."},
        answers=_NODE,
        raises=[NodeNotFound],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Nothing new starts there. What runs there is brought up elsewhere first and leaves then."""
        nodes.drain(node=nodes.named(name), why=self.body["why"], by=self.actor)
        return Response(document(nodes.named(name)))


class ResumeNodeView(AdministratorView):
    """Open again."""

    @operation(
        id="adminResumeNode",
        tag=TAG,
        summary="Resume a drained node",
        path=["name"],
        answers=_NODE,
        raises=[NodeNotFound],
    )
    def post(self, _request: Request, name: str) -> Response:
        """It takes replicas again; nothing moves back by itself."""
        nodes.resume(node=nodes.named(name), by=self.actor)
        return Response(document(nodes.named(name)))
