"""Bad input of every kind, over the running stack: one clear sentence each, and nothing left behind."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIStatusError, AuthenticationError

from moorage.deployments.models import Deployment
from tests.cast import Cast
from tests.flows import bad_models, remains
from tests.flows.stack import Stack, free_port
from tests.waiting import wait_until

NOBODY_LISTENS = free_port()


def compose(model: str, *lines: str) -> str:
    """A Compose file with one model; ``lines`` belong to it. The reference is on line 3."""
    return "\n".join(["models:", "  llm:", f"    model: {model}", *(f"    {line}" for line in lines), ""])


@pytest.fixture(scope="module")
def stack_environment(stack_home: Path, demo_catalog: Path) -> dict[str, str]:
    """A catalogue with models that lie, and a registry that is listed and not there."""
    bad_models.make_catalog(stack_home / "catalog", honest=demo_catalog)
    return {
        "MOORAGE_CATALOG": str(stack_home / "catalog"),
        "MOORAGE_PLAIN_REGISTRIES": f"127.0.0.1:{NOBODY_LISTENS}",
    }


@pytest.fixture
def api(secret: str, stack: Stack) -> Iterator[httpx.Client]:
    """REST with Alice's key."""
    with stack.api(secret) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_left(stack: Stack) -> Iterator[None]:
    """Whatever a test does: no deployment, replica, reservation, route, container or socket more than before."""
    before = remains.of(stack).that_run
    yield
    wait_until(lambda: remains.of(stack).that_run == before, seconds=30, what=f"nothing but {before}")


def said(answer: httpx.Response, *, status: int, code: str) -> str:
    """The sentence of a refusal, which has the envelope's shape."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    sentence = str(error["message"])
    assert re.fullmatch(r"[A-Z`].*[.!?…]", sentence, re.DOTALL), sentence
    assert "Traceback" not in sentence and "Error(" not in sentence
    return sentence


def problems(answer: httpx.Response) -> list[tuple[int, str]]:
    """Line and path of every problem of a Compose file."""
    said(answer, status=422, code="spec_invalid")
    return [(one["line"], one["path"]) for one in answer.json()["error"]["problems"] if one["severity"] == "error"]


def test_a_broken_compose_file_is_told_all_its_problems_with_their_lines(api: httpx.Client) -> None:
    broken = compose("catalog/harbour:q8_0", "context_size: -1", "backend: llama.cpp", "name: [1]")

    answer = api.put("/deployments/bad", content=broken)

    assert [line for line, _ in problems(answer)] == [4, 5, 6]
    assert api.get("/deployments/bad").status_code == 404


def test_a_file_that_is_no_yaml_is_told_where_it_ends(api: httpx.Client) -> None:
    answer = api.put("/deployments/bad", content="models:\n  llm: {model: 'catalog/harbour\n")

    assert len(problems(answer)) == 1


def test_an_unknown_model_is_told_on_its_line_with_what_there_is(api: httpx.Client) -> None:
    answer = api.put("/deployments/bad", content=compose("catalog/nowhere:1"))

    assert problems(answer) == [(3, "models.llm.model")]
    assert "harbour:q8_0" in said(answer, status=422, code="spec_invalid")


def test_an_unreachable_registry_is_named(api: httpx.Client) -> None:
    answer = api.put("/deployments/bad", content=compose(f"127.0.0.1:{NOBODY_LISTENS}/models/tiny:1"))

    assert "127.0.0.1" in said(answer, status=502, code="registry_unreachable")


def test_a_registry_inside_our_own_network_is_not_spoken_to(api: httpx.Client) -> None:
    answer = api.put("/deployments/bad", content=compose("169.254.169.254/latest/meta:1"))

    assert problems(answer) == [(3, "models.llm.model")]


def test_a_hostile_header_is_refused_before_anything_is_stored(api: httpx.Client, stack: Stack) -> None:
    before = remains.of(stack)

    answer = api.put("/deployments/bad", content=compose("catalog/hostile:q8_0"))

    assert problems(answer) == [(3, "models.llm.model")]
    assert not Deployment.objects.filter(name="bad").exists()
    assert remains.of(stack) == before


def test_a_lying_digest_fails_the_deployment_with_its_name(api: httpx.Client, stack: Stack) -> None:
    before = remains.of(stack)

    answer = api.put("/deployments/liar", params={"wait": "ready"}, content=compose("catalog/liar:q8_0"))

    sentence = said(answer, status=409, code="deployment_failed")
    assert "sha256:" in sentence and "catalog/liar" in sentence
    shown = api.get("/deployments/liar").json()
    assert (shown["status"], shown["reason_code"]) == ("failed", "artifact_refused")
    wait_until(lambda: not remains.of(stack).replicas, seconds=20, what="the failed replica to be gone")
    after = remains.of(stack)
    assert (after.weights, after.containers, after.sockets) == (before.weights, before.containers, before.sockets)
    assert after.reservations == before.reservations
    assert api.delete("/deployments/liar", params={"wait": "gone"}).status_code == 204


def test_a_wrong_key_is_refused_at_both_doors(stack: Stack) -> None:
    wrong = "mk_live_" + "0" * 39
    with stack.api(wrong) as stranger:
        said(stranger.get("/deployments"), status=401, code="unauthenticated")
        said(stranger.put("/deployments/bad", content=compose("catalog/harbour")), status=401, code="unauthenticated")

    with pytest.raises(AuthenticationError) as refusal:
        stack.openai(wrong).models.list()

    assert refusal.value.response.json()["error"]["message"].endswith(".")


def test_a_body_that_is_too_large_is_refused_at_both_doors(api: httpx.Client, secret: str, stack: Stack) -> None:
    large = compose("catalog/harbour:q8_0") + "#" * (64 * 1024)
    said(api.put("/deployments/bad", content=large), status=413, code="body_too_large")

    with pytest.raises(APIStatusError) as refusal:
        stack.openai(secret).completions.create(model="demo/llm", prompt="x" * (11 * 1024 * 1024), max_tokens=1)

    assert refusal.value.status_code == 413
    assert refusal.value.response.json()["error"]["code"] == "body_too_large"


def test_a_flag_that_is_not_allowed_is_told_on_its_line(api: httpx.Client) -> None:
    answer = api.put(
        "/deployments/bad",
        content=compose("catalog/harbour:q8_0", "runtime_flags:", '  - "--temp=0.5"', '  - "--host=0.0.0.0"'),
    )

    assert [line for line, _ in problems(answer)] == [6]


def test_a_driver_that_does_not_fit_the_format_is_told_on_its_line(api: httpx.Client) -> None:
    answer = api.put("/deployments/bad", content=compose("catalog/harbour:q8_0", "driver: vllm"))

    assert problems(answer) == [(4, "models.llm.driver")]


def test_a_served_name_that_is_taken_is_refused_with_whose_it_is(api: httpx.Client, committed_cast: Cast) -> None:
    taken = compose("catalog/harbour:q8_0", "name: pilot")
    assert api.put("/deployments/first", content=taken).status_code == 202

    answer = api.put("/deployments/second", content=taken)

    assert "first" in said(answer, status=409, code="served_name_taken")
    assert not Deployment.objects.filter(name="second").exists()
    assert api.delete("/deployments/first", params={"wait": "gone"}).status_code == 204
