"""What a service has to be told to reach its models."""

import os
import subprocess

from moorage import compose
from moorage.compose import EnvVar
from tests.compose.reading import spec_of

URL = "https://gateway.example/v1/"


def told(services, models="{llm: ai/x, embedding-model: ai/y}"):
    spec = spec_of(f"name: demo\nmodels: {models}\nservices: {services}")
    found = compose.environment(spec, endpoint_url=URL, served_names=compose.served_names(spec, "demo"))
    return {service: {variable.name: variable.value for variable in variables} for service, variables in found.items()}


def test_url_model_and_the_older_alias_are_told():
    assert told("{app: {models: [llm]}, idle: {image: x}}") == {
        "app": {"LLM_URL": URL, "LLM_MODEL": "demo/llm", "LLM_ENDPOINT": URL}
    }


def test_hyphens_become_underscores():
    assert set(told("{app: {models: [embedding-model]}}")["app"]) == {
        "EMBEDDING_MODEL_URL",
        "EMBEDDING_MODEL_MODEL",
        "EMBEDDING_MODEL_ENDPOINT",
    }


def test_names_of_its_own_replace_the_defaults():
    found = told("{app: {models: {llm: {endpoint_var: AI_URL, model_var: AI_MODEL}}}}")["app"]

    assert found == {"AI_URL": URL, "AI_MODEL": "demo/llm", "LLM_ENDPOINT": URL}


def test_the_alias_gives_way_to_a_name_that_was_chosen():
    found = told("{app: {models: {llm: {model_var: LLM_ENDPOINT}}}}")["app"]

    assert found == {"LLM_URL": URL, "LLM_ENDPOINT": "demo/llm"}


def test_a_key_that_no_shell_reads_gets_no_alias():
    found = told("{app: {models: {a.b: {endpoint_var: U, model_var: M}}}}", models="{a.b: ai/x}")["app"]

    assert found == {"U": URL, "M": "demo/a.b"}


def test_the_served_name_is_told_where_one_is_given():
    assert told("{app: {models: [llm]}}", models="{llm: {model: ai/x, name: chat}}")["app"]["LLM_MODEL"] == "chat"


def test_one_binding_can_be_asked_about():
    binding = compose.Binding(service="app", model_key="llm", endpoint_var="LLM_URL", model_var="LLM_MODEL")

    found = compose.environment(binding, endpoint_url="https://gateway.example/v1", served_names={"llm": "n"})

    assert found["app"][0] == EnvVar(name="LLM_URL", value=URL)


def test_an_env_file_is_quoted_only_where_needed():
    variables = (EnvVar(name="A", value=URL), EnvVar(name="B", value="a b$c"), EnvVar(name="C", value="it's $5"))

    assert compose.as_env_file(variables) == f"A={URL}\nB='a b$c'\nC=\"it's \\$5\"\n"


def test_a_shell_reads_the_file_as_it_was_meant(tmp_path):
    values = ["plain", "two words", "it's", 'a "b" \\ `c` $HOME', "", "#x", "a;b"]
    file = tmp_path / "env"
    file.write_text(compose.as_env_file([EnvVar(name=f"V{i}", value=value) for i, value in enumerate(values)]))

    for index, value in enumerate(values):
        script = f'. "{file}"; printf %s "$V{index}"'
        assert (
            subprocess.run(
                ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.defpath}
            ).stdout
            == value
        )
