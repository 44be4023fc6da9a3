"""What each service has to be told to reach its models: environment variables, ready to paste or to download."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moorage.compose import variable_names
from moorage.compose.spec import Binding, Spec

_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


@dataclass(frozen=True, kw_only=True)
class EnvVar:
    """One variable of a service."""

    name: str
    value: str


def served_names(spec: Spec, deployment_name: str) -> dict[str, str]:
    """What clients send as `model`, per model key: the name given, else `<deployment>/<key>`."""
    return {model.key: model.name or f"{deployment_name}/{model.key}" for model in spec.models}


def environment(
    source: Binding | Spec, *, endpoint_url: str, served_names: Mapping[str, str]
) -> dict[str, tuple[EnvVar, ...]]:
    """For each service that binds a model: URL, MODEL and the older ENDPOINT alias of the URL, or the names it chose.

    `endpoint_url` ends in `/v1/`. An alias never takes a name that another variable of the service has. Raises KeyError
    if a bound model has no served name.
    """
    bindings = source.bindings if isinstance(source, Spec) else (source,)
    url = endpoint_url.rstrip("/") + "/"
    found: dict[str, tuple[EnvVar, ...]] = {}
    for service in dict.fromkeys(binding.service for binding in bindings):
        own = [binding for binding in bindings if binding.service == service]
        variables = {}
        for binding in own:
            variables[binding.endpoint_var] = url
            variables[binding.model_var] = served_names[binding.model_key]
        for binding in own:
            alias = variable_names.alias_name(binding.model_key)
            if variable_names.is_readable(alias):
                variables.setdefault(alias, url)
        found[service] = tuple(EnvVar(name=name, value=value) for name, value in variables.items())
    return found


def as_env_file(variables: Sequence[EnvVar]) -> str:
    """Lines of `NAME=value` that a shell and Compose's `env_file` read alike; quoted only where needed."""
    return "".join(f"{variable.name}={_quoted(variable.value)}\n" for variable in variables)


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
