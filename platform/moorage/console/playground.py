"""The playground: ask a model of the organization and watch the answer come."""

from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries as accounts
from moorage.accounts.addresses import gateway_url
from moorage.accounts.models import Membership, Organization, Role
from moorage.console import playground_relay, snippets
from moorage.console.doors import actor_of, member
from moorage.console.forms_playground import QuestionForm
from moorage.console.playground_answer import collected
from moorage.deployments import queries
from moorage.deployments.pins import Pin

_STREAM: Final = "text/event-stream"


@member()
@require_http_methods(["GET", "POST"])
def playground(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """The form; a POST that accepts events gets the answer as it comes, any other the page with the whole of it."""
    organization = membership.organization
    pins = chat_models(organization)
    names = [pin.served_name for pin in pins]
    if request.method != "POST":
        form = QuestionForm(served_names=names, initial={"model": request.GET.get("model")})
        chosen = [pin for pin in pins if pin.served_name == request.GET.get("model")] or pins
        context = {
            "form": form,
            "models": names,
            "may_ask": Role(membership.role) in accounts.MAY_MANAGE_KEYS,
            "call": snippets.call(chosen[0], gateway_url=gateway_url(organization)) if chosen else None,
        }
        return render(request, "deployments/playground.html", context)
    # Asking needs a key, and costs money.
    accounts.require_role(membership, accounts.MAY_MANAGE_KEYS)
    form = QuestionForm(request.POST, served_names=names)
    is_stream = _STREAM in request.headers.get("Accept", "")
    if not form.is_valid():
        return _refused(request, form, names, is_stream=is_stream)
    answer = playground_relay.relay(
        organization=organization,
        by=actor_of(request),
        body=form.body(),
        gateway_url=settings.MOORAGE_GATEWAY_URL,
    )
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if is_stream:
        return StreamingHttpResponse(answer, content_type=_STREAM, headers=headers)
    context = {"form": form, "models": names, "may_ask": True, "answer": collected(answer)}
    return render(request, "deployments/playground.html", context)


def chat_models(organization: Organization) -> list[Pin]:
    """Everything that can be talked to."""
    targets = [one.target for one in queries.deployments_of(organization)]
    return [pin for target in targets if target for pin in queries.pins_of(target) if pin.kind == "chat"]


def _refused(request: HttpRequest, form: QuestionForm, names: list[str], *, is_stream: bool) -> HttpResponseBase:
    if is_stream:
        sentences = [f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()]
        return JsonResponse({"error": {"message": " ".join(sentences)}}, status=422)
    context = {"form": form, "models": names, "may_ask": True}
    return render(request, "deployments/playground.html", context, status=422)
