"""What a model is for and what it can do follows from its file and its flags, and the gateways are told."""

import pytest

from moorage.console import snippets
from moorage.deployments.pins import Pin
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, apply
from tests.deployments.test_routes import looked_at

VLLM = COMPOSE.replace("catalog/harbour:q8_0", "catalog/harbour-vllm:f16")


def with_flags(text: str, *flags: str) -> str:
    named = ", ".join(f'"{flag}"' for flag in flags)
    return text.replace("context_size: 256", f"context_size: 256\n    runtime_flags: [{named}]")


@pytest.mark.parametrize(
    ("text", "kind", "call"),
    [
        (COMPOSE, "chat", "/v1/chat/completions"),
        (with_flags(COMPOSE, "--embeddings"), "embedding", "/v1/embeddings"),
        (with_flags(COMPOSE, "--reranking"), "rerank", "/v1/rerank"),
        (VLLM, "chat", "/v1/chat/completions"),
        (with_flags(VLLM, "--runner pooling"), "embedding", "/v1/embeddings"),
        (with_flags(VLLM, "--runner pooling", "--convert classify"), "rerank", "/v1/rerank"),
    ],
)
def test_a_models_flags_decide_where_it_is_called(committed_cast: Cast, text: str, kind: str, call: str) -> None:
    deployment = apply(committed_cast, text)

    route = looked_at(deployment)

    assert route.kind == kind
    assert deployment.target is not None
    pin = Pin.from_json(deployment.target.pins["llm"])
    assert call in snippets.call(pin, gateway_url="http://gateway").curl


@pytest.mark.parametrize(
    "text", [COMPOSE, with_flags(VLLM, "--enable-auto-tool-choice", "--tool-call-parser hermes"), VLLM]
)
def test_the_demo_model_has_a_template_without_a_place_for_tools(committed_cast: Cast, text: str) -> None:
    route = looked_at(apply(committed_cast, text))

    assert (route.has_chat_template, route.has_tools) == (True, False)


def test_a_revision_from_before_this_was_asked_can_be_served(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    assert deployment.target is not None
    pinned = dict(deployment.target.pins["llm"])
    del pinned["has_tools"], pinned["has_chat_template"]

    pin = Pin.from_json(pinned)

    assert (pin.has_chat_template, pin.has_tools) == (True, True)
