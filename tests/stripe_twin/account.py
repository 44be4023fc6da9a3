"""One Stripe account in test mode: its objects by id, its clock, its events. Every noun's own rules are in its file."""

import copy
import dataclasses
import time
import typing

Json = dict[str, typing.Any]


class Refusal(Exception):
    """A 4xx answer. One that happened after the work began (a declined card) is kept for its idempotency key."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = "invalid_request_error",
        is_kept: bool = False,
        **more: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_kept = is_kept
        self.body: Json = {"error": {"type": kind, "message": message, **({"code": code} if code else {}), **more}}


@dataclasses.dataclass
class Account:
    """What the twin holds."""

    base: str
    clock_offset: int = 0
    objects: dict[str, Json] = dataclasses.field(default_factory=dict)
    events: list[Json] = dataclasses.field(default_factory=list)
    made: int = 0

    def now(self) -> int:
        """Unix seconds on the twin's own clock."""
        return int(time.time()) + self.clock_offset

    def add(self, prefix: str, kind: str, **fields: object) -> Json:
        """A new object of ``kind`` with an id of its own."""
        self.made += 1
        made: Json = {
            "id": f"{prefix}_twin{self.made:06d}",
            "object": kind,
            "created": self.now(),
            "livemode": False,
            **fields,
        }
        self.objects[made["id"]] = made
        return made

    def find(self, reference: object, kind: str) -> Json:
        """The object with this id. Raises Refusal (404)."""
        found = self.objects.get(str(reference))
        if found is None or found["object"] != kind:
            raise Refusal(404, f"No such {kind}: '{reference}'", code="resource_missing")
        return found

    def all(self, kind: str) -> list[Json]:
        """Every object of a kind, the oldest first."""
        return [one for one in self.objects.values() if one["object"] == kind]

    def listed(self, kind: str, given: Json, **equal: object) -> Json:
        """A page of a list, the newest first, as ``limit``, ``starting_after`` and ``created`` ask for it."""
        found = [one for one in self.all(kind) if all(one.get(name) == value for name, value in equal.items())]
        return self.page(found, given)

    def page(self, found: list[Json], given: Json) -> Json:
        """``found``, the oldest first, as a list answer."""
        since = int(given.get("created", {}).get("gte", 0)) if isinstance(given.get("created"), dict) else 0
        newest = [one for one in reversed(found) if one["created"] >= since]
        if given.get("starting_after"):
            ids = [one["id"] for one in newest]
            newest = newest[ids.index(given["starting_after"]) + 1 :]
        limit = int(given.get("limit", 10))
        return {"object": "list", "url": "/", "has_more": len(newest) > limit, "data": newest[:limit]}

    def happened(self, kind: str, subject: Json) -> None:
        """Writes an event with a snapshot of the object."""
        self.made += 1
        self.events.append(
            {
                "id": f"evt_twin{self.made:06d}",
                "object": "event",
                "type": kind,
                "created": self.now(),
                "livemode": False,
                "data": {"object": copy.deepcopy(subject)},
            }
        )

    def expanded(self, answer: Json, paths: list[str]) -> Json:
        """A copy of an answer with the ids at ``paths`` replaced by what they name."""
        made = copy.deepcopy(answer)
        for path in paths:
            self._expand(made, path.split("."))
        return made

    def _expand(self, found: Json, path: list[str]) -> None:
        name, rest = path[0], path[1:]
        value = found.get(name)
        if isinstance(value, str) and value in self.objects:
            value = found[name] = copy.deepcopy(self.objects[value])
        inner = value if isinstance(value, list) else [value]
        for one in inner:
            if rest and isinstance(one, dict):
                self._expand(one, rest)
