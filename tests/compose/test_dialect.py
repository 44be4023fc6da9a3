"""The older dialect: driver, gpus and healthcheck in the model, one-string flags."""

import pytest

from moorage import compose
from tests.compose.reading import model_of, problems_of


def test_a_whole_file_of_the_dialect_is_understood():
    parsed = compose.parse("""
models:
  llm:
    driver: vllm
    model: ai/smollm2-vllm
    gpus: all
    context_size: "8192"
    runtime_flags: ["--gpu-memory-utilization 0.9"]
    healthcheck: {test: [CMD, curl], interval: 30s, timeout: 1m30s, retries: 3, start_period: 2m}
services:
  app:
    image: app
    environment: [LLM_ENDPOINT=http://x]
    models: [llm]
""")

    model = parsed.spec.model("llm")
    assert (model.driver, model.gpus, model.context_size) == ("vllm", "all", 8192)
    assert model.flags == (compose.Flag(name="--gpu-memory-utilization", value="0.9"),)
    assert model.health == compose.HealthSpec(
        interval_seconds=30, timeout_seconds=90, retries=3, start_period_seconds=120
    )
    assert "models.llm.healthcheck.test" in {warning.path for warning in parsed.warnings}


@pytest.mark.parametrize(
    ("written", "driver"),
    [("vllm", "vllm"), ("llama.cpp", "llamacpp"), ("llamacpp", "llamacpp"), ("llama-cpp", "llamacpp")],
)
def test_drivers_have_four_spellings(written, driver):
    assert model_of(f"models: {{llm: {{model: ai/x, driver: {written}}}}}").driver == driver


@pytest.mark.parametrize("written", ["sglang", "VLLM", "3", "[vllm]"])
def test_another_driver_is_refused(written):
    assert "models.llm.driver" in problems_of(f"models: {{llm: {{model: ai/x, driver: {written}}}}}")


@pytest.mark.parametrize(
    ("written", "gpus"),
    [
        ("all", "all"),
        ("2", 2),
        ("'2'", 2),
        ("0", 0),
        ("[{count: 2, capabilities: [gpu]}]", 2),
        ("[{count: all}]", "all"),
        ("[{capabilities: [gpu]}]", "all"),
        ("[{driver: nvidia, count: 1}]", 1),
    ],
)
def test_gpus_are_a_number_or_all(written, gpus):
    assert model_of(f"models: {{llm: {{model: ai/x, gpus: {written}}}}}").gpus == gpus


@pytest.mark.parametrize(
    "written",
    [
        "-1",
        "17",
        "1000000000",
        "some",
        "1.5",
        "{}",
        "[{device_ids: ['0']}]",
        "[{count: 1, capabilities: [graphics]}]",
        "[1]",
        "[{}, {}]",
    ],
)
def test_other_gpus_are_refused(written):
    problems = problems_of(f"models: {{llm: {{model: ai/x, gpus: {written}}}}}")

    assert all(path.startswith("models.llm.gpus") for path in problems)


def test_parallel_sizes_have_to_agree_with_the_gpus():
    text = "models: {llm: {model: ai/x, driver: vllm, gpus: GPUS, runtime_flags: [-tp 2, -pp 2]}}"

    assert model_of(text.replace("GPUS", "4")).gpus == 4
    assert "over 4 GPUs" in problems_of(text.replace("GPUS", "2"))["models.llm.runtime_flags"]


def test_a_bare_string_is_a_model():
    assert model_of("models: {llm: ai/x}") == model_of("models: {llm: {model: ai/x}}")


@pytest.mark.parametrize(
    "key", ["backend", "image", "replicas", "deploy", "environment", "quantization", "keep_alive", "scale", "labels"]
)
def test_keys_that_people_try_get_a_sentence_of_their_own(key):
    message = problems_of(f"models: {{llm: {{model: ai/x, {key}: 1}}}}")[f"models.llm.{key}"]

    assert "Write" in message or "Choose" in message


def test_a_foreign_extension_of_a_model_is_ignored_with_a_warning():
    parsed = compose.parse("models: {llm: {model: ai/x, x-cloud: {size: 1}}}")

    assert [warning.path for warning in parsed.warnings] == ["models.llm.x-cloud"]
