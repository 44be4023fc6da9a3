"""What stands around a replica's runner, as its row shows it."""

from collections.abc import Mapping
from typing import Any

from django import template

from moorage.deployments.models import Replica

register = template.Library()


@register.inclusion_tag("deployments/_walls.html")
def walls_of(replica: Replica, isolations: Mapping[str, Mapping[str, Any]] | str) -> dict[str, object]:
    """The isolation that was read back for ``replica``; nothing where none was. A page without any gives an empty
    text."""
    found = isolations.get(replica.pk) if isinstance(isolations, Mapping) else None
    return {"replica": replica, "isolation": found}
