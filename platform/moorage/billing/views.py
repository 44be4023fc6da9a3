"""The door for the payment provider's webhooks."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from moorage.billing import webhooks
from moorage.billing.errors import WebhookTooLarge
from moorage.kernel.errors import PlatformError, envelope


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """``POST /webhooks/stripe``: 200 once the event is kept; 400 or 413 with a sentence otherwise."""
    try:
        # Looked at before the body is read: a stranger does not make us hold megabytes.
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > webhooks.MOST_BYTES:
            raise WebhookTooLarge
        is_new = webhooks.receive(request.body, request.headers.get("Stripe-Signature", ""))
    except PlatformError as error:
        return JsonResponse(envelope(error), status=error.status_code)
    return JsonResponse({"received": True, "is_new": is_new})
