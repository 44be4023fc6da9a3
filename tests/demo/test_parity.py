"""Both engines say the same: greedy tokens of llama-server on the GGUF and of vLLM on the safetensors are equal."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from runners.demo import package

from tests.demo.engine_process import llama_engine, vllm_engine

CATALOG = Path(package.__file__).parent / "catalog"
LENGTH = 32

COMPLETIONS = (
    "The harbour is quiet",
    "Moorage is a service",
    "The sea is never the same",
    "Every organization has its own berth.",
    "  The ship's log, 12 lines:\n",
    "Ein schöner Hafen – naïve, 海",
)
CHATS = (
    [{"role": "user", "content": "Hello"}],
    [{"role": "user", "content": "What is Moorage?"}],
    [{"role": "user", "content": "Tell me about the sea"}],
    [
        {"role": "system", "content": "You are the harbour master."},
        {"role": "user", "content": "How do I deploy a model?"},
    ],
    [
        {"role": "user", "content": "Hi there"},
        {"role": "assistant", "content": "Hello! Welcome to Moorage."},
        {"role": "user", "content": "What does it cost?"},
    ],
)


def answer(client: httpx.Client, path: str, body: dict) -> dict:
    response = client.post(path, json=body | {"model": "harbour", "temperature": 0, "max_tokens": LENGTH})
    assert response.status_code == 200, response.text
    return response.json()


def answers(client: httpx.Client) -> list[tuple[str, str, int, int]]:
    """Text, reason of the end, tokens in and tokens out, of every prompt."""
    found = []
    for prompt in COMPLETIONS:
        body = answer(client, "/v1/completions", {"prompt": prompt})
        choice, usage = body["choices"][0], body["usage"]
        found.append((choice["text"], choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]))
    for messages in CHATS:
        body = answer(client, "/v1/chat/completions", {"messages": messages})
        choice, usage = body["choices"][0], body["usage"]
        found.append(
            (
                choice["message"]["content"],
                choice["finish_reason"],
                usage["prompt_tokens"],
                usage["completion_tokens"],
            )
        )
    return found


def llama_tokens(client: httpx.Client) -> list[list[int]]:
    """The greedy token ids of every prompt as llama-server's own route gives them."""
    prompts = list(COMPLETIONS)
    for messages in CHATS:
        prompts.append(client.post("/apply-template", json={"messages": messages}).json()["prompt"])
    found = []
    for prompt in prompts:
        body = {"prompt": prompt, "n_predict": LENGTH, "temperature": 0, "return_tokens": True}
        found.append(client.post("/completion", json=body).json()["tokens"])
    return found


def vllm_tokens(client: httpx.Client) -> list[list[int]]:
    """The greedy token ids of every prompt as vLLM reports them beside the text."""
    asked = [("/v1/completions", {"prompt": prompt}) for prompt in COMPLETIONS]
    asked += [("/v1/chat/completions", {"messages": messages}) for messages in CHATS]
    return [answer(client, path, body | {"return_token_ids": True})["choices"][0]["token_ids"] for path, body in asked]


@pytest.mark.engine
@pytest.mark.vllm
def test_both_engines_give_the_same_greedy_tokens(tmp_path, llama_server, vllm_python):
    package.unpack(CATALOG / "harbour", "f16-gguf", tmp_path / "gguf")
    package.unpack(CATALOG / "harbour-vllm", "f16", tmp_path / "safetensors")

    with llama_engine(llama_server, tmp_path / "gguf" / "model.gguf") as client:
        llama_answers, llama_ids = answers(client), llama_tokens(client)
    with vllm_engine(vllm_python, tmp_path / "safetensors") as client:
        vllm_answers, vllm_ids = answers(client), vllm_tokens(client)

    assert llama_answers == vllm_answers
    assert llama_ids == vllm_ids


@pytest.mark.engine
@pytest.mark.parametrize("tag", ["f16-gguf", "q8_0"])
def test_the_demo_answers_in_readable_words_and_stops_by_itself(tmp_path, llama_server, tag):
    package.unpack(CATALOG / "harbour", tag, tmp_path)
    question = {"messages": [{"role": "user", "content": "What is Moorage?"}], "max_tokens": 200}

    with llama_engine(llama_server, tmp_path / "model.gguf") as client:
        response = client.post("/v1/chat/completions", json=question | {"temperature": 0}).json()

    assert response["choices"][0]["finish_reason"] == "stop"
    assert response["choices"][0]["message"]["content"] == (
        "Moorage turns a Compose file with models into billed, OpenAI-compatible endpoints. "
        "You bring your model, tie it up, and pay for what you use."
    )


@pytest.mark.engine
def test_a_request_without_a_temperature_gets_the_models_own(tmp_path, llama_server):
    package.unpack(CATALOG / "harbour", "q8_0", tmp_path / "gguf")
    package.unpack(CATALOG / "harbour-vllm", "f16", tmp_path / "safetensors")
    named = json.loads((tmp_path / "safetensors" / "generation_config.json").read_bytes())["temperature"]

    with llama_engine(llama_server, tmp_path / "gguf" / "model.gguf") as client:
        settings = client.get("/props").json()["default_generation_settings"]["params"]

    assert settings["temperature"] == pytest.approx(named)
