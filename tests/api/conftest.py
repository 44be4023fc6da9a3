"""A caller of the REST API as a program is one: an Authorization header, a body, an answer in JSON."""

import dataclasses
import json
from typing import Any

import pytest
from django.test import Client

from moorage.accounts.models import Scope
from tests.cast import Cast, Person

COMPOSE = """\
services:
  app:
    image: app
    models: [llm]
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 256
"""
#: The same with another meaning.
WIDER = COMPOSE.replace("256", "512")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caller:
    """A program with a key, or without one."""

    secret: str | None
    client: Client = dataclasses.field(default_factory=lambda: Client(raise_request_exception=False))

    def __call__(self, method: str, path: str, body: Any = None, *, content_type: str = "", **headers: str) -> Any:
        """Calls /api/v1/``path``; a dict goes as JSON, text as what ``content_type`` says (YAML)."""
        sent: dict[str, Any] = {"headers": {**headers}}
        if self.secret is not None:
            sent["headers"].setdefault("authorization", f"Bearer {self.secret}")
        if isinstance(body, dict | list):
            sent |= {"data": json.dumps(body), "content_type": "application/json"}
        elif body is not None:
            sent |= {"data": body, "content_type": content_type or "application/yaml"}
        return self.client.generic(method, f"/api/v1/{path}", **sent)

    def get(self, path: str, **headers: str) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self("GET", path, **headers)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def put(self, name: str, body: Any = COMPOSE, query: str = "") -> Any:
        """Puts a Compose file."""
        return self("PUT", f"deployments/{name}{query}", body)


@pytest.fixture
def alice(cast: Cast) -> Caller:
    """With a key that manages the organization harbour."""
    return calling(cast.alice, Scope.MANAGE)


@pytest.fixture
def charlie(cast: Cast) -> Caller:
    """With a key that manages another organization."""
    return calling(cast.charlie, Scope.MANAGE)


@pytest.fixture
def ada(cast: Cast) -> Caller:
    """With an administrator's key."""
    return calling(cast.charlie, Scope.ADMIN)


@pytest.fixture
def anybody(db: None) -> Caller:
    """Without a key."""
    return Caller(secret=None)


def calling(person: Person, *scopes: Scope) -> Caller:
    """A program with a key of ``person``'s organization."""
    return Caller(secret=person.key(*scopes))


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """The error of ``answer``, which must be the whole envelope and nothing else."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["content-type"].startswith("application/json")
    document = answer.json()
    assert document.keys() == {"error"}
    error: dict[str, Any] = document["error"]
    assert {"type", "code", "message", "param", "request_id"} <= error.keys()
    assert error["request_id"] == answer["x-request-id"]
    assert error["message"].strip()
    return error
