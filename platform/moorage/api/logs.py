"""What runners print: the last lines at once, or all lines as they come."""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.api import examples
from moorage.api.doors import OrganizationView
from moorage.api.fields import Fields
from moorage.api.operation import Answer, operation
from moorage.api.renderers import EventStreamRenderer, TextRenderer
from moorage.api.serializers_replicas import ReplicaLogSerializer
from moorage.deployments import logs
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound, ReplicaNotFound, TooManyReading
from moorage.deployments.models import Deployment, Replica
from moorage.kernel.errors import InvalidInput

TAG: Final = "Replicas"
_LAST: Final = "Last-Event-ID"
_LAST_ID: Final = OpenApiParameter(
    _LAST,
    int,
    OpenApiParameter.HEADER,
    description="The id of the last event that was seen: lines after it come first. Browsers send it by themselves.",
)
_FOLLOWED: Final = (
    "Server-sent events with `Accept: text/event-stream`: `line` with `{replica_id, stream, at, text}` and an id,"
    " `end` with the reason. Otherwise lines of text. A stream ends after 15 minutes; go on with `Last-Event-ID`."
)


class LogFields(Fields):
    """How a log is read."""

    follow = serializers.BooleanField(default=False, help_text="Stay, and get every line as it comes.")
    after = serializers.IntegerField(
        required=False, min_value=0, max_value=2**62, help_text=f"As the header `{_LAST}`, for where none can be sent."
    )


class _LogsView(OrganizationView):
    renderer_classes = [TextRenderer, JSONRenderer, EventStreamRenderer]

    def followed(self, request: Request, deployment: Deployment, replica: Replica | None) -> HttpResponseBase:
        """The stream. Raises TooManyReading, InvalidInput."""
        key = self.caller.key
        following = logs.Following(
            deployment,
            replica=replica,
            after=self._after(request),
            may_go_on=lambda: accounts.keys_of(self.organization).filter(pk=key.pk, revoked_at=None).exists(),
        )
        is_stream = request.accepted_renderer.format == "events"
        shown = events(following) if is_stream else texts(following, with_replica=replica is None)
        return streamed(shown, following, content_type="text/event-stream" if is_stream else "text/plain")

    def _after(self, request: Request) -> int | None:
        sent = request.headers.get(_LAST)
        if sent is None:
            after: int | None = self.query.get("after")
            return after
        if not sent.isascii() or not sent.isdigit() or len(sent) > 18:
            raise InvalidInput(f"{_LAST} is the number of an event that you have received.", param=_LAST)
        return int(sent)


class ReplicaLogsView(_LogsView):
    """What one runner printed."""

    @operation(
        id="getReplicaLogs",
        tag=TAG,
        summary="Read a replica's log",
        path=["name", "replica_id"],
        query=LogFields,
        parameters=[_LAST_ID],
        answers={
            200: Answer(
                description=f"The last lines as text; JSON with `Accept: application/json`. With `follow`: {_FOLLOWED}",
                kind=ReplicaLogSerializer,
                example={"replica_id": examples.REPLICA["id"], "text": examples.LOG_TEXT},
                texts={"text/plain": examples.LOG_TEXT, "text/event-stream": examples.LOG_EVENTS},
            )
        },
        raises=[DeploymentNotFound, ReplicaNotFound, TooManyReading],
    )
    def get(self, request: Request, name: str, replica_id: str) -> HttpResponseBase:
        """The runner's last lines (at most 200): fresh if its node answers within five seconds, else the last known.
        They stay readable after the replica is gone. Secrets in them are masked. With `follow` the answer stays open
        and brings every line as it is printed."""
        deployment = questions.deployment(organization=self.organization, name=name)
        replica = questions.replica(deployment=deployment, replica_id=replica_id)
        if self.query["follow"]:
            return self.followed(request, deployment, replica)
        text = logs.tail(replica)
        is_json = request.accepted_renderer.format == "json"
        return Response({"replica_id": replica_id, "text": text} if is_json else text)


class DeploymentLogsView(_LogsView):
    """What all runners of a deployment print."""

    @operation(
        id="followDeploymentLogs",
        tag=TAG,
        summary="Follow a deployment's logs",
        path=["name"],
        query=LogFields,
        parameters=[_LAST_ID],
        answers={
            200: Answer(
                description=_FOLLOWED,
                texts={"text/plain": examples.LOG_TEXT, "text/event-stream": examples.LOG_EVENTS},
            )
        },
        raises=[DeploymentNotFound, TooManyReading],
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """The lines of all its runners as they come, also of replicas that are made meanwhile. Always followed: the
        last lines of one runner have an address of their own."""
        deployment = questions.deployment(organization=self.organization, name=name)
        return self.followed(request, deployment, None)


def streamed(shown: Iterator[bytes], following: logs.Following, *, content_type: str) -> StreamingHttpResponse:
    """An answer that stays open; the reader's place is given back however it ends."""
    response = StreamingHttpResponse(shown, content_type=f"{content_type}; charset=utf-8")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    # Also where it was never begun: a client that has gone by now.
    response._resource_closers.append(following.close)  # type: ignore[attr-defined]
    return response


def events(following: logs.Following) -> Iterator[bytes]:
    """As server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    yield b"retry: 2000\n\n"
    for event in following:
        match event.kind:
            case "ping":
                yield b": still here\n\n"
            case "end":
                yield _event("end", event.id, {"reason": event.text})
            case "line":
                at = event.at.isoformat() if event.at else None
                document = {"replica_id": event.replica_id, "stream": event.stream, "at": at, "text": event.text}
                yield _event("line", event.id, document)


def texts(following: logs.Following, *, with_replica: bool) -> Iterator[bytes]:
    """As lines of text, of several replicas with whose it is."""
    for event in following:
        if event.kind == "line":
            whose = f"{event.replica_id} " if with_replica else ""
            yield f"{whose}{event.text}\n".encode()
        elif event.kind == "ping":
            # Nothing that would be a line; an empty piece still shows a client that has gone.
            yield b""


def _event(kind: str, id: int, document: Mapping[str, object]) -> bytes:
    mark = f"id: {id}\n" if id else ""
    return f"{mark}event: {kind}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n".encode()
