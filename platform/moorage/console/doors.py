"""Who may open a page: members of the organization in the address, with a role; administrators; anybody signed in.

A stranger to an organization gets the 404 of one that does not exist.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase

from moorage.accounts import queries as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Membership, Role, User
from moorage.kernel.errors import NotFound, Refused

Rest = ParamSpec("Rest")
Page = Callable[Concatenate[HttpRequest, Rest], HttpResponseBase]


def user_of(request: HttpRequest) -> User:
    """Whoever is signed in; only behind a door that makes sure of it."""
    assert isinstance(request.user, User)
    return request.user


def actor_of(request: HttpRequest) -> Actor:
    """For ``by=``."""
    return Actor.person(user_of(request))


def member(
    allowed: frozenset[Role] | None = None,
) -> Callable[
    [Callable[Concatenate[HttpRequest, Membership, Rest], HttpResponseBase]], Callable[..., HttpResponseBase]
]:
    """A page of the organization ``slug``: the view gets the membership instead. Roles outside ``allowed``: 403."""

    def door(
        view: Callable[Concatenate[HttpRequest, Membership, Rest], HttpResponseBase],
    ) -> Callable[..., HttpResponseBase]:
        @login_required
        @functools.wraps(view)
        def opened(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                membership = accounts.membership_of(user=user_of(request), slug=slug)
            except NotFound as error:
                raise Http404(error.message) from error
            if allowed is not None and Role(membership.role) not in allowed:
                raise PermissionDenied("Your role in this organization does not allow this. Ask an owner.")
            request.membership = membership  # type: ignore[attr-defined]
            with _as_pages():
                return view(request, membership, *args, **kwargs)

        return opened

    return door


def administrator(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A page for administrators; for everybody else it does not exist."""

    @login_required
    @functools.wraps(view)
    def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not user_of(request).is_administrator:
            raise Http404
        with _as_pages():
            return view(request, *args, **kwargs)

    return opened


@contextlib.contextmanager
def _as_pages() -> Iterator[None]:
    """What a room does not find or refuses becomes the page for it; other errors are the view's to show."""
    try:
        yield
    except NotFound as error:
        raise Http404(error.message) from error
    except Refused as error:
        raise PermissionDenied(error.message) from error
