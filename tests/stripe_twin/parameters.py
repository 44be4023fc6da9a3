"""Which parameters a call knows, read from the installed SDK's own types. One that Stripe does not know is a 400 here
as there; so is one that is missing."""

import functools
import sys
import types
import typing

import typing_extensions
from stripe._request_options import RequestOptions

from tests.stripe_twin.account import Json, Refusal

_OPTIONS = frozenset(RequestOptions.__annotations__)


@functools.cache
def fields_of(params: type) -> dict[str, tuple[bool, tuple[type, ...]]]:
    """Each parameter of an SDK type: whether it is required, and the types of what is nested in it."""
    own = {name: hint for name, hint in params.__annotations__.items() if name not in _OPTIONS}
    names = vars(sys.modules[params.__module__])
    hints = typing.get_type_hints(type("Own", (), {"__annotations__": own}), globalns=names, include_extras=True)
    return {name: (not _is_optional(hint), tuple(_nested(hint))) for name, hint in hints.items()}


def check(given: Json, params: type, *, at: str = "") -> None:
    """Raises Refusal (400) for what the type does not know, and for what it cannot do without."""
    known = fields_of(params)
    for name, value in given.items():
        where = f"{at}[{name}]" if at else name
        if name not in known:
            raise Refusal(400, f"Received unknown parameter: {where}", code="parameter_unknown", param=where)
        nested = known[name][1]
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and nested:
                _check_any(one, nested, where)
    for name, (is_required, _) in known.items():
        if is_required and name not in given:
            where = f"{at}[{name}]" if at else name
            raise Refusal(400, f"Missing required param: {where}.", code="parameter_missing", param=where)


def _check_any(given: Json, nested: tuple[type, ...], at: str) -> None:
    refusals = []
    for params in nested:
        try:
            check(given, params, at=at)
        except Refusal as refusal:
            refusals.append(refusal)
        else:
            return
    raise refusals[0]


def _is_optional(hint: object) -> bool:
    return "NotRequired" in str(typing.get_origin(hint)) or str(hint).startswith("typing.NotRequired")


def _nested(hint: object) -> typing.Iterator[type]:
    if typing_extensions.is_typeddict(hint):  # the SDK's types are made with it, not with typing's
        yield typing.cast(type, hint)
        return
    origin = typing.get_origin(hint)
    if origin in {dict, types.MappingProxyType}:
        return
    for argument in typing.get_args(hint):
        yield from _nested(argument)
