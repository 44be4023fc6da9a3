"""What administrators do with nodes: drain, resume, label, taint. Each is audited; none moves a replica by itself.

Deployments see a drained node at their next look, bring up elsewhere what runs there, and let the old replica go after.
"""

import re
from collections.abc import Mapping
from typing import Final

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.fleet import queries
from moorage.fleet.errors import NodeNotFound, NotForThisNode
from moorage.fleet.models import Node

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")
_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_MOST: Final = 32


def named(name: str) -> Node:
    """The node of this name with its devices and their shares. Raises NodeNotFound."""
    found = queries.node(name=name)
    if found is None:
        raise NodeNotFound
    return found


@transaction.atomic
def drain(*, node: Node, why: str, by: Actor) -> None:
    """Nothing new starts there, and what runs there is replaced elsewhere and leaves. Idempotent."""
    if Node.objects.filter(pk=node.pk, is_drained=False).update(is_drained=True, drained_why=why[:300]):
        audit.record(organization=None, by=by, action="node.drained", subject=node.pk, detail=_of(node, why=why))
    node.refresh_from_db()


@transaction.atomic
def resume(*, node: Node, by: Actor) -> None:
    """It takes replicas again. Idempotent."""
    if Node.objects.filter(pk=node.pk, is_drained=True).update(is_drained=False, drained_why=""):
        audit.record(organization=None, by=by, action="node.resumed", subject=node.pk, detail=_of(node))
    node.refresh_from_db()


@transaction.atomic
def mark(
    *, node: Node, labels: Mapping[str, str] | None = None, taints: Mapping[str, str] | None = None, by: Actor
) -> None:
    """Give it exactly these labels, these taints, or both; None leaves them. What runs there stays. Raises
    NotForThisNode."""
    changed: dict[str, object] = {}
    for kind, marks in (("labels", labels), ("taints", taints)):
        if marks is not None:
            _check(kind, marks)
            changed[kind] = dict(marks)
    locked = Node.objects.select_for_update().get(pk=node.pk)
    changed = {kind: marks for kind, marks in changed.items() if getattr(locked, kind) != marks}
    if changed:
        Node.objects.filter(pk=node.pk).update(**changed)
        audit.record(organization=None, by=by, action="node.marked", subject=node.pk, detail=_of(node, **changed))
    node.refresh_from_db()


@transaction.atomic
def change_marks(
    *,
    node: Node,
    labels: Mapping[str, str | None] | None = None,
    taints: Mapping[str, str | None] | None = None,
    by: Actor,
) -> None:
    """Set the named labels and taints, take away those that are None, leave all others: two people who change different
    ones do not undo each other. Raises NotForThisNode."""
    locked = Node.objects.select_for_update().get(pk=node.pk)
    mark(node=locked, labels=_merged(locked.labels, labels), taints=_merged(locked.taints, taints), by=by)
    node.refresh_from_db()


def _merged(present: Mapping[str, str], wanted: Mapping[str, str | None] | None) -> dict[str, str] | None:
    if wanted is None:
        return None
    merged: dict[str, str | None] = {**present, **wanted}
    return {name: value for name, value in merged.items() if value is not None}


def _check(kind: str, marks: Mapping[str, str]) -> None:
    if len(marks) > _MOST:
        raise NotForThisNode(f"A node has at most {_MOST} {kind}. Keep those that decide.")
    for name, value in marks.items():
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise NotForThisNode(
                f"{name}={value} cannot be one of a node's {kind}: names and values are 1 to 63 letters, digits, dots, "
                "dashes, slashes and underscores, and names are in small letters."
            )


def _of(node: Node, **detail: object) -> dict[str, object]:
    return {"name": node.name, **detail}
