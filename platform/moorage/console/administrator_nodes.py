"""The fleet: every node, what it has, who sits on it, and what administrators do with it."""

import dataclasses
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import AuditEntry, Organization
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_nodes import MarksForm, shown
from moorage.console.templatetags.shown import curl_command
from moorage.deployments import residents
from moorage.fleet import isolation_rows
from moorage.fleet import nodes as verbs
from moorage.fleet import queries as fleet
from moorage.fleet.errors import NodeNotFound, NotForThisNode
from moorage.fleet.models import SLICE, Device, Node

_HISTORY_MOST: Final = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindRow:
    """The devices of one kind on a node: of which nothing is held, and which the machine reports no more."""

    name: str
    count: int
    free: int
    missing: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeRow:
    """A node with its CPUs in words and its memory as a share."""

    node: Node
    cpus: str
    used_cpus: str
    #: Of the memory, in thousandths: the length of a bar.
    used_memory: int
    kinds: tuple[KindRow, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """A device with whose it is, and how much of it is held, in thousandths."""

    device: Device
    owner: Organization | None
    is_slice: bool
    used: int


@administrator
@require_safe
def nodes(request: HttpRequest) -> HttpResponse:
    """Nodes by name with their memory, CPUs and devices."""
    rows = [_row(node) for node in fleet.nodes().prefetch_related("devices")]
    context = {"rows": rows, "host_walls": isolation_rows.host_walls(), "command": curl_command("admin/nodes")}
    return render(request, "administrator/nodes.html", context)


@administrator
@require_safe
def node(request: HttpRequest, name: str) -> HttpResponse:
    """One node: its devices, who sits there and why, its weights, and what was done to it."""
    found = _named(name)
    return _page(request, found, MarksForm(initial=shown(found)))


@administrator
@require_POST
def mark_node(request: HttpRequest, name: str) -> HttpResponse:
    """Its labels and taints are those of the form from now on; what runs there stays."""
    found = _named(name)
    form = MarksForm(request.POST)
    if form.is_valid():
        try:
            verbs.mark(
                node=found,
                labels=form.cleaned_data["labels"],
                taints=form.cleaned_data["taints"],
                by=actor_of(request),
            )
        except NotForThisNode as error:
            form.add_error(None, error.message)
        else:
            messages.success(request, f"{found.name} has these labels and taints from now on. What runs there stays.")
            return redirect("console:admin_node", name=found.name)
    return _page(request, found, form, status=422)


@administrator
@require_POST
def drain_node(request: HttpRequest, name: str) -> HttpResponse:
    """What runs there is brought up elsewhere, and nothing new starts there."""
    found = _named(name)
    why = request.POST.get("why", "").strip()
    if not why:
        messages.error(request, f"Say why {found.name} is drained: whoever waits for room reads it.")
        return redirect("console:admin_node", name=found.name)
    verbs.drain(node=found, why=why, by=actor_of(request))
    messages.success(request, f"{found.name} takes nothing new. What runs there leaves when it runs elsewhere.")
    return redirect("console:admin_node", name=found.name)


@administrator
@require_POST
def resume_node(request: HttpRequest, name: str) -> HttpResponse:
    """It takes replicas again."""
    found = _named(name)
    verbs.resume(node=found, by=actor_of(request))
    messages.success(request, f"{found.name} takes replicas again.")
    return redirect("console:admin_node", name=found.name)


def _named(name: str) -> Node:
    try:
        return verbs.named(name)
    except NodeNotFound as error:
        raise Http404(error.message) from error


def _page(request: HttpRequest, found: Node, form: MarksForm, *, status: int = 200) -> HttpResponse:
    owners = accounts.organizations_by_id({device.organization_id for device in found.devices.all()} - {""})
    walls = [row for row in isolation_rows.host_walls() if row.node.pk == found.pk]
    context = {
        "row": _row(found),
        "devices": [_device(device, owners.get(device.organization_id)) for device in found.devices.all()],
        "residents": residents.residents(found),
        "weights": residents.weights(found),
        "history": [
            (deed, _said(deed)) for deed in accounts.audit_entries(action="node", subject=found.pk)[:_HISTORY_MOST]
        ],
        "form": form,
        "host_walls": walls,
        "command": curl_command(f"admin/nodes/{found.name}"),
    }
    return render(request, "administrator/node.html", context, status=status)


def _row(found: Node) -> NodeRow:
    return NodeRow(
        node=found,
        cpus=_cpus(found.cpu_millis),
        used_cpus=_cpus(found.used_cpu_millis),
        used_memory=1000 * found.used_memory_bytes // max(1, found.memory_bytes),
        kinds=_kinds(list(found.devices.all())),
    )


def _kinds(devices: list[Device]) -> tuple[KindRow, ...]:
    rows = []
    for name in dict.fromkeys(device.name for device in devices):
        alike = [device for device in devices if device.name == name]
        present = [device for device in alike if device.is_present]
        rows.append(
            KindRow(
                name=name,
                count=len(alike),
                free=sum(not device.organization_id for device in present),
                missing=len(alike) - len(present),
            )
        )
    return tuple(rows)


def _device(device: Device, owner: Organization | None) -> DeviceRow:
    used = 1000 if device.reservation_id else 1000 * device.used_memory_bytes // max(1, device.memory_bytes)
    return DeviceRow(device=device, owner=owner, is_slice=device.kind == SLICE, used=used)


def _said(deed: AuditEntry) -> str:
    """Why, or the labels and taints from then on."""
    marks: dict[str, Any] = {kind: deed.detail[kind] for kind in ("labels", "taints") if kind in deed.detail}
    said = [
        f"{kind}: " + (", ".join(f"{name}={value}" for name, value in sorted(pairs.items())) or "none")
        for kind, pairs in marks.items()
    ]
    return str(deed.detail.get("why") or "; ".join(said))


def _cpus(millis: int) -> str:
    return f"{millis / 1000:g}"
