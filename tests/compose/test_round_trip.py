"""Canonical forms: the same meaning gives the same JSON, and what is exported reads back."""

import json

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage import compose
from moorage.compose.flag_rules import LLAMACPP, VLLM
from moorage.compose.model_extension import ENVIRONMENT
from moorage.compose.spec import DAYS, ScheduleSpec
from tests.compose.reading import spec_of

FULL = """
name: demo
services:
  app: {image: app, models: {llm: {endpoint_var: AI_URL}, small: }}
models:
  small: catalog/tiny:q8_0
  llm:
    model: ai/smollm2-vllm
    name: chat/large
    driver: vllm
    gpus: [{count: 2}]
    context_size: 8192
    runtime_flags: ["-tp 2", "--dtype=auto", --enforce-eager]
    healthcheck: {interval: 1m, retries: 3}
    x-moorage:
      scale: {min: 1, max: 4, idle: never}
      environment: {TZ: Europe/Berlin, TOKENIZERS_PARALLELISM: "true"}
      labels: {price: 5$$, flag: on, number: 1e5, octal: 0o17, empty: '', quote: "it's \\"so\\"", accent: né}
"""


def test_two_ways_of_writing_one_meaning_give_one_document():
    other = spec_of("""
models:
  llm:
    x-moorage:
      labels: [number=1e5, octal=0o17, empty=, flag=on, 'price=5$$', 'quote=it''s "so"', accent=né]
      environment: [TOKENIZERS_PARALLELISM=true, TZ=Europe/Berlin]
      scale: {idle: never, max: 4, min: 1}
      driver: vllm
      gpus: 2
      healthcheck: {retries: "3", interval: 60}
    runtime_flags: [--enforce-eager, "--tensor-parallel-size", "02", --dtype auto]
    context_size: "8192"
    name: chat/large
    model: docker.io/ai/SmolLM2-vLLM:latest
  small: {model: catalog/tiny:q8_0}
x-moorage: {name: demo}
services:
  app: {models: {small: {model_var: SMALL_MODEL}, llm: {endpoint_var: AI_URL, model_var: LLM_MODEL}}}
""")

    assert json.dumps(other.to_json()) == json.dumps(spec_of(FULL).to_json())


def test_json_and_compose_give_the_spec_back():
    spec = spec_of(FULL)

    assert compose.Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec_of(spec.to_compose()) == spec


def test_what_is_exported_is_official_compose():
    document = yaml.safe_load(spec_of(FULL).to_compose())

    assert set(document) == {"name", "models", "services"}
    for model in document["models"].values():
        assert set(model) <= {"model", "name", "context_size", "runtime_flags", "x-moorage"}
        assert all(isinstance(item, str) for item in model.get("runtime_flags", ()))
        # An older reader takes labels for what they are, too.
        assert all(isinstance(value, str) for value in model["x-moorage"].get("labels", {}).values())
    assert all(service["image"] for service in document["services"].values())


def test_an_unset_field_is_left_out_of_the_document():
    document = spec_of("models: {llm: ai/x}").to_json()

    scale = {"min": 0, "max": 1, "idle_seconds": 900}
    assert document == {"models": [{"key": "llm", "reference": "ai/x:latest", "scale": scale}]}


KEYS = st.from_regex(r"[a-zA-Z0-9._-]{1,12}", fullmatch=True)
VALUES = {name: st.from_regex(pattern, fullmatch=True).filter(str.isascii) for name, pattern in ENVIRONMENT.items()}


@st.composite
def flags(draw, table):
    chosen = []
    for rule in draw(
        st.lists(
            st.sampled_from(sorted(table.values(), key=lambda rule: rule.name)),
            unique_by=lambda r: r.name.replace("--no-", "--"),
            max_size=5,
        )
    ):
        match rule.kind:
            case "switch":
                value = None
            case "choice":
                value = draw(st.sampled_from(rule.choices))
            case "numbers":
                value = "3,1"
            case "integer":
                value = str(draw(st.integers(int(rule.low), int(rule.high))))
            case "number":
                value = str(draw(st.sampled_from([rule.low, rule.high])))
        chosen.append(compose.Flag(name=rule.name, value=value))
    return tuple(sorted(chosen, key=lambda flag: flag.name))


@st.composite
def schedules(draw, most):
    begin, end = draw(st.lists(st.integers(0, 24 * 60 - 1), min_size=2, max_size=2, unique=True))
    return ScheduleSpec(
        days=tuple(day for day in DAYS if draw(st.booleans())) or DAYS,
        from_minute=begin,
        to_minute=end,
        timezone=draw(st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"])),
        min=draw(st.integers(1, most)),
    )


@st.composite
def specs(draw):
    keys = draw(st.lists(KEYS, min_size=1, max_size=3, unique=True))
    models = []
    for key in sorted(keys):
        driver = draw(st.sampled_from([None, "llamacpp", "vllm"]))
        least = draw(st.integers(0, 8))
        environment = draw(st.fixed_dictionaries({}, optional=VALUES))
        labels = draw(
            st.dictionaries(
                st.from_regex(r"[a-l]{1,5}", fullmatch=True),
                st.text("aé $'\"{}:#1e-@`,[]&*!|>%~\\", max_size=9),
                max_size=3,
            )
        )
        seconds = st.none() | st.integers(1, 3600)
        health = compose.HealthSpec(
            interval_seconds=draw(seconds), timeout_seconds=draw(seconds), retries=draw(st.none() | st.integers(1, 9))
        )
        models.append(
            compose.ModelSpec(
                key=key,
                reference=draw(st.sampled_from(["ai/x:latest", "catalog/tiny:1e5", "localhost:5000/a/b:0"])),
                name=draw(st.none() | st.just(f"served/{key}")),
                driver=driver,
                context_size=draw(st.none() | st.integers(128, 1_048_576)),
                flags=draw(flags(VLLM if driver == "vllm" else LLAMACPP)),
                gpus="all" if driver == "vllm" else draw(st.none() | st.just("all") | st.integers(0, 16)),
                health=health if health != compose.HealthSpec() else None,
                scale=compose.ScaleSpec(
                    min=least,
                    max=draw(st.integers(max(1, least), 64)),
                    idle_seconds=draw(seconds),
                    warm=draw(st.integers(0, max(1, least))),
                    target=draw(st.none() | st.integers(1, 4096)),
                    down_delay_seconds=draw(st.integers(0, 3600)),
                    schedule=tuple(draw(st.lists(schedules(max(1, least)), max_size=2))),
                ),
                environment=tuple(sorted(environment.items())),
                labels=tuple(sorted(labels.items())),
            )
        )
    bindings = [
        compose.Binding(service="on", model_key=key, endpoint_var=f"URL_{index}", model_var=f"MODEL_{index}")
        for index, key in enumerate(sorted(keys))
    ]
    name = draw(st.none() | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True))
    return compose.Spec(name=name, models=tuple(models), bindings=tuple(bindings))


@settings(max_examples=120, deadline=None)
@given(specs())
def test_every_spec_survives_export(spec):
    assert compose.parse(spec.to_compose()).spec == spec
    assert compose.Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
