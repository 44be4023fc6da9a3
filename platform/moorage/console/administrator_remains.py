"""What was left behind: the nightly reports, and a look at once."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.console.doors import actor_of, administrator
from moorage.console.templatetags.shown import curl_command
from moorage.deployments import remains as questions
from moorage.deployments import tasks

_SHOWN_MOST = 60


@administrator
@require_safe
def remains(request: HttpRequest) -> HttpResponse:
    """The reports, newest first; the last one whole."""
    reports = list(questions.reports()[:_SHOWN_MOST])
    last = reports[0] if reports else None
    context = {
        "last": last,
        "looked": [(kind.replace("_", " "), number) for kind, number in last.looked_at.items()] if last else [],
        "reports": reports,
        "command": curl_command("admin/remains"),
    }
    return render(request, "administrator/remains.html", context)


@administrator
@require_POST
def look(request: HttpRequest) -> HttpResponse:
    """Somebody wants to know now."""
    by = actor_of(request)
    tasks.look_for_remains.delay(by.id, by.label)
    messages.success(request, "The worker looks at everything now. Its report is here in a few seconds.")
    return redirect("console:admin_remains")
