"""`moorage nodes`: what an administrator does with the machines of the fleet. The key needs the scope admin."""

import argparse
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from moorage.cli.client import Client
from moorage.kernel.errors import InvalidInput

_GIB: Final = 2**30


def add_to(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """The verb `nodes` with verbs of its own."""
    words = "List, show, drain, resume, label and taint nodes; takes an administrator's key."
    nodes = verb("nodes", _list, words, is_named=False).add_subparsers(metavar="VERB", title="verbs")

    def of_node(name: str, run: Callable[[Client, argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = nodes.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("node", help="the node's name")
        return added

    nodes.add_parser("list", help="List the nodes (this is also what `moorage nodes` alone does).")
    of_node("show", _show, "Show a node's devices, who sits there and why, its weights, and what was done to it.")
    drain = of_node("drain", _drain, "Start nothing new there; what runs there leaves once it runs elsewhere.")
    drain.add_argument("--why", required=True, help="whoever waits for room reads it")
    of_node("resume", _resume, "Let a drained node take replicas again.")
    for kind, text in (
        ("labels", "Set or take away what models may ask for."),
        ("taints", "Set or take away what keeps out the models that do not ask for it."),
    ):
        marked = of_node(kind.removesuffix("s"), _mark, text)
        marked.set_defaults(kind=kind)
        marked.add_argument("marks", nargs="+", metavar="NAME=VALUE|NAME-", help="zone=a sets it, zone- takes it away")


def _list(client: Client, _chosen: argparse.Namespace) -> None:
    params = {"limit": "100"}
    while True:
        answer = client.call("GET", "/admin/nodes", params=params)
        for node in answer["data"]:
            state = "drained" if node["is_drained"] else "takes replicas"
            used, memory = node["used_memory_bytes"] / _GIB, node["memory_bytes"] / _GIB
            room = f"{used:,.1f} of {memory:,.1f} GiB"
            print(f"{node['name']:<32} {state:<14} {room:>24} {node['replica_count']:>5} replicas  {node['runtime']}")
        if not answer["next_cursor"]:
            return
        params["cursor"] = answer["next_cursor"]


def _show(client: Client, chosen: argparse.Namespace) -> None:
    node = client.call("GET", _path(chosen))
    state = f"drained: {node['drained_why']}" if node["is_drained"] else "takes replicas"
    print(f"{node['name']} {state}")
    print(f"  memory {_gib(node, 'used_memory_bytes')} of {_gib(node, 'memory_bytes')} reserved")
    print(f"  CPUs {node['used_cpu_millis'] / 1000:g} of {node['cpu_millis'] / 1000:g} reserved")
    for kind in ("labels", "taints"):
        for name, value in sorted(node[kind].items()):
            print(f"  {kind.removesuffix('s')} {name}={value}")
    for device in node["devices"]:
        print(f"  device {device['vendor_id']} {device['name']}, {_gib(device, 'memory_bytes')}: {_use(device)}")
    for held in node["reservations"]:
        whose = f"{held['organization']}/{held['deployment']}/{held['model_key']}" if held["deployment"] else "unknown"
        print(f"  {held['replica_id']} {whose} {held['status'] or ''} {held['device_class']}: {held['why']}")
    for weights in node["weights"]:
        print(f"  weights {weights['digest'][:19]} {', '.join(weights['references'])}".rstrip())
    for deed in node["history"]:
        said = deed["detail"].get("why") or "; ".join(
            f"{kind} {_pairs(marks)}" for kind, marks in deed["detail"].items() if isinstance(marks, dict)
        )
        print(f"  {deed['at'][:19]}Z {deed['action']} ({deed['by']}) {said}".rstrip())


def _drain(client: Client, chosen: argparse.Namespace) -> None:
    node = client.call("POST", f"{_path(chosen)}/drain", json={"why": chosen.why})
    print(f"{node['name']} takes nothing new; {node['replica_count']} replicas leave when they run elsewhere.")


def _resume(client: Client, chosen: argparse.Namespace) -> None:
    node = client.call("POST", f"{_path(chosen)}/resume")
    print(f"{node['name']} takes replicas again.")


def _mark(client: Client, chosen: argparse.Namespace) -> None:
    node = client.call("POST", f"{_path(chosen)}/marks", json={chosen.kind: _changes(chosen.marks)})
    print(f"{node['name']} has the {chosen.kind} {_pairs(node[chosen.kind])}.")


def _changes(words: list[str]) -> dict[str, str | None]:
    """``zone=a`` sets, ``zone-`` takes away. Raises InvalidInput."""
    changes: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals and not word.endswith("-"):
            raise InvalidInput(f"{word} says neither NAME=VALUE, to set it, nor NAME-, to take it away.")
        name = name if equals else word[:-1]
        if name in changes:
            raise InvalidInput(f"{name} is named twice.")
        changes[name] = value if equals else None
    return changes


def _path(chosen: argparse.Namespace) -> str:
    return f"/admin/nodes/{quote(chosen.node, safe='')}"


def _gib(document: dict[str, Any], name: str) -> str:
    return f"{document[name] / _GIB:,.1f} GiB"


def _use(device: dict[str, Any]) -> str:
    if device["replica_id"]:
        return f"held whole by {device['replica_id']}"
    if device["shares"]:
        return "shared by " + ", ".join(
            f"{one['replica_id']} ({_gib(one, 'memory_bytes')})" for one in device["shares"]
        )
    return "free" if device["is_present"] else "missing"


def _pairs(marks: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(marks.items())) or "none"
