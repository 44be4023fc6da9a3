"""The page of the nodes: an administrator empties a machine and takes it back."""

import pytest
from django.test import Client

from moorage.accounts.models import AuditEntry
from moorage.fleet.models import Node
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import text_of


@pytest.fixture
def node() -> Node:
    """A machine with room."""
    return Node.objects.create(name="quay.1", memory_bytes=2**34, cpu_millis=4000, runtime="memory")


@pytest.fixture
def ada(cast: Cast, signed_in: SignIn) -> Client:
    """The administrator's browser."""
    return signed_in(cast.ada)


def test_a_node_is_drained_with_a_reason_and_taken_back(ada: Client, node: Node) -> None:
    drained = text_of(ada.post("/admin/nodes/quay.1/drain", {"why": "A new disk."}, follow=True))
    node.refresh_from_db()

    assert node.is_drained and "A new disk." in drained and "Take back" in drained

    text_of(ada.post("/admin/nodes/quay.1/undrain", follow=True))
    node.refresh_from_db()

    assert not node.is_drained
    actions = AuditEntry.objects.filter(subject=node.pk).values_list("action", flat=True)
    assert sorted(actions) == ["node.drained", "node.undrained"]


def test_a_drain_needs_a_reason(ada: Client, node: Node) -> None:
    page = text_of(ada.post("/admin/nodes/quay.1/drain", {"why": " "}, follow=True))

    node.refresh_from_db()
    assert not node.is_drained and "Say why quay.1 is drained" in page


def test_nobody_else_finds_it(cast: Cast, node: Node, signed_in: SignIn) -> None:
    assert signed_in(cast.alice.user).post("/admin/nodes/quay.1/drain", {"why": "x"}).status_code == 404
    node.refresh_from_db()
    assert not node.is_drained
