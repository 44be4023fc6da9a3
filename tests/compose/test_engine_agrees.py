"""The allow-list against the engine itself: every flag that Moorage lets through is one that the engine takes."""

import subprocess

import pytest

from moorage.compose.flag_rules import LLAMACPP, FlagRule


def samples(rule: FlagRule) -> list[list[str]]:
    match rule.kind:
        case "switch":
            return [[]]
        case "choice":
            return [[choice] for choice in rule.choices]
        case "numbers":
            return [["3,1"]]
        case _:
            return [[str(rule.low)], [str(rule.high)]]


@pytest.mark.engine
def test_llama_server_takes_every_allowed_flag_at_its_bounds(llama_server):
    for rule in LLAMACPP.values():
        for name in (rule.name, *rule.aliases):
            for value in samples(rule):
                # --version ends the program after the arguments before it were understood.
                argv = [str(llama_server), name, *value, "--version"]

                tried = subprocess.run(argv, capture_output=True, text=True, timeout=60)

                assert tried.returncode == 0, (name, value, tried.stderr[-300:])
