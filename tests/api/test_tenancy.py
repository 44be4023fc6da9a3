"""A stranger with a valid key and the right ids finds nothing, at every address there is."""

import re
from typing import Any

import pytest

from moorage.accounts.actor import Actor
from moorage.accounts.models import ApiKey
from moorage.api import openapi
from moorage.billing import credit_notes
from moorage.billing.models import TopUp, TopUpKind
from moorage.deployments.models import Deployment, Replica, Revision, Update, UpdateState
from tests.api.conftest import COMPOSE, WIDER, Caller, error_of
from tests.billing import measured
from tests.billing.bills import invoiced
from tests.cast import Cast

BODIES: dict[str, Any] = {"rollback": {"revision": 1}, "limits": {"requests_per_minute": 5}}
#: A stranger's PUT is about the stranger's own: there is nothing of Alice's to find.
OWN = {("put", "/api/v1/deployments/{name}"), ("put", "/api/v1/registries/{host}")}
#: Addresses that take an id of somebody's row.
ADDRESSED = sorted(
    (method, path)
    for path, item in openapi.document()["paths"].items()
    for method in item
    if "{" in path and "/admin/" not in path and (method, path) not in OWN
)
LISTS = sorted(
    path
    for path, item in openapi.document()["paths"].items()
    if "get" in item and "{" not in path and "/admin/" not in path and item["get"].get("security")
)


@pytest.fixture
def ids(alice: Caller, cast: Cast) -> dict[str, str]:
    """One of everything of Alice's, by the names that paths have for it."""
    alice.put("demo")
    alice.put("demo", WIDER)
    alice("PUT", "registries/ghcr.io", {"username": "harbour", "secret": "hush"})
    deployment = Deployment.objects.get()
    replica = Replica.objects.create(deployment=deployment, revision=deployment.target, model_key="llm", status="gone")
    first = deployment.revisions.get(number=1)
    Update.objects.update_or_create(
        deployment=deployment,
        defaults={"revision": deployment.target, "baseline": first, "state": UpdateState.TRIAL, "by": "alice"},
    )
    request_id = measured.use(cast.alice.organization)
    invoice = invoiced(cast.alice)
    note = credit_notes.issue(invoice=invoice, reason="A gap.", by=Actor.person(cast.ada), amount_cents=1)
    top_up = TopUp.objects.create(
        organization=cast.alice.organization,
        kind=TopUpKind.CHECKOUT,
        currency="USD",
        cents=500,
        provider="memory",
        source="checkout:alice",
        created_by="alice",
    )
    return {
        "top_up_id": top_up.id,
        "invoice_id": invoice.pk,
        "credit_note_id": note.pk,
        "kind": "json",
        "name": "demo",
        "number": "1",
        "replica_id": replica.id,
        "key_id": ApiKey.objects.for_organization(cast.alice.organization).first().id,  # type: ignore[union-attr]
        "host": "ghcr.io",
        "request_id": request_id,
    }


def call(caller: Caller, method: str, path: str, ids: dict[str, str]) -> Any:
    """The operation with these ids."""
    address = re.sub(r"\{(\w+)\}", lambda part: ids[part[1]], path.removeprefix("/api/v1/"))
    return caller(method.upper(), address, BODIES.get(path.rpartition("/")[2]), accept="*/*")


@pytest.mark.parametrize(("method", "path"), ADDRESSED)
def test_a_stranger_gets_404_where_the_owner_does_not(
    alice: Caller, charlie: Caller, ids: dict[str, str], method: str, path: str
) -> None:
    before = (Deployment.objects.get().status, Revision.objects.count(), ApiKey.objects.filter(revoked_at=None).count())

    error_of(call(charlie, method, path, ids), 404)

    after = (Deployment.objects.get().status, Revision.objects.count(), ApiKey.objects.filter(revoked_at=None).count())
    assert after == before
    assert call(alice, method, path, ids).status_code < 300


@pytest.mark.parametrize("path", LISTS)
def test_no_list_shows_a_strangers_rows(charlie: Caller, ids: dict[str, str], path: str) -> None:
    for query in ("", "?period=2026-10"):
        answer = charlie("GET", path.removeprefix("/api/v1/") + query)

        assert answer.status_code in (200, 409, 422)
        text = answer.content.decode()
        assert not any(
            ids[name] in text for name in ("replica_id", "key_id", "host", "request_id", "invoice_id", "credit_note_id")
        ), text
        assert "demo" not in text and "harbour" not in text


def test_two_organizations_have_a_deployment_of_the_same_name_each(
    alice: Caller, charlie: Caller, ids: dict[str, str]
) -> None:
    answer = charlie.put("demo", COMPOSE)

    assert answer.status_code == 202
    assert answer.json()["id"] != alice.get("deployments/demo")["id"]


def test_a_strangers_cursor_opens_nothing(alice: Caller, charlie: Caller, ids: dict[str, str]) -> None:
    alice.put("another")
    cursor = alice.get("deployments?limit=1")["next_cursor"]

    assert charlie.get(f"deployments?cursor={cursor}")["data"] == []
