"""`moorage nodes` against the real REST API, with an administrator's key and without one."""

from collections.abc import Callable

import httpx
import pytest
from django.core.wsgi import get_wsgi_application

from moorage.accounts.models import AuditEntry, Scope
from moorage.cli.main import main
from moorage.fleet import declared_pool, services
from moorage.fleet.models import Node
from moorage.fleet.placement import Demand
from tests.cast import Cast, Person

GIB = 1024**3
Run = Callable[..., int]


def running(person: Person, *scopes: Scope) -> Run:
    """`moorage …` with a key of theirs."""
    environment = {"MOORAGE_API_URL": "http://127.0.0.1:8400/api/v1", "MOORAGE_API_TOKEN": person.key(*scopes)}
    transport = httpx.WSGITransport(app=get_wsgi_application())
    return lambda *words: main(words, environment=environment, transport=transport)


@pytest.fixture
def moorage(committed_cast: Cast) -> Run:
    """As the administrator's scripts run it, beside two nodes."""
    gpus = [{"name": "H100", "memory": "80g", "count": 2}]
    nodes = [{"name": f"gpu-{number}", "memory": "64g", "cpus": 8, "gpus": gpus} for number in (1, 2)]
    declared_pool.declare(declared_pool.parse({"nodes": nodes}))
    return running(committed_cast.charlie, Scope.ADMIN)


def test_nodes_are_listed_and_one_is_shown(moorage: Run, capsys: pytest.CaptureFixture[str]) -> None:
    demand = Demand(memory_bytes=GIB, cpu_millis=1000, gpu_share_bytes=20 * GIB)
    services.reserve(replica_id="rep_1", organization_id="org_1", demand=demand)

    assert moorage("nodes") == 0
    alone = capsys.readouterr().out
    assert moorage("nodes", "list") == 0
    assert capsys.readouterr().out == alone
    assert moorage("nodes", "show", "gpu-1") == 0
    shown = capsys.readouterr().out

    assert [line.split()[0] for line in alone.splitlines()] == ["gpu-1", "gpu-2"]
    assert "1.0 of 64.0 GiB" in alone
    assert "H100, 80.0 GiB: shared by rep_1 (20.0 GiB)" in shown and "H100, 80.0 GiB: free" in shown
    assert "rep_1 unknown" in shown and "it gets 20.0 of 80.0 GiB of one H100" in shown


def test_a_node_is_drained_with_a_reason_and_resumed(moorage: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert moorage("nodes", "drain", "gpu-1", "--why", "A fan.") == 0
    assert "gpu-1 takes nothing new" in capsys.readouterr().out
    moorage("nodes", "show", "gpu-1")
    assert "gpu-1 drained: A fan." in capsys.readouterr().out

    assert moorage("nodes", "resume", "gpu-1") == 0
    assert "takes replicas again" in capsys.readouterr().out

    moorage("nodes", "show", "gpu-1")
    said = capsys.readouterr().out
    assert "node.drained" in said and "node.resumed" in said
    assert list(
        AuditEntry.objects.order_by("pk").values_list("action", flat=True).filter(action__startswith="node")
    ) == [
        "node.drained",
        "node.resumed",
    ]


def test_labels_and_taints_are_set_and_taken_away_one_by_one(moorage: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert moorage("nodes", "label", "gpu-1", "zone=a", "disk=fast") == 0
    assert "disk=fast, zone=a" in capsys.readouterr().out
    assert moorage("nodes", "label", "gpu-1", "disk-", "rack=r1") == 0
    assert moorage("nodes", "taint", "gpu-1", "team=x") == 0

    node = Node.objects.get(name="gpu-1")
    assert (node.labels, node.taints) == ({"zone": "a", "rack": "r1"}, {"team": "x"})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("label", "gpu-1", "zone"), "neither NAME=VALUE"),
        (("label", "gpu-1", "a=1", "a-"), "named twice"),
        (("taint", "gpu-1", "No Such=x"), "cannot be one of a node's taints"),
        (("show", "gpu-9"), "There is no node of that name"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    moorage: Run, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert moorage("nodes", *words) == 1
    assert sentence in capsys.readouterr().err


def test_a_key_that_manages_an_organization_is_not_enough(
    moorage: Run, committed_cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    for person in (committed_cast.alice, committed_cast.bob, committed_cast.charlie):
        run = running(person, Scope.MANAGE)
        assert run("nodes") == 1
        assert run("nodes", "drain", "gpu-1", "--why", "x") == 1
        assert "admin" in capsys.readouterr().err
    assert not Node.objects.filter(is_drained=True).exists()
