"""`x-moorage` in a model: scale, environment, labels."""

import pytest

from moorage import compose
from tests.compose.reading import model_of, problems_of, with_extension


@pytest.mark.parametrize(
    ("written", "scale"),
    [
        ("{}", (0, 1, 900)),
        ("{min: 1, max: 3}", (1, 3, 900)),
        ("{idle: 300}", (0, 1, 300)),
        ("{idle: 5m}", (0, 1, 300)),
        ("{idle: 1h}", (0, 1, 3600)),
        ("{idle: 1h30m5s}", (0, 1, 5405)),
        ("{idle: never}", (0, 1, None)),
        ("{min: 4}", (4, 4, 900)),
    ],
)
def test_scale_has_bounds_and_an_idle_time(written, scale):
    found = model_of(with_extension(f"{{scale: {written}}}")).scale

    assert (found.min, found.max, found.idle_seconds) == scale


@pytest.mark.parametrize(
    "written",
    [
        "{min: 2, max: 1}",
        "{max: 0}",
        "{max: 1e9}",
        "{min: -1}",
        "{max: 0x10}",
        "{max: .inf}",
        "{max: 1_0}",
        "{idle: 5x}",
        "{idle: -1}",
        "{idle: 0}",
        "{idle: 800000}",
        "{idle: [1]}",
        "{replicas: 2}",
        "3",
    ],
)
def test_other_scales_are_refused(written):
    assert all(
        path.startswith("models.llm.x-moorage.scale") for path in problems_of(with_extension(f"{{scale: {written}}}"))
    )


def test_an_unknown_key_of_ours_is_an_error():
    assert "Did you mean scale?" in problems_of(with_extension("{scales: {}}"))["models.llm.x-moorage.scales"]
    assert "x-moorage.models" in problems_of("x-moorage: {models: 1}\nmodels: {llm: ai/x}")
    assert "services.a.x-moorage" in problems_of("services: {a: {x-moorage: {}}}\nmodels: {llm: ai/x}")


def test_the_engines_environment_is_a_short_list():
    model = model_of(with_extension("{environment: {OMP_NUM_THREADS: 4, TZ: Europe/Berlin}}"))

    assert model.environment == (("OMP_NUM_THREADS", "4"), ("TZ", "Europe/Berlin"))
    assert (
        model_of(with_extension("{environment: [OMP_NUM_THREADS=4, TZ=Europe/Berlin]}")).environment
        == model.environment
    )


@pytest.mark.parametrize(
    "name",
    [
        "VLLM_SERVER_DEV_MODE",
        "LD_PRELOAD",
        "PYTHONPATH",
        "HF_TOKEN",
        "CUDA_VISIBLE_DEVICES",
        "NCCL_DEBUG",
        "LLAMA_ARG_HOST",
        "PATH",
    ],
)
def test_any_other_variable_is_refused_and_the_list_is_told(name):
    message = problems_of(with_extension(f"{{environment: {{{name}: 1}}}}"))[f"models.llm.x-moorage.environment.{name}"]

    assert "OMP_NUM_THREADS" in message


@pytest.mark.parametrize(
    "pair", ["TZ=../../etc/passwd", "TZ=/etc/passwd", "OMP_NUM_THREADS=1 2", "TOKENIZERS_PARALLELISM=yes"]
)
def test_values_of_allowed_variables_are_checked(pair):
    assert problems_of(with_extension(f"{{environment: ['{pair}']}}"))


def test_labels_are_the_organizations_own():
    assert model_of(with_extension("{labels: {team: blue, 'cost/centre': 12, on: off}}")).labels == (
        ("cost/centre", "12"),
        ("on", "off"),
        ("team", "blue"),
    )


@pytest.mark.parametrize("label", ["moorage.organization", "com.docker.compose.project", "Team", "a b", "-x", "x" * 64])
def test_labels_of_the_platform_are_refused(label):
    assert problems_of(with_extension(f"{{labels: {{'{label}': x}}}}"))


def test_keys_of_the_dialect_may_stand_under_x_moorage_but_not_twice():
    model = model_of(with_extension("{driver: vllm, gpus: 2, healthcheck: {retries: 2}}"))

    assert (model.driver, model.gpus, model.health) == ("vllm", 2, compose.HealthSpec(retries=2))
    assert "models.llm.x-moorage.driver" in problems_of(with_extension("{driver: vllm}") + "\n    driver: vllm")
