"""`moorage`: apply, plan, status, logs, events, retry, rollback, pause, resume, delete, scale, keys, limits, usage, and
what an administrator does with nodes.

The address and the key come from MOORAGE_API_URL and MOORAGE_API_TOKEN. Exit status: 0 done, 1 refused, 2 wrong words.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from moorage.cli import following, nodes
from moorage.cli.client import ApiRefused, Client
from moorage.kernel.errors import InvalidInput, PlatformError


def main(
    arguments: Sequence[str] | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Runs one command; returns the process's exit status."""
    chosen = _parser().parse_args(arguments)
    url, key = environment.get("MOORAGE_API_URL"), environment.get("MOORAGE_API_TOKEN")
    if not url or not key:
        print(
            "Set MOORAGE_API_URL (…/api/v1) and MOORAGE_API_TOKEN (a key with the scope manage; admin for nodes).",
            file=sys.stderr,
        )
        return 2
    try:
        chosen.run(Client(url=url, key=key, transport=transport), chosen)
    except ApiRefused as refusal:
        for problem in refusal.problems:
            print(f"line {problem['line']}: {problem['path']}: {problem['message']}", file=sys.stderr)
        print(refusal.message, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except (PlatformError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="moorage", description="A Compose file with models becomes endpoints.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Any, text: str, *, is_named: bool = True) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        if is_named:
            added.add_argument("name", help="the deployment's name")
        return added

    apply = verb("apply", _apply, "Make a Compose file what runs, and wait until it answers.")
    plan = verb("plan", _plan, "Show what apply would do; nothing is written.")
    for each in (apply, plan):
        each.add_argument(
            "-f", "--file", default="compose.yaml", help="the Compose file (default: compose.yaml; -: stdin)"
        )
        each.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="for ${NAME} in the file")
    apply.add_argument("--no-wait", action="store_true", help="return as soon as it is accepted")
    verb("list", _list, "List the deployments.", is_named=False)
    following.add_to(verb)
    rollback = verb("rollback", _rollback, "Make another revision the one that runs, or take an update back.")
    rollback.add_argument(
        "revision", type=int, nargs="?", help="any number (default: what served before the update under way)"
    )
    rollback.add_argument("--plan", action="store_true", help="say what it would do; nothing is written")
    verb("promote", _promote, "Give the revision on trial all requests.")
    verb("env", _env, "Print the environment of the file's services, ready for an env file.")
    verb("scale", _scale, "Show how many replicas were wanted, and why.")
    verb("pause", _post, "Run none until resumed.").set_defaults(action="pause")
    verb("resume", _post, "Undo a pause.").set_defaults(action="resume")
    verb("delete", _delete, "End a deployment; its usage stays.")
    keys = verb("keys", _keys, "List the API keys, or make one.", is_named=False)
    keys.add_argument("--create", metavar="NAME", help="make a key for calling endpoints; its secret is printed once")
    limits = verb("limits", _limits, "Show limits and budgets and how they stand, or set them.", is_named=False)
    whose = limits.add_mutually_exclusive_group()
    whose.add_argument("--key", metavar="ID", help="of this key (default: of the whole organization)")
    whose.add_argument("--deployment", metavar="NAME", help="of this deployment")
    limits.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="such as money_per_month=12.50; together these replace all limits, and a key's networks",
    )
    limits.add_argument("--network", action="append", metavar="CIDR", help="with --set: where the key may be used from")
    limits.add_argument("--priority", choices=("low", "normal", "high"), help="with --key: its share of the turns")
    limits.add_argument("--none", action="store_true", help="take all limits away")
    usage = verb("usage", _usage, "Show the month's usage.", is_named=False)
    usage.add_argument("--period", metavar="YYYY-MM", help="another month than this one")
    nodes.add_to(verb)
    return parser


def _document(chosen: argparse.Namespace) -> dict[str, Any]:
    text = sys.stdin.read() if chosen.file == "-" else Path(chosen.file).read_text(encoding="utf-8")
    return {"compose": text, "variables": dict(pair.partition("=")[::2] for pair in chosen.var)}


def _apply(client: Client, chosen: argparse.Namespace) -> None:
    params = {} if chosen.no_wait else {"wait": "ready"}
    answer = client.call("PUT", f"/deployments/{chosen.name}", params=params, json=_document(chosen))
    for warning in answer.get("warnings", []):
        print(f"line {warning['line']}: {warning['path']}: {warning['message']}", file=sys.stderr)
    print(f"{answer['name']} is {answer['status']} at revision {answer['revision']}.")
    for model in answer["models"]:
        print(f"  {model['served_name']} at {answer['endpoint']}")


def _plan(client: Client, chosen: argparse.Namespace) -> None:
    answer = client.call("PUT", f"/deployments/{chosen.name}", params={"dry_run": "true"}, json=_document(chosen))
    for step in answer["steps"]:
        print(step)
    _print_forecasts([one for one in answer["updates"] if one["change"] == "replace"], is_said=True)


def _list(client: Client, _chosen: argparse.Namespace) -> None:
    for one in client.call("GET", "/deployments")["data"]:
        print(f"{one['name']:<40} {one['status']:<14} revision {one['revision']}")


def _scale(client: Client, chosen: argparse.Namespace) -> None:
    for one in client.call("GET", f"/deployments/{chosen.name}/scale-decisions")["data"]:
        print(f"{one['at']}  {one['model_key']}  {one['from']} -> {one['to']}  {one['why']}")


def _rollback(client: Client, chosen: argparse.Namespace) -> None:
    if chosen.revision is None:
        answer = client.call("POST", f"/deployments/{chosen.name}/update/roll-back")
        print(f"{chosen.name} goes back to revision {answer['revision']}.")
        return
    path = f"/deployments/{chosen.name}/rollback"
    plan = client.call("POST", path, json={"revision": chosen.revision, "dry_run": True})
    _print_forecasts(plan["updates"])
    if not chosen.plan:
        client.call("POST", path, json={"revision": chosen.revision})
        print(f"{chosen.name} goes to revision {chosen.revision}.")


def _promote(client: Client, chosen: argparse.Namespace) -> None:
    answer = client.call("POST", f"/deployments/{chosen.name}/update/promote")
    print(f"{chosen.name} goes on to revision {answer['revision']} alone.")


def _print_forecasts(forecasts: list[dict[str, Any]], *, is_said: bool = False) -> None:
    for one in forecasts:
        print(f"{one['served_name']}:" if is_said else f"{one['served_name']}: {one['sentence']}")
        for difference in one["differences"]:
            print(f"  {difference}")
        if one["extra_replicas"]:
            seconds, cost = one["extra_seconds"], one["extra_cost"]
            if seconds is None or cost is None:
                print(f"  {one['extra_replicas']} more while both run; nobody knows yet for how long")
            else:
                amount = f"{cost['amount']} {cost['currency']}"
                print(f"  {one['extra_replicas']} more for about {seconds:.1f} s while both run: {amount}")


def _env(client: Client, chosen: argparse.Namespace) -> None:
    print(client.text(f"/deployments/{chosen.name}/environment"), end="")


def _post(client: Client, chosen: argparse.Namespace) -> None:
    client.call("POST", f"/deployments/{chosen.name}/{chosen.action}")
    print(f"{chosen.name}: {chosen.action} is on its way.")


def _delete(client: Client, chosen: argparse.Namespace) -> None:
    client.call("DELETE", f"/deployments/{chosen.name}")
    print(f"{chosen.name} is being deleted.")


def _keys(client: Client, chosen: argparse.Namespace) -> None:
    if chosen.create:
        made = client.call("POST", "/keys", json={"name": chosen.create, "scopes": ["inference"]})
        print(made["secret"])
        return
    for key in client.call("GET", "/keys")["data"]:
        print(f"{key['id']} {key['shown']}… {','.join(key['scopes']):<18} {key['name']}")


def _limits(client: Client, chosen: argparse.Namespace) -> None:
    path = "/limits"
    if chosen.key:
        path = f"/keys/{chosen.key}/limits"
    elif chosen.deployment:
        path = f"/deployments/{chosen.deployment}/limits"
    if chosen.priority and not chosen.key:
        raise InvalidInput("--priority is a key's: name the key with --key.")
    if chosen.set or chosen.none or chosen.network or chosen.priority:
        wanted: dict[str, Any] = dict(pair.partition("=")[::2] for pair in chosen.set or [])
        if chosen.priority and not (chosen.set or chosen.none or chosen.network):
            now = client.call("GET", path)
            wanted = {name: limit for name, limit in now["limits"].items() if limit is not None}
            chosen.network = now["networks"]
        if chosen.key:
            wanted |= {"networks": chosen.network or [], "priority": chosen.priority}
        answer = client.call("PUT", path, json=wanted)
    else:
        answer = client.call("GET", path)
    for use in answer["uses"]:
        until = f", until {use['resets_at']}" if use["resets_at"] else ""
        print(f"{use['name']}: {use['remaining']} of {use['limit']} left{until}")
    for network in answer.get("networks", []):
        print(f"network: {network}")
    if "priority" in answer:
        print(f"priority: {answer['priority']}")


def _usage(client: Client, chosen: argparse.Namespace) -> None:
    params = {"period": chosen.period} if chosen.period else {}
    print(json.dumps(client.call("GET", "/usage", params=params), indent=2))


if __name__ == "__main__":
    sys.exit(main())
