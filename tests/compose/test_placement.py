"""`x-moorage` in a model: a share of a GPU, a priority, labels of its node."""

import pytest

from moorage import compose
from tests.compose.reading import model_of, problems_of, spec_of, with_extension

GIB = 1024**3
PATH = "models.llm.x-moorage"


@pytest.mark.parametrize(
    ("written", "size"),
    [("20g", 20 * GIB), ("512m", GIB // 2), ("1.5g", GIB * 3 // 2), ("24GiB", 24 * GIB), ("1t", 1024 * GIB)],
)
def test_a_share_of_one_gpu_is_a_size(written: str, size: int) -> None:
    model = model_of(with_extension(f"{{gpu_memory: {written}}}"))

    assert model.placement.gpu_memory_bytes == size
    assert model.gpus is None


def test_a_share_is_of_one_gpu_whether_that_is_said_or_not() -> None:
    said = spec_of(with_extension("{gpus: 1, gpu_memory: 20g}"))

    assert said == spec_of(with_extension("{gpu_memory: 20480m}"))


@pytest.mark.parametrize("written", ["much", "-1g", "0", "1m", "2t", "[20g]", "''", "1e9", "0x10"])
def test_a_share_that_is_no_size_is_refused(written: str) -> None:
    problems = problems_of(with_extension(f"{{gpu_memory: {written}}}"))

    assert problems == {f"{PATH}.gpu_memory": "This must be a size such as 20g or 512m, from 256m to 1t."}


@pytest.mark.parametrize("gpus", ["2", "all", "0"])
def test_a_share_and_several_gpus_exclude_each_other(gpus: str) -> None:
    problems = problems_of(with_extension(f"{{gpus: {gpus}, gpu_memory: 20g}}"))

    assert list(problems) == [f"{PATH}.gpu_memory"]
    assert f"gpu_memory is a share of one GPU, and gpus says {gpus}." in problems[f"{PATH}.gpu_memory"]


def test_flags_that_spread_a_model_do_not_go_with_a_share() -> None:
    text = "models: {llm: {model: ai/x, driver: vllm, runtime_flags: [-tp 2], x-moorage: {gpu_memory: 20g}}}"

    assert problems_of(text) == {
        "models.llm.runtime_flags": "These flags spread the model over 2 GPUs, but gpus says 1. Make them agree."
    }


@pytest.mark.parametrize("priority", ["low", "normal", "high"])
def test_a_priority_is_one_of_three(priority: str) -> None:
    assert model_of(with_extension(f"{{priority: {priority}}}")).placement.priority == priority


def test_another_priority_is_refused() -> None:
    assert problems_of(with_extension("{priority: urgent}")) == {
        f"{PATH}.priority": "There is no priority 'urgent'. Write low, normal or high."
    }


def test_a_node_is_asked_for_by_its_labels() -> None:
    model = model_of(with_extension("{node: {labels: {zone: a, gpu: H200}}}"))

    assert model.placement.node_labels == (("gpu", "H200"), ("zone", "a"))
    assert problems_of(with_extension("{node: {name: gpu-1}}")) == {
        f"{PATH}.node.name": "Moorage chooses the node. Ask for what it must have with labels."
    }
    assert list(problems_of(with_extension("{node: {labels: {'no such': a}}}"))) == [f'{PATH}.node.labels["no such"]']


@pytest.mark.parametrize("key", ["gpu_memory", "priority", "node"])
def test_a_key_in_the_wrong_place_is_told_where_it_belongs(key: str) -> None:
    problems = problems_of(f"models: {{llm: {{model: ai/x, {key}: {{}}}}}}")

    assert problems == {f"models.llm.{key}": f"There is no key '{key}' in a model. Write it under x-moorage."}


def test_a_place_survives_export_and_storage() -> None:
    spec = spec_of(with_extension("{gpu_memory: 1.5g, priority: high, node: {labels: {zone: a}}}"))

    assert compose.parse(spec.to_compose()).spec == spec
    assert compose.Spec.from_json(spec.to_json()) == spec


def test_a_file_that_says_nothing_of_its_place_keeps_its_old_document() -> None:
    assert "placement" not in spec_of(with_extension("{}")).to_json()["models"][0]
