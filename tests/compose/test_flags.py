"""Engine flags: default deny, typed, bounded, one spelling."""

import pytest

from moorage import compose
from moorage.compose import flags
from moorage.compose.flag_rules import DROPPED, LLAMACPP, OWNED, VLLM
from tests.compose.reading import flags_of, problems_of, with_flags


@pytest.mark.parametrize(
    "items", [("--max-num-seqs 8",), ("--max-num-seqs=8",), ("--max-num-seqs", "8"), ("  --max-num-seqs   '08' ",)]
)
def test_three_ways_of_writing_mean_one_flag(items):
    assert flags_of(*items) == {"--max-num-seqs": "8"}


def test_flags_come_in_long_form_and_sorted():
    assert list(flags_of("-np 4 -fa on", "-ub=512", "--temp .70", driver="llamacpp").items()) == [
        ("--flash-attn", "on"),
        ("--parallel", "4"),
        ("--temp", "0.7"),
        ("--ubatch-size", "512"),
    ]


def test_negative_numbers_are_values():
    assert flags_of("--presence-penalty", "-1.5", "--reasoning-budget -1") == {
        "--presence-penalty": "-1.5",
        "--reasoning-budget": "-1",
    }


@pytest.mark.parametrize(
    ("item", "advice"),
    [
        ("--trust-remote-code", "runs code"),
        ("--host=0.0.0.0", "one private door"),
        ("--port 80", "one private door"),
        ("--api-key x", "one private door"),
        ("--max-model-len 4096", "Use context_size"),
        ("-c 4096", "Use context_size"),
        ("--served-model-name x", "Use name"),
        ("--served-model-name=$(id)", "Use name"),
        ("--sleep-idle-seconds 3", "Use x-moorage.scale"),
        ("--enable-sleep-mode", "Use x-moorage.scale"),
        ("--chat-template x", "artifact"),
        ("--hf-repo x", "artifact"),
        ("--lora-scaled x", "artifact"),
        ("--slots", "serve the gateway only"),
        ("--mlock", "memory"),
        ("--verbose", "must not reach logs"),
        ("--no-mmap", "--load-mode none"),
        ("--max_num_seqs 8", "--max-num-seqs"),
        ("--trust_remote_code", "runs code"),
        ("--max-num-se 8", "in full"),
        ("-tp2", "apart"),
        ("--no-enforce-eager", "negation"),
        ("--compilation-config.level 3", "not among the flags"),
        ("--rm -rf", "not among the flags"),
        ("-- x", "not among the flags"),
        ("--grammar-file x", "artifact"),
        ("stray", "belongs to no flag"),
        ("--seed 1; rm", "takes a whole number"),
        ("--seed", "needs a value"),
        ("--seed --jinja", "needs a value"),
        ("--seed=--jinja", "begins with a hyphen"),
        ("--jinja=true", "takes no value"),
        ("--jinja true", "takes no value"),
        ("--seed 1e9", "a whole number"),
        ("--parallel 65", "from 1 to 64"),
        ("--parallel 0", "from 1 to 64"),
        ("--gpu-memory-utilization 0.99", "from 0.1 to 0.95"),
        ("--gpu-memory-utilization nan", "from 0.1 to 0.95"),
        ("--dtype int4", "one of auto"),
        ("--tensor-split 1,a", "numbers with commas"),
        ("--tool-call-parser ../x", "cannot name files"),
        ("--seed a\\b", "cannot name files"),
        ("‐‐seed 1", "plain ASCII"),
        ("--seed １", "plain ASCII"),
        ("--seed '1", "quote that is not closed"),
        (" ", "empty"),
        ("--seed " + "1" * 600, "longer than 512"),
    ],
)
def test_everything_else_is_refused_with_advice(item, advice):
    messages = problems_of(with_flags(item))

    assert all(path.startswith("models.llm.runtime_flags") for path in messages)
    assert any(advice in message for message in messages.values()), messages


@pytest.mark.parametrize("items", [("--seed 1", "--seed 1"), ("-np 1", "--parallel 1"), ("--jinja", "--no-jinja")])
def test_duplicates_and_contradictions_are_refused(items):
    assert "Keep one" in problems_of(with_flags(*items))["models.llm.runtime_flags[1]"]


def test_a_line_break_ends_nothing():
    assert (
        "line break"
        in problems_of('models: {llm: {model: x, runtime_flags: ["--seed 1\\n--host x"]}}')[
            "models.llm.runtime_flags[0]"
        ]
    )


def test_flags_are_checked_against_the_driver():
    message = problems_of(with_flags("--parallel 4", driver="vllm"))["models.llm.runtime_flags[0]"]

    assert "not a flag of vLLM" in message
    assert flags_of("--seed -1", driver="llamacpp") == {"--seed": "-1"}
    assert problems_of(with_flags("--seed -1", driver="vllm"))


def test_without_a_driver_one_engine_must_know_them_all():
    assert flags_of("--seed 1", "--parallel 2")
    assert (
        "suit no one engine" in problems_of(with_flags("--parallel 2", "--max-num-seqs 2"))["models.llm.runtime_flags"]
    )


def test_too_many_flags_are_refused():
    assert problems_of(with_flags(*["--seed 1"] * 65)) == {
        "models.llm.runtime_flags": "There are more than 64 flags. Keep those you need."
    }


def test_the_same_check_serves_when_the_engine_is_known():
    chosen = (compose.Flag(name="--parallel", value="4"), compose.Flag(name="--jinja"))

    assert flags.check("llamacpp", chosen) == ()
    assert [problem.suffix for problem in flags.check("vllm", chosen)] == ["[--parallel]", "[--jinja]"]
    assert flags.check("llamacpp", (compose.Flag(name="--model", value="x"),))
    assert flags.check("llamacpp", chosen + chosen)
    assert flags.arguments(chosen) == ("--parallel", "4", "--jinja")


def test_the_tables_agree_with_each_other():
    for table in (LLAMACPP, VLLM):
        spellings = [name for rule in table.values() for name in (rule.name, *rule.aliases)]
        assert len(spellings) == len(set(spellings))
        assert not set(spellings) & (set(OWNED) | set(DROPPED))
        assert all(rule.meaning for rule in table.values())
        assert all(rule.kind != "choice" or rule.choices for rule in table.values())
        assert all(rule.low < rule.high for rule in table.values() if rule.kind in ("integer", "number"))
    for name in LLAMACPP.keys() & VLLM.keys():
        assert LLAMACPP[name].takes_value == VLLM[name].takes_value
