"""What runners print and what happened: the log, live, and the timeline with its filters."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership
from moorage.console.addresses import filter_of
from moorage.console.doors import member
from moorage.console.templatetags.shown import curl_command
from moorage.deployments import logs, queries
from moorage.deployments.errors import TooManyReading
from moorage.deployments.models import Replica
from moorage.kernel.errors import NotFound

_PAGE: Final = 100
_SPANS: Final = {"1h": dt.timedelta(hours=1), "24h": dt.timedelta(days=1), "7d": dt.timedelta(days=7)}


@member()
@require_safe
def replica_log(request: HttpRequest, membership: Membership, name: str, replica_id: str) -> HttpResponse:
    """A runner's last lines: as a page, or as the part of one that htmx asks for."""
    found = queries.deployment(organization=membership.organization, name=name)
    replica = queries.replica(deployment=found, replica_id=replica_id)
    is_part = request.headers.get("HX-Request") == "true"
    template = "deployments/_log.html" if is_part else "deployments/log.html"
    return render(request, template, {"deployment": found, "replica": replica, "text": logs.tail(replica)})


@member()
@require_safe
def log_page(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """The lines of all runners of a deployment, as they come; without JavaScript where each one's last lines are."""
    found = queries.deployment(organization=membership.organization, name=name)
    context = {"deployment": found, "replicas": queries.replicas(found)}
    return render(request, "deployments/logs.html", context)


@member()
@require_safe
def log_stream(request: HttpRequest, membership: Membership, name: str, replica_id: str = "") -> HttpResponseBase:
    """The lines as server-sent events, for the pages above. The browser sends the last id that it has seen."""
    found = queries.deployment(organization=membership.organization, name=name)
    replica: Replica | None = queries.replica(deployment=found, replica_id=replica_id) if replica_id else None
    sent = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    after = int(sent) if sent.isascii() and sent.isdigit() and len(sent) <= 18 else None
    user = membership.user

    def may_go_on() -> bool:
        try:
            return accounts.membership_of(user=user, slug=membership.organization.slug) is not None
        except NotFound:
            return False

    try:
        following = logs.Following(found, replica=replica, after=after, may_go_on=may_go_on)
    except TooManyReading as error:
        return JsonResponse({"error": {"message": error.message}}, status=error.status_code)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = StreamingHttpResponse(_events(following), content_type="text/event-stream", headers=headers)
    response._resource_closers.append(following.close)  # type: ignore[attr-defined]
    return response


def _events(following: logs.Following) -> Iterator[bytes]:
    for event in following:
        mark = f"id: {event.id}\n" if event.id else ""
        match event.kind:
            case "ping":
                yield b": still here\n\n"
            case "end":
                yield f"{mark}event: end\ndata: {json.dumps({'reason': event.text})}\n\n".encode()
            case "line":
                at = event.at.isoformat() if event.at else ""
                line = {"replica_id": event.replica_id, "stream": event.stream, "at": at, "text": event.text}
                yield f"{mark}event: line\ndata: {json.dumps(line, ensure_ascii=False)}\n\n".encode()


@member()
@require_safe
def timeline(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Everything that happened, newest first, in pages: of one kind, of one replica, of the last time."""
    found = queries.deployment(organization=membership.organization, name=name)
    code, replica_id = filter_of(request, "code") or "", filter_of(request, "replica") or ""
    span, before = filter_of(request, "span") or "", filter_of(request, "before") or ""
    since = dt.datetime.now(tz=dt.UTC) - _SPANS[span] if span in _SPANS else None
    rows = queries.timeline(found, code=code, replica_id=replica_id, since=since).order_by("-id")
    if before:
        rows = rows.filter(id__lt=before)
    events = list(rows[: _PAGE + 1])
    kinds = found.timeline.order_by("code").values_list("code", flat=True).distinct()
    context = {
        "deployment": found,
        "events": events[:_PAGE],
        "next": events[_PAGE - 1].pk if len(events) > _PAGE else "",
        "codes": list(kinds),
        "code": code,
        "replica_id": replica_id,
        "span": span,
        "spans": [("", "any time"), ("1h", "last hour"), ("24h", "last day"), ("7d", "last week")],
        "is_newest": not before,
        "command": curl_command(f"deployments/{found.name}/timeline" + (f"?code={code}" if code else "")),
    }
    is_part = request.headers.get("HX-Request") == "true"
    return render(request, "deployments/_events.html" if is_part else "deployments/timeline.html", context)
