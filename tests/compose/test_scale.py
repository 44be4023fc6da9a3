"""`scale` of a model: every key, every mistake with its sentence, its line and its column."""

import json

import pytest

from moorage import compose
from moorage.compose.spec import DAYS, ScaleSpec, ScheduleSpec
from tests.compose.reading import model_of, problems_of, spec_of, with_extension


def scale_of(body: str) -> ScaleSpec:
    return model_of(with_extension(f"{{scale: {body}}}")).scale


FULL = """
models:
  llm:
    model: ai/smollm2
    x-moorage:
      scale:
        min: 1
        max: 6
        idle: 10m
        warm: 1
        target: 12
        down_delay: 2m
        schedule:
          - {days: mon-fri, from: "08:00", to: "18:30", timezone: Europe/Berlin, min: 3}
          - {days: [sat, Sunday], from: "22:00", to: "02:00", min: 2}
"""


def test_everything_is_read() -> None:
    assert spec_of(FULL).models[0].scale == ScaleSpec(
        min=1,
        max=6,
        idle_seconds=600,
        warm=1,
        target=12,
        down_delay_seconds=120,
        schedule=(
            ScheduleSpec(days=DAYS[:5], from_minute=480, to_minute=1110, timezone="Europe/Berlin", min=3),
            ScheduleSpec(days=("sat", "sun"), from_minute=1320, to_minute=120, timezone="UTC", min=2),
        ),
    )


def test_json_and_compose_give_it_back() -> None:
    spec = spec_of(FULL)

    assert compose.Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec_of(spec.to_compose()) == spec


def test_what_is_not_asked_for_is_not_in_the_document() -> None:
    document = spec_of(with_extension("{scale: {min: 1}}")).to_json()

    assert document["models"][0]["scale"] == {"min": 1, "max": 1, "idle_seconds": 900}


@pytest.mark.parametrize(
    ("written", "most"),
    [
        ("{warm: 2}", 3),
        ("{min: 2, warm: 1}", 2),
        ("{schedule: {from: '08:00', to: '09:00', min: 5}}", 5),
        ("{warm: 2, max: 9}", 9),
    ],
)
def test_max_is_as_much_as_the_others_ask_for(written: str, most: int) -> None:
    assert scale_of(written).max == most


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("daily", DAYS),
        ("weekdays", DAYS[:5]),
        ("weekend", DAYS[5:]),
        ("fri-mon", ("mon", "fri", "sat", "sun")),
        ("'tue, thu-fri'", ("tue", "thu", "fri")),
        ("[Monday, wed]", ("mon", "wed")),
    ],
)
def test_days_have_many_spellings(written: str, days: tuple[str, ...]) -> None:
    scale = scale_of(f"{{schedule: [{{days: {written}, from: '08:00', to: '09:00', min: 1}}]}}")

    assert scale.schedule[0].days == days


@pytest.mark.parametrize(
    ("written", "path", "sentence"),
    [
        ("{max: 1, warm: 2}", "max", "max is below warm (2). Raise max or lower warm."),
        ("{max: 1, min: 2}", "max", "max is below min (2). Raise max or lower min."),
        (
            "{max: 1, schedule: [{from: '08:00', to: '09:00', min: 2}]}",
            "max",
            "max is below a schedule's min (2). Raise max or lower a schedule's min.",
        ),
        ("{warm: -1}", "warm", "This must be a whole number from 0 to 64, not '-1'."),
        ("{target: 0}", "target", "This must be a whole number from 1 to 4096, not '0'."),
        (
            "{down_delay: 2h}",
            "down_delay",
            "This must be seconds or a duration such as 45s, 5m or 1h30m, from 0 to 3600 seconds.",
        ),
        ("{cooldown: 60}", "cooldown", "Write down_delay instead of cooldown."),
        ("{schedule: 5}", "schedule", "This must be a list. Start each item with a dash."),
        ("{schedule: [{from: '08:00', to: '09:00'}]}", "schedule[0]", "A schedule needs from, to and min. Add min."),
        (
            "{schedule: [{days: someday, from: '08:00', to: '09:00', min: 1}]}",
            "schedule[0].days",
            "'someday' are no days. Write daily, weekdays, weekend, or days such as mon-fri or [sat, sun].",
        ),
        (
            "{schedule: [{from: '8:00', to: '09:00', min: 1}]}",
            "schedule[0].from",
            'This must be a time of day in quotes from "00:00" to "23:59", such as "08:30".',
        ),
        (
            "{schedule: [{from: '08:00', to: '24:01', min: 1}]}",
            "schedule[0].to",
            'This must be a time of day in quotes from "00:00" to "24:00", such as "08:30".',
        ),
        (
            "{schedule: [{from: '08:00', to: '08:00', min: 1}]}",
            "schedule[0].to",
            'from and to are the same. Write from: "00:00" and to: "24:00" for the whole day.',
        ),
        (
            "{schedule: [{from: '08:00', to: '09:00', timezone: Mars/Base, min: 1}]}",
            "schedule[0].timezone",
            "There is no time zone 'Mars/Base'. Write one such as Europe/Berlin or UTC.",
        ),
        (
            "{schedule: [{from: '08:00', to: '09:00', timezone: ../../etc/passwd, min: 1}]}",
            "schedule[0].timezone",
            "There is no time zone '../../etc/passwd'. Write one such as Europe/Berlin or UTC.",
        ),
        (
            "{schedule: [{cron: '0 8 * * *', from: '08:00', to: '09:00', min: 1}]}",
            "schedule[0].cron",
            "There are no cron expressions here. Write days, from and to.",
        ),
        (
            "{schedule: [{from: '08:00', to: '09:00', min: 0}]}",
            "schedule[0].min",
            "This must be a whole number from 1 to 64, not '0'.",
        ),
    ],
)
def test_each_mistake_has_a_sentence(written: str, path: str, sentence: str) -> None:
    found = problems_of(with_extension(f"{{scale: {written}}}"))

    assert found == {f"models.llm.x-moorage.scale.{path}": sentence}


def test_a_mistake_is_where_it_is_written() -> None:
    with pytest.raises(compose.SpecInvalid) as caught:
        compose.parse(FULL.replace('"18:30"', "half past six"))

    (problem,) = [one for one in caught.value.problems if one.severity == "error"]
    assert (problem.line, problem.path) == (14, "models.llm.x-moorage.scale.schedule[0].to")
    assert problem.column is not None and problem.column > 40
