"""`x-moorage: {update: …}`: how a revision takes over, and what a canary may not make worse."""

import pytest

from moorage import compose
from moorage.compose.spec import CanarySpec, UpdateSpec
from tests.compose.reading import model_of, problems_of, spec_of, with_extension

CANARY = "models.llm.x-moorage.update.canary"


def update_of(written: str) -> UpdateSpec:
    return model_of(with_extension(f"{{update: {written}}}")).update


@pytest.mark.parametrize(
    ("written", "update"),
    [
        ("{}", UpdateSpec()),
        ("{strategy: surge}", UpdateSpec()),
        ("{strategy: hold}", UpdateSpec(strategy="hold")),
        ("{strategy: recreate}", UpdateSpec(strategy="recreate")),
        ("{canary: }", UpdateSpec(canary=CanarySpec())),
        (
            "{canary: {weight: 25, for: 90s, errors: 0.5%, first_token: 2x, tokens: 0.75x}}",
            UpdateSpec(
                canary=CanarySpec(
                    weight=25,
                    for_seconds=90,
                    errors_hundredths=50,
                    first_token_hundredths=200,
                    tokens_hundredths=75,
                )
            ),
        ),
        ("{canary: {weight: 5%}}", UpdateSpec(canary=CanarySpec(weight=5))),
    ],
)
def test_an_update_has_a_strategy_and_perhaps_a_canary(written: str, update: UpdateSpec) -> None:
    assert update_of(written) == update


@pytest.mark.parametrize(
    ("written", "path", "sentence"),
    [
        (
            "{strategy: blue}",
            "models.llm.x-moorage.update.strategy",
            "There is no strategy 'blue'. Write surge, hold or recreate.",
        ),
        (
            "{strategy: hold, canary: {}}",
            CANARY,
            "A canary runs beside the revision that serves, and hold leaves it no room. Remove canary, or write"
            " strategy: surge.",
        ),
        ("{canary: {weight: 0}}", f"{CANARY}.weight", "This must be a whole number from 1 to 50, not '0'."),
        ("{canary: {errors: 2}}", f"{CANARY}.errors", "This must be a share such as 2%, from 0.01% to 100%."),
        (
            "{canary: {first_token: 1x}}",
            f"{CANARY}.first_token",
            "This must be a ratio such as 1.5x, from 1.05x to 100x.",
        ),
        ("{canary: {tokens: 80%}}", f"{CANARY}.tokens", "This must be a ratio such as 0.8x, from 0.01x to 0.95x."),
        ("{canary: {wait: 1}}", f"{CANARY}.wait", "There is no key 'wait' here."),
    ],
)
def test_a_mistake_is_one_sentence_at_its_place(written: str, path: str, sentence: str) -> None:
    problems = problems_of(with_extension(f"{{update: {written}}}"))

    assert list(problems) == [path]
    assert problems[path].startswith(sentence)


def test_an_update_survives_export_and_json() -> None:
    spec = spec_of(with_extension("{update: {canary: {weight: 20, errors: 0.25%, first_token: 1.25x}}}"))

    assert spec_of(spec.to_compose()) == spec
    assert compose.Spec.from_json(spec.to_json()) == spec


def test_the_default_changes_no_revision_of_old() -> None:
    plain, written = spec_of(with_extension("{}")), spec_of(with_extension("{update: {strategy: surge}}"))

    assert "update" not in plain.to_json()["models"][0]
    assert written.to_json() == plain.to_json()
