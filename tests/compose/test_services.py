"""Services: read for their models, never run."""

import pytest

from moorage import compose
from moorage.compose.service_keys import IGNORED, REFUSED
from tests.compose.reading import problems_of

FILE = "models: {{llm: ai/x}}\nservices:\n  app:\n    {}\n"


def test_what_a_service_needs_to_run_is_ignored_with_one_warning():
    parsed = compose.parse(FILE.format("{image: app, ports: ['80:80'], restart: always, models: [llm], x-a: 1}"))

    (warning,) = parsed.warnings
    assert warning.path == "services.app"
    assert "image, ports, restart and x-a" in warning.message
    assert "run this service with docker compose" in warning.message


@pytest.mark.parametrize("key", sorted(IGNORED))
def test_every_harmless_key_is_ignored(key):
    assert compose.parse(FILE.format(f"{{{key}: }}")).warnings


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_every_key_that_reaches_out_is_refused(key):
    assert list(problems_of(FILE.format(f"{{{key}: x}}"))) == [f"services.app.{key}"]


@pytest.mark.parametrize("volume", ["/:/host", "./data:/data", "~/x:/x", "../..:/x", "C:\\x:/x", "${PWD}:/x"])
def test_mounts_of_a_machine_are_refused(volume):
    assert "services.app.volumes[0]" in problems_of(FILE.format(f"{{volumes: ['{volume}']}}"))
    assert "services.app.volumes[0]" in problems_of(FILE.format("{volumes: [{type: bind, source: /}]}"))
    assert compose.parse(FILE.format("{volumes: ['named:/data']}"))


def test_a_model_that_is_not_declared_is_refused():
    problems = problems_of(FILE.format("{models: [llm, lmm, llm]}"))

    assert "Declared are llm." in problems["services.app.models[1]"]
    assert "twice" in problems["services.app.models[2]"]
    assert "services.app.models.lmm" in problems_of(FILE.format("{models: {lmm: }}"))


def test_variables_that_collide_or_that_no_shell_reads_are_refused():
    text = "models: {a-b: ai/x, a_b: ai/y, c.d: ai/z}\nservices: {app: {models: {}}}"

    assert (
        "already used for the model 'a-b'" in problems_of(text.replace("{}", "[a-b, a_b]"))["services.app.models.a_b"]
    )
    assert "A shell cannot read" in problems_of(text.replace("{}", "[c.d]"))['services.app.models["c.d"]']
    assert compose.parse(text.replace("{}", "{c.d: {endpoint_var: C_URL, model_var: C_MODEL}}"))


@pytest.mark.parametrize("name", ["1ST", "A B", "A=B", "", "A;x"])
def test_names_of_variables_are_checked(name):
    assert "services.app.models.llm" in problems_of(FILE.format(f"{{models: {{llm: {{endpoint_var: '{name}'}}}}}}"))


def test_other_providers_are_refused():
    for provider in ("{type: awesomecloud, options: {}}", "{options: {model: x}}", "model", "{type: model}"):
        assert any(
            path.startswith("services.app.provider") for path in problems_of(FILE.format(f"{{provider: {provider}}}"))
        )


def test_a_providers_options_are_read_like_a_model():
    options = "{model: hf.co/x/y, context-size: 1, runtime-flags: --host 0, speculative-draft-model: ai/y, colour: red}"
    problems = problems_of(f"services: {{ai: {{provider: {{type: model, options: {options}}}}}}}")

    under = "services.ai.provider.options."
    assert {f"{under}{key}" for key in ("model", "context-size", "speculative-draft-model", "colour")} < set(problems)
    assert any(path.startswith(f"{under}runtime-flags") for path in problems)
