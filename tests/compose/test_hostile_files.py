"""Files that mean harm: refused, quickly, with one clear sentence."""

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage import compose
from tests.compose.reading import problems_of, spec_of

K64 = 64 * 1024
LETTERS = "abcdefghij"


def alias_bomb():
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in itertools.pairwise(LETTERS):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


def merge_bomb():
    return "m0: &m0 {k: 1}\n" + "\n".join(f"m{i}: &m{i} {{<<: *m{i - 1}, k{i}: 1}}" for i in range(1, 300))


HOSTILE = {
    "alias bomb": (alias_bomb(), "more than 5000 values"),
    "merge bomb": (merge_bomb(), "more than 5000 values"),
    "too many aliases": ("a: &a x\nb: [" + "*a," * 101 + "]", "more than 100 aliases"),
    "itself": ("a: &a [*a]", "contains itself"),
    "itself merged": ("a: &a {<<: *a}", "contains itself"),
    "no such anchor": ("a: *b", "no anchor"),
    "deep flow": ("[" * 20_000, "deeper than 20"),
    "deep flow mappings": ("{" * 60_000, "deeper than 20"),
    "deep flow in quotes": ('["a":' * 5_000, "deeper than 20"),
    "deep block": ("\n".join(" " * i + "a:" for i in range(300)), "deeper than 20"),
    "deep dashes": ("- " * 500 + "x", "deeper than 20"),
    "deep question marks": ("? " * 500 + "x", "deeper than 20"),
    "deep through aliases": ("a: &a [[[[[[[[[1]]]]]]]]]\nb: &b [[[[[[[[[*a]]]]]]]]]\nc: [[[*b]]]", "deeper than 20"),
    "wide": ("[" + "a," * 30_000 + "]", "more than 5000 values"),
    "many keys": ("".join(f"k{i}: v\n" for i in range(6_000)), "more than 5000 values"),
    "tags": ("- !a a\n" * 9_000, "The tag '!a' is not accepted"),
    "too long": ("#" * (K64 + 1), "longer than 64 KiB"),
    "too long in bytes": ("é" * (K64 // 2 + 1), "longer than 64 KiB"),
    "python": ("a: !!python/object/apply:os.system [id]", "is not accepted"),
    "binary": ("a: !!binary aGk=", "is not accepted"),
    "set": ("a: !!set {b: }", "is not accepted"),
    "reset": ("models: !reset {}", "one file only"),
    "override": ("models: !override {a: ai/x}", "one file only"),
    "tag directive": ("%TAG ! tag:x,2000:\n---\na: 1", "%TAG"),
    "two documents": ("models: {llm: ai/x}\n---\nmodels: {llm: ai/y}", "more than one YAML document"),
    "nul": ("models: {llm: 'a\0b'}", "U+0000"),
    "escaped nul": ('models: {llm: "a\\0b"}', "U+0000"),
    "bidi": ("models: {llm: a\u202eb}", "U+202E"),
    "escaped bidi": ('models: {llm: "a\\u202eb"}', "U+202E"),
    "escaped surrogate": ('models: {llm: "a\\ud800"}', "U+D800"),
    "huge escape": ('a: "\\UFFFFFFFF"', "not valid YAML"),
    "huge version": ("%YAML 1." + "9" * 5_000 + "\n---\na: 1", "not valid YAML"),
    "surrogate": ("a: \ud800", "U+D800"),
    "next line": ("a: 1\x85b: 2", "U+0085"),
    "bom": ("\ufeffmodels: {llm: ai/x}", "byte order mark"),
    "tab": ("models:\n\tllm: ai/x", "spaces"),
    "list": ("- a", "mapping"),
    "text": ("hello", "mapping"),
    "empty": ("", "empty"),
    "comment": ("# nothing", "empty"),
    "null key": ("~: 1", "not text"),
    "number key": ("1: 1", "not text"),
    "true key": ("true: 1", "not text"),
    "list key": ("[a]: 1", "not text"),
    "duplicate": ("models: {llm: ai/x}\nmodels: {llm: ai/y}", "already given in line 1"),
    "proto": ("__proto__: {}\nmodels: {llm: ai/x}", "no key '__proto__'"),
    "constructor": ("constructor: {}\nmodels: {llm: ai/x}", "no key 'constructor'"),
    "merge of text": ("models: {llm: {<<: x, model: ai/x}}", "merges a mapping"),
    "two merges": ("a: &a {}\nmodels: {llm: {<<: *a, <<: *a, model: ai/x}}", "two <<"),
    "many flags": ("models:\n a:\n  model: x\n  runtime_flags:\n" + "   - --seed 1\n" * 4_000, "more than 64 flags"),
    "many unknown keys": ("services:\n s:\n" + "".join(f"  imag{i}: 1\n" for i in range(2_400)), "Did you mean image?"),
}


#: A file of the longest length that has nothing against it but its many models.
HONEST = "models:\n" + "".join(f" m{number}:\n  model: x/y:{number}\n" for number in range(2_500))


def seconds_of(text: str) -> float:
    started = time.process_time()
    problems_of(text)
    return time.process_time() - started


def is_quick(text: str) -> bool:
    """A trap costs a multiple of what an honest file of the longest length does, on whatever machine this is."""
    spent = seconds_of(text)
    return spent < 0.05 or spent < 5 * seconds_of(HONEST)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_at_once(name):
    text, reason = HOSTILE[name]

    problems = problems_of(text)

    assert any(reason in message for message in problems.values()), problems
    # What a neighbour on the machine takes away once, a trap takes every time.
    assert any(is_quick(text) for _ in range(3))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("models: {}".encode("utf-16"), "UTF-16"),
        (b"a: \xff", "not UTF-8"),
        (b"\xef\xbb\xbfa: 1", "byte order mark"),
        (b"a" * (K64 + 1), "64 KiB"),
    ],
)
def test_other_encodings_are_refused(octets, reason):
    assert reason in problems_of(octets)[""]


def test_bytes_are_read_like_text():
    assert compose.parse(b"models: {llm: ai/x}").spec == spec_of("models: {llm: ai/x}")


def test_scalars_are_those_of_yaml_1_2():
    labels = "{a: on, b: yes, c: 22:22, d: 0o17, e: 2001-01-01, f: 1_000, g: 010}"
    (model,) = spec_of(f"models: {{llm: {{model: ai/x, x-moorage: {{labels: {labels}}}}}}}").models

    assert dict(model.labels) == {
        "a": "on",
        "b": "yes",
        "c": "22:22",
        "d": "0o17",
        "e": "2001-01-01",
        "f": "1_000",
        "g": "010",
    }


def test_core_tags_are_allowed():
    (model,) = spec_of(
        'models: !!map {llm: {model: !!str ai/x, context_size: !!int 4096, runtime_flags: !!seq ["--seed 1"]}}'
    ).models

    assert (model.reference, model.context_size) == ("ai/x:latest", 4096)
    assert problems_of("models: {llm: {model: ai/x, context_size: !!int x}}")


def test_a_file_full_of_mistakes_gets_a_readable_answer():
    with pytest.raises(compose.SpecInvalid) as caught:
        compose.parse(
            "models:\n"
            + "".join(f"  m{i}: {{modle: x}}\n" for i in range(30))
            + "".join(f"k{i}: 1\n" for i in range(100))
        )

    assert len(caught.value.problems) == 101
    assert "more problems" in caught.value.problems[-1].message


WORDS = [
    "models",
    "services",
    "llm",
    "model",
    "ai/x",
    "name",
    "runtime_flags",
    "--seed 1",
    "context_size",
    "4096",
    "x-moorage",
    "scale",
    "provider",
    "type",
    "options",
    "${A}",
    "${A:-b}",
    "$$",
    "<<",
    "&a",
    "*a",
    "!!str",
    "!x",
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    '"',
    "|",
    ">",
    "#",
    "%YAML 1.2\n",
    "---",
    "...",
    "?",
    "\\",
    "\\u0000",
    "\t",
    "\x00",
    "\u202e",
    "~",
    "true",
    "1e9",
]
NODES = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**6) | st.sampled_from(WORDS) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def only_spec_invalid(text):
    try:
        parsed = compose.parse(text, variables={"A": "x"})
    except compose.SpecInvalid as error:
        assert any(problem.severity == "error" for problem in error.problems)
        assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in error.problems)
    else:
        assert compose.Spec.from_json(parsed.spec.to_json()) == parsed.spec


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200) | st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
def test_no_text_gives_anything_but_a_spec_or_spec_invalid(text):
    only_spec_invalid(text)


@settings(max_examples=300, deadline=None)
@given(
    models=NODES,
    services=NODES,
    field=st.sampled_from(["model", "gpus", "driver", "healthcheck", "runtime_flags", "x-moorage", "name"]),
    value=NODES,
)
def test_no_structure_gives_anything_but_a_spec_or_spec_invalid(models, services, field, value):
    model = {"model": "ai/x", field: value}
    for document in ({"models": models, "services": services}, {"models": {"llm": model}, "services": services}):
        only_spec_invalid(json.dumps(document))
