"""Variables: Compose's rules, and only what was sent along."""

import pytest

from moorage import compose
from moorage.compose.interpolation import MAX_VALUE
from tests.compose.reading import model_of, problems_of

SENT = {"SET": "x", "EMPTY": "", "NUM": "4096"}


def filled(template):
    """What a served name becomes."""
    return model_of(f"models: {{llm: {{model: ai/x, name: 'n{template}'}}}}", variables=SENT).name


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("$SET", "x"),
        ("${SET}", "x"),
        ("${SET}y$SET", "xyx"),
        ("$EMPTY", ""),
        ("$UNSET", ""),
        ("${SET:-d}", "x"),
        ("${EMPTY:-d}", "d"),
        ("${UNSET:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${UNSET-d}", "d"),
        ("${UNSET:-}", ""),
        ("${SET:+r}", "r"),
        ("${EMPTY:+r}", ""),
        ("${EMPTY+r}", "r"),
        ("${UNSET+r}", ""),
        ("${SET:?e}", "x"),
        ("${EMPTY?e}", ""),
        ("${UNSET:-${EMPTY:-${SET}}}", "x"),
        ("${UNSET:-a${SET}b}", "axb"),
        ("${SET:-${UNSET:?never demanded}}", "x"),
        ("${UNSET+${UNSET:?never demanded}}", ""),
        ("${UNSET:-a-b.c}", "a-b.c"),
    ],
)
def test_the_forms_of_compose(template, value):
    assert filled(template) == f"n{value}"


@pytest.mark.parametrize("template", ["${UNSET:?say it}", "${EMPTY:?say it}", "${UNSET?say it}"])
def test_a_demanded_variable_says_its_message(template):
    assert (
        "say it"
        in problems_of(f"models: {{llm: {{model: ai/x, name: 'n{template}'}}}}", variables=SENT)["models.llm.name"]
    )


@pytest.mark.parametrize(
    "template", ["$", "a$ b", "${", "${}", "${SET", "${SET:}", "${SET!x}", "${1}", "$5", "${UNSET:-${SET}"]
)
def test_a_broken_template_is_an_error(template):
    problems = problems_of(f"models: {{llm: {{model: ai/x, name: 'n{template}'}}}}", variables=SENT)

    assert "models.llm.name" in problems


def test_two_dollars_are_one():
    model = model_of("models: {llm: {model: ai/x, x-moorage: {labels: {price: 5$$, raw: '$${SET}'}}}}", variables=SENT)

    assert dict(model.labels) == {"price": "5$", "raw": "${SET}"}


def test_the_process_environment_is_never_read(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "leaked")
    parsed = compose.parse("models: {llm: {model: ai/x, name: 'n${SECRET_KEY}'}}")

    assert parsed.spec.models[0].name == "n"
    assert "SECRET_KEY was not sent along" in parsed.warnings[0].message


def test_keys_and_ignored_parts_are_left_alone():
    parsed = compose.parse(
        "models: {llm: ai/x}\nservices: {app: {image: $IMAGE, command: 'echo $5 ${'}}", variables=SENT
    )

    assert [warning.path for warning in parsed.warnings] == ["services.app"]
    assert problems_of("models: {$SET: ai/x}", variables=SENT)


def test_a_filled_value_is_not_filled_again_and_is_still_checked():
    text = "models: {llm: {model: ai/x, runtime_flags: ['$FLAGS']}}"

    assert model_of(text, variables={"FLAGS": "--seed 1 --temp 1"}).flags
    assert problems_of(text, variables={"FLAGS": "--host x"})
    assert problems_of("models: {llm: {model: $A}}", variables={"A": "$B", "B": "ai/x"})


def test_a_number_may_come_from_a_variable():
    assert (
        model_of("models: {llm: {model: ai/x, context_size: $NUM, gpus: '${G:-2}'}}", variables=SENT).context_size
        == 4096
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"a b": "x"},
        {"": "x"},
        {"A": "\0"},
        {"A": "\u202e"},
        {"A": "x" * (MAX_VALUE + 1)},
        {f"V{i}": "" for i in range(201)},
    ],
)
def test_variables_are_bounded(variables):
    assert all(path.startswith("variables") for path in problems_of("models: {llm: ai/x}", variables=variables))


def test_variables_cannot_make_a_file_huge():
    problems = problems_of('models: {llm: {model: "' + "$V" * 30_000 + '"}}', variables={"V": "x" * MAX_VALUE})

    assert "64 KiB" in problems["models.llm.model"]
