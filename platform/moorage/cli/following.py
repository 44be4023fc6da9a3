"""What a person watches: logs as they come, what happened, and a deployment on its way."""

import argparse
import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from moorage.cli.client import Client
from moorage.kernel.errors import InvalidInput

_AGAIN_SECONDS: Final = 2.0
_WATCH_SECONDS: Final = 1.0
_MOVING: Final = frozenset({"provisioning", "deleting"})
_SPAN: Final = re.compile(r"([0-9]{1,4})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_to(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """The verbs of this file."""
    logs = verb("logs", _logs, "Print the last lines of a deployment's runners, or follow them.")
    logs.add_argument("--replica", help="only this replica's")
    logs.add_argument("-f", "--follow", action="store_true", help="stay, and print every line as it comes")
    events = verb("events", _events, "Show what happened, when, why and by whom.")
    events.add_argument("--code", help="only this kind, such as scaled or replica_* (in quotes)")
    events.add_argument("--replica", help="only this replica's")
    events.add_argument("--since", help="only since then: 90s, 30m, 6h, 7d, or a time such as 2026-11-22T10:00:00Z")
    events.add_argument("-f", "--follow", action="store_true", help="stay, and print what happens")
    status = verb("status", _status, "Show one deployment, its models and replicas.")
    status.add_argument("--watch", action="store_true", help="print what changes, until it rests")
    verb("retry", _retry, "Try again now what has failed.")


def _logs(client: Client, chosen: argparse.Namespace) -> None:
    if chosen.follow:
        _follow(client, chosen)
        return
    for replica in client.call("GET", f"/deployments/{chosen.name}/replicas")["data"]:
        if chosen.replica in {None, replica["id"]}:
            print(f"== {replica['id']} ({replica['status']})")
            print(client.call("GET", f"/deployments/{chosen.name}/replicas/{replica['id']}/logs")["text"])


def _follow(client: Client, chosen: argparse.Namespace) -> None:
    """Until it has ended, or the person has seen enough. A stream that breaks or ends for its length goes on."""
    path = f"/deployments/{chosen.name}/logs"
    if chosen.replica:
        path = f"/deployments/{chosen.name}/replicas/{chosen.replica}/logs"
    last = ""
    while True:
        reason = ""
        for event, id, document in events(client.stream(path, params={"follow": "1"}, last_event_id=last)):
            last = id or last
            if event == "line":
                whose = "" if chosen.replica else f"{document['replica_id'][-6:]} "
                print(f"{whose}{document['text']}", flush=True)
            elif event == "end":
                reason = str(document["reason"])
        if reason and not reason.startswith("That was long enough"):
            return
        time.sleep(_AGAIN_SECONDS)


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Server-sent events from their lines: kind, id, document."""
    kind, id, content = "message", "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                kind = value
            case "id":
                id = value
            case "data":
                content += value
            case "" if not line and content:
                yield kind, id, json.loads(content)
                kind, id, content = "message", "", ""


def _events(client: Client, chosen: argparse.Namespace) -> None:
    params = {name: value for name in ("code", "replica") if (value := getattr(chosen, name))}
    if chosen.since:
        params["since"] = _moment(chosen.since)
    seen: set[str] = set()
    while True:
        shown = client.call("GET", f"/deployments/{chosen.name}/timeline", params={**params, "limit": "100"})["data"]
        for event in reversed(shown):
            if event["id"] not in seen:
                seen.add(event["id"])
                whose = f" {event['replica_id']}" if event["replica_id"] else ""
                print(f"{event['at'][:19]}Z {event['code']:<24} {event['message']} ({event['by']}){whose}", flush=True)
        if not chosen.follow:
            return
        time.sleep(_WATCH_SECONDS)


def _status(client: Client, chosen: argparse.Namespace) -> None:
    said: list[str] = []
    while True:
        one = client.call("GET", f"/deployments/{chosen.name}")
        replicas = client.call("GET", f"/deployments/{chosen.name}/replicas")["data"]
        now = _standing(one, replicas)
        if now != said:
            print("\n".join(now), flush=True)
            said = now
        if not chosen.watch or (one["status"] not in _MOVING and not any(_is_moving(each) for each in replicas)):
            return
        time.sleep(_WATCH_SECONDS)


def _standing(one: dict[str, Any], replicas: list[dict[str, Any]]) -> list[str]:
    lines = [f"{one['name']} is {one['status']}: {one['reason']}"]
    for model in one["models"]:
        lines.append(f"  {model['served_name']}: {model['reference']} ({model['quantization']}) on {model['engine']}")
    for replica in replicas:
        lines.append(f"  {replica['id']} {replica['status']}: {replica['reason']}{_pull(replica)}")
    return lines


def _is_moving(replica: dict[str, Any]) -> bool:
    return replica["status"] in {"pending", "placed", "pulling", "starting", "draining", "stopping"}


def _pull(replica: dict[str, Any]) -> str:
    if replica["status"] != "pulling" or not replica["total_bytes"]:
        return ""
    done, total, pull = replica["pulled_bytes"], replica["total_bytes"], replica["pull"]
    words = f" {done / 1e6:,.1f} of {total / 1e6:,.1f} MB ({100 * done // total} %)"
    if pull["bytes_per_second"]:
        words += f" at {pull['bytes_per_second'] / 1e6:,.1f} MB/s, {pull['seconds_left']} s left"
    return words


def _retry(client: Client, chosen: argparse.Namespace) -> None:
    client.call("POST", f"/deployments/{chosen.name}/retry")
    print(f"{chosen.name} is tried again now.")


def _moment(text: str) -> str:
    """A time as the API reads it: so long ago, or one as it is. Raises InvalidInput."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return (dt.datetime.now(tz=dt.UTC) - dt.timedelta(**{_UNITS[span[2]]: int(span[1])})).isoformat()
    try:
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC).isoformat()
    except ValueError as error:
        raise InvalidInput("--since takes 90s, 30m, 6h, 7d, or a time such as 2026-11-22T10:00:00Z.") from error
