"""What an organization pays in: one currency, as long as nothing is in it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries as accounts
from moorage.billing import currencies
from moorage.console.addresses import found
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_review import ReasonForm
from moorage.console.templatetags.shown import curl_command
from moorage.kernel import clock
from moorage.kernel.errors import PlatformError


class CurrencyForm(ReasonForm):
    """Another currency, and why."""

    wanted = forms.ChoiceField(
        label=_("Currency"), help_text=_("Those in which everything that is priced has a generally valid price.")
    )
    field_order = ["wanted", "reason"]

    def __init__(self, *args: Any, offered: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["wanted"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(one, one) for one in offered]


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def currency(request: HttpRequest, slug: str) -> HttpResponse:
    """What it pays in; posted to, another one, or why that cannot be."""
    with found():
        organization = accounts.organization(slug=slug)
    form = CurrencyForm(
        request.POST if request.method == "POST" else None,
        initial={"wanted": organization.currency},
        offered=tuple(sorted({organization.currency, *currencies.priced(at=clock.now())})),
    )
    if request.method == "POST" and form.is_valid():
        try:
            currencies.set_currency(
                organization=organization,
                currency=form.cleaned_data["wanted"],
                reason=form.cleaned_data["reason"],
                by=actor_of(request),
            )
        except PlatformError as error:
            form.add_error("reason" if error.param == "reason" else "wanted", error.message)
        else:
            messages.success(request, f"{organization.name} pays in {organization.currency} from now on.")
            return redirect("console:admin_organization", slug=slug)
    context = {
        "organization": organization,
        "form": form,
        "in_the_way": currencies.standing_in_the_way(organization),
        "command": curl_command(
            f"admin/organizations/{slug}/currency",
            method="PUT",
            options="""-H "Content-Type: application/json" -d '{"currency": "EUR", "reason": "They asked for it."}'""",
        ),
    }
    return render(request, "administrator/currency.html", context, status=422 if form.errors else 200)
