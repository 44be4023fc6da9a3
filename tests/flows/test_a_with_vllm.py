"""Flow A with safetensors: vLLM in a hardened container, beside llama-server with the same weights as GGUF."""

from typing import Any

import pytest
from openai import OpenAI

from moorage.deployments.models import Replica
from tests.flows.stack import Stack

COMPOSE = """
models:
  vllm:
    model: catalog/harbour-vllm:f16
    context_size: 512
  gguf:
    model: catalog/harbour:f16-gguf
    context_size: 512
"""
PROMPTS = ("The harbour is quiet", "Every organization has its own berth.")

pytestmark = [pytest.mark.docker, pytest.mark.vllm]


@pytest.fixture(scope="module")
def runtime(docker_host: str, llamacpp_image: str, vllm_image: str) -> dict[str, str]:
    """Engines in containers."""
    return {
        "MOORAGE_RUNTIME": "docker",
        "DOCKER_HOST": docker_host,
        "MOORAGE_LLAMACPP_IMAGE": llamacpp_image,
        "MOORAGE_VLLM_IMAGE": vllm_image,
    }


def greedy(client: OpenAI, model: str, prompt: str) -> tuple[str, int, int]:
    """The likeliest continuation, with the tokens in and out."""
    answer = client.completions.create(model=model, prompt=prompt, max_tokens=24, temperature=0)
    assert answer.usage is not None
    return answer.choices[0].text, answer.usage.prompt_tokens, answer.usage.completion_tokens


def test_safetensors_are_served_by_vllm_and_say_the_same_as_the_gguf(secret: str, stack: Stack) -> None:
    client = stack.openai(secret)
    message: Any = [{"role": "user", "content": "Tell me about the sea"}]
    with stack.api(secret) as api:
        put = api.put("/deployments/both", params={"wait": "ready", "timeout": 600}, content=COMPOSE)
        assert put.status_code == 200, put.text
        engines = {model["key"]: model["engine"] for model in put.json()["models"]}
        assert engines == {"vllm": "vllm", "gguf": "llamacpp"}

    whole = client.chat.completions.create(model="both/vllm", messages=message, max_tokens=16)
    chunks = list(
        client.chat.completions.create(
            model="both/vllm", messages=message, max_tokens=16, stream=True, stream_options={"include_usage": True}
        )
    )

    assert whole.choices[0].message.content
    assert whole.usage is not None and 1 <= whole.usage.completion_tokens <= 16
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 1
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    for prompt in PROMPTS:
        assert greedy(client, "both/vllm", prompt) == greedy(client, "both/gguf", prompt)
    replica = Replica.objects.get(model_key="vllm")
    assert "vllm.entrypoints.openai.api_server" in replica.argv
    assert "--uds" in replica.argv
    with stack.api(secret) as api:
        assert api.delete("/deployments/both", params={"wait": "gone"}).status_code == 204
