"""The whole way with a real llama-server and the demo model."""

import json
import subprocess
from pathlib import Path

import httpx
import openai
import pytest

from moorage.wire.records import ReplicaAddress
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, wait_until_knows
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until

pytestmark = pytest.mark.engine


def gguf(catalog: Path) -> Path:
    """The weights of the demo model in its OCI layout."""
    layout = catalog / "harbour"
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads(blob(layout, entry["digest"]).read_text())
        for layer in manifest["layers"]:
            path = blob(layout, layer["digest"])
            with path.open("rb") as file:
                if file.read(4) == b"GGUF":
                    return path
    raise AssertionError("no GGUF in the catalogue")


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def test_llama_server_answers_is_metered_and_stops_when_the_client_leaves(
    llama_server: Path,
    demo_catalog: Path,
    start_gateway: Start,
    control: ControlPlane,
    alices_key: str,
    short_tmp: Path,
) -> None:
    runner = short_tmp / "r.sock"
    arguments = ["--model", str(gguf(demo_catalog)), "--host", str(runner), "--alias", MODEL, "--ctx-size", "2048"]
    with (short_tmp / "engine.log").open("wb") as log:
        engine = subprocess.Popen(
            [str(llama_server), *arguments, "--parallel", "2", "--threads", "1", "--metrics"], stdout=log, stderr=log
        )
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(runner)), base_url="http://runner") as direct:
            wait_until(lambda: runner.exists() and direct.get("/health").status_code == 200, seconds=60)
            control.put_route(replicas=(ReplicaAddress(id="rep_1", socket=str(runner)),), context_size=1024)
            gateway = start_gateway()
            wait_until_knows(gateway, alices_key, MODEL)

            with client_of(gateway, alices_key) as client:
                whole = client.chat.completions.create(model=MODEL, messages=ask("Hello"), max_tokens=12, temperature=0)
                chunks = list(
                    client.chat.completions.create(
                        model=MODEL, messages=ask("Hello"), max_tokens=12, temperature=0, stream=True
                    )
                )
                text = client.completions.create(model=MODEL, prompt="The harbour", max_tokens=8, temperature=0)
                with pytest.raises(openai.BadRequestError):
                    client.chat.completions.create(model=MODEL, messages=ask("Hello"), n=8)
                left = client.completions.create(
                    model=MODEL, prompt="The", max_tokens=1000, stream=True, logit_bias={"2": -100}
                )
                next(iter(left))
                left.close()

            events = wait_until(lambda: len(gateway.events()) == 5 and gateway.events(), seconds=20)

            def is_idle() -> bool:
                metrics = direct.get("/metrics").text
                return "llamacpp:requests_processing 0" in metrics

            wait_until(is_idle, seconds=20, what="llama-server to stop generating")
    finally:
        engine.terminate()
        engine.wait(20)

    assert whole.usage is not None and whole.usage.completion_tokens > 0
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == whole.choices[0].message.content
    assert text.choices[0].text
    first, second, third, refused, gone = events
    assert (first.source, second.source, third.source) == ("engine", "engine", "engine")
    assert (second.input_tokens, second.output_tokens) == (first.input_tokens, first.output_tokens)
    assert first.input_tokens == whole.usage.prompt_tokens
    assert (refused.outcome, refused.output_tokens) == ("refused", 0)
    assert gone.outcome == "client_gone"
    assert gone.input_tokens > 0 and 0 < gone.output_tokens < 1000
    assert "usage_disagreements_total 0.0" in httpx.get(f"{gateway.url}/-/metrics").text
