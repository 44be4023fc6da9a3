"""Files as Docker's own pages show them."""

import pytest

from moorage import compose
from tests.compose.reading import model_of, problems_of, spec_of


def test_the_short_form_of_dockers_pages_is_understood():
    spec = spec_of("""
services:
  chat-app:
    image: my-chat-app
    models:
      - llm

models:
  llm:
    model: ai/smollm2
""")

    assert [(model.key, model.reference) for model in spec.models] == [("llm", "ai/smollm2:latest")]
    assert spec.bindings == (
        compose.Binding(service="chat-app", model_key="llm", endpoint_var="LLM_URL", model_var="LLM_MODEL"),
    )


def test_the_long_form_with_names_of_its_own_is_understood():
    spec = spec_of("""
services:
  app:
    image: app
    models:
      llm:
        endpoint_var: AI_MODEL_URL
        model_var: AI_MODEL_NAME
      embedding-model:
        x-vendor: ignored
models:
  llm: {model: ai/smollm2, context_size: 1024, runtime_flags: ["--temp", "0.7"], name: assistant}
  embedding-model: {model: ai/all-minilm}
""")

    names = [(each.model_key, each.endpoint_var, each.model_var) for each in spec.bindings]
    assert names == [
        ("embedding-model", "EMBEDDING_MODEL_URL", "EMBEDDING_MODEL_MODEL"),
        ("llm", "AI_MODEL_URL", "AI_MODEL_NAME"),
    ]
    llm = spec.model("llm")
    assert (llm.context_size, llm.name, llm.flags) == (1024, "assistant", (compose.Flag(name="--temp", value="0.7"),))


def test_the_log_flags_of_dockers_pages_are_ignored_with_a_warning():
    parsed = compose.parse(
        "models: {llm: {model: ai/smollm2, runtime_flags: [--verbose-prompt, --log-prefix, --log-timestamps,"
        " --log-colors, off, --seed, 1]}}"
    )

    assert [flag.name for flag in parsed.spec.models[0].flags] == ["--seed"]
    assert len(parsed.warnings) == 4


def test_a_model_declared_by_a_provider_service_is_understood():
    spec = spec_of(
        """
services:
  chat: {build-less: 0}
""".replace("{build-less: 0}", "{image: chat, depends_on: [ai_runner]}")
        + """
  ai_runner:
    provider:
      type: model
      options:
        model: ai/smollm2:360M
        context-size: 4096
        runtime-flags: "--temp 0.5 --top-k=20"
        backend: llama.cpp
"""
    )

    model = spec.model("ai_runner")
    assert (model.reference, model.context_size, model.driver) == ("ai/smollm2:360M", 4096, "llamacpp")
    assert [(flag.name, flag.value) for flag in model.flags] == [("--temp", "0.5"), ("--top-k", "20")]
    assert [(each.service, each.endpoint_var) for each in spec.bindings] == [("chat", "AI_RUNNER_URL")]


def test_anchors_and_merge_keys_are_understood():
    spec = spec_of("""
x-small: &small
  context_size: 2048
  runtime_flags: &flags ["--seed 7"]
models:
  a: {<<: *small, model: ai/a}
  b: {<<: [*small], model: ai/b, context_size: 512}
  c: {model: ai/c, runtime_flags: *flags}
""")

    assert [model.context_size for model in spec.models] == [2048, 512, None]
    assert all(model.flags for model in spec.models)


@pytest.mark.parametrize("written", ["4096", '"4096"', "${CTX:-4096}", '"${CTX-4096}"'])
def test_the_context_size_is_a_number_or_its_digits(written):
    assert model_of(f"models:\n  llm:\n    model: ai/x\n    context_size: {written}").context_size == 4096


@pytest.mark.parametrize(
    "written", ["8k", "127", "1048577", "1e4", "0x1000", "4096.0", "-1", "true", "[]", "", "1_000", ".inf"]
)
def test_any_other_context_size_is_refused(written):
    problems = problems_of(f"models:\n  llm:\n    model: ai/x\n    context_size: {written}")

    assert problems["models.llm.context_size"].startswith("This must be a whole number from 128 to 1048576")


def test_no_models_are_answered_with_three_lines_to_start_from():
    for text in ("services: {}", "models: {}", "models:", "name: demo"):
        assert "models:\n  llm:\n    model: " in problems_of(text)["models"]


def test_all_problems_come_at_once_with_path_line_column_and_advice():
    with pytest.raises(compose.SpecInvalid) as caught:
        compose.parse("models:\n  llm:\n    modle: ai/x\n    context_size: 1\nserivces: {}\n")

    found = [(problem.path, problem.line, problem.column) for problem in caught.value.problems]
    assert found == [
        ("models.llm", 2, 3),
        ("models.llm.modle", 3, 5),
        ("models.llm.context_size", 4, 19),
        ("serivces", 5, 1),
    ]
    assert "Did you mean model?" in caught.value.problems[1].message
    assert (caught.value.code, caught.value.status_code, caught.value.param) == ("spec_invalid", 422, "models.llm")


def test_later_checks_can_point_to_a_line():
    parsed = compose.parse(
        "models:\n  llm:\n    model: ai/x\n    runtime_flags:\n      - --temp 0.5\n      - --seed=1\n"
    )

    assert parsed.lines["models.llm.model"] == 3
    assert parsed.lines["models.llm.runtime_flags[1]"] == 6
    assert parsed.lines["models.llm.runtime_flags[--seed]"] == 6


def test_every_key_at_the_top_is_used_ignored_with_a_warning_or_refused():
    parsed = compose.parse("version: '3'\nnetworks: {a: }\nvolumes: {b: }\nx-mine: 1\nmodels: {llm: ai/x}\n")

    assert {warning.path for warning in parsed.warnings} == {"version", "networks", "volumes", "x-mine"}
    assert "include" in problems_of("include: [oci://x]\nmodels: {llm: ai/x}")
    assert "secrets.s.file" in problems_of("secrets: {s: {file: /etc/shadow}}\nmodels: {llm: ai/x}")
    assert "configs.c.environment" in problems_of("configs: {c: {environment: HOME}}\nmodels: {llm: ai/x}")


@pytest.mark.parametrize(
    ("text", "name"),
    [("name: demo\n", "demo"), ("x-moorage: {name: demo}\n", "demo"), ("name: ${N:-demo}\n", "demo"), ("", None)],
)
def test_the_name_of_the_deployment_is_read(text, name):
    assert spec_of(text + "models: {llm: ai/x}").name == name


def test_the_callers_name_wins_over_the_files():
    parsed = compose.parse("name: other\nmodels: {llm: ai/x}", deployment_name="demo")

    assert parsed.spec.name == "demo"
    assert [warning.path for warning in parsed.warnings] == ["name"]
    assert "name" in problems_of("name: Not Good\nmodels: {llm: ai/x}")
    assert "name" in problems_of("models: {llm: ai/x}", deployment_name="../x")


def test_two_models_never_answer_to_one_name():
    text = "name: demo\nmodels:\n  a: {model: ai/x, name: chat}\n  b: {model: ai/y, name: chat}\n"
    text += "  c: {model: ai/z, name: demo/d}\n  d: ai/w\n"

    assert set(problems_of(text)) == {"models.b.name", "models.d.name"}


@pytest.mark.parametrize("name", ["with space", "/lead", "trail/", "a//b", "x" * 121, "é", ""])
def test_a_served_name_has_plain_letters(name):
    assert "models.llm.name" in problems_of(f"models: {{llm: {{model: ai/x, name: '{name}'}}}}")


@pytest.mark.parametrize("key", ["a b", "ä", "a/b", "x" * 64, ""])
def test_a_models_key_has_plain_letters(key):
    assert problems_of(f"models: {{'{key}': ai/x}}")
