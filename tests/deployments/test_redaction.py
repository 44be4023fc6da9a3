"""Nothing that a runner prints shows a secret, a prompt, or steers a terminal."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moorage.deployments.redaction import LINE_MOST, MASK, Redactor, quieted, redact, secrets_of
from moorage.kernel import secrets as api_keys

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7bq\nq0tW3x\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        (f"denied for key {api_keys.new_key().text} today", None),
        ("Authorization: Bearer abc.def-ghi_123456", "abc.def"),
        ("authorization=Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
        ('{"Authorization": "Custom s3cr3t-value"}', "s3cr3t-value"),
        ("pulling https://harbour:hunter2@ghcr.io/v2/", "hunter2"),
        ("redis://:p%40ss@127.0.0.1:6379/0", "p%40ss"),
        ("GET /v2/?token=aGVsbG8&x=1", "aGVsbG8"),
        ("https://s3/x?X-Amz-Signature=0011aabb&Expires=3", "0011aabb"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuv", "abcdefghijklmn"),
        ("api_key: 'qwertz123'", "qwertz123"),
        ("db password=sesame next", "sesame"),
        ("sk-proj-abcdefghijklmnop1234 was used", "abcdefghijkl"),
        ("ghp_abcdefghijklmnop1234567890 was used", "abcdefghijkl"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("cookie eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "eyJzdWIi"),
        ("Set-Cookie: sid=12; Path=/", "sid=12"),
    ],
)
def test_secrets_are_known_by_their_shape(line: str, hidden: str | None) -> None:
    shown = redact(line)

    assert MASK in shown
    assert (hidden or line.split()[3]) not in shown


@pytest.mark.parametrize(
    "line",
    [
        "srv  load_model: loading model '/models/model.gguf'",
        "print_info: BOS token        = 1 '<s>'",
        "prompt eval time =   12.32 ms /  8 tokens (1.54 ms per token,  649.35 tokens per second)",
        "INFO 11-22 engine.py:12] Maximum concurrency for 4,096 tokens per request: 12.00x",
        "error: invalid argument: --no-such-flag",
        "listening on /run/moorage/engine.sock",
        "slot get_availabl: id  0 | task -1 | selected slot by LRU, t_last = -1",
        "see https://github.com/ggml-org/llama.cpp/pull/16391",
    ],
)
def test_what_engines_say_every_day_stays_as_it_is(line: str) -> None:
    assert redact(line) == line


def test_values_of_a_tenants_variables_are_masked_in_every_encoding() -> None:
    value = 's3a+gull/nest"quote é'
    secrets = secrets_of({"NEST": value})

    for form in (value, json.dumps(value), quote(value, safe=""), base64.b64encode(value.encode()).decode()):
        assert MASK in redact(f"seen {form} here", secrets)
        assert "gull" not in redact(f"seen {form} here", secrets)


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("NEST", "harbour-gull", True),
        ("LOG_LEVEL", "debug", False),
        ("THREADS", "1024", False),
        ("PIN_TOKEN", "1024", True),
        ("PASSWORD", "true", True),
        ("RATIO", "0.85", False),
        ("PASSWORD", "abc", False),  # would mask half of every text
    ],
)
def test_which_values_are_secrets(name: str, value: str, is_secret: bool) -> None:
    assert bool(secrets_of({name: value})) is is_secret


def test_values_that_overlap_leave_no_end_behind() -> None:
    assert redact("x abcdefgh y", ["abcdef", "defgh"]) == f"x {MASK} y"


def test_a_pem_block_is_masked_over_its_lines_and_not_beyond() -> None:
    shown = redact(f"key follows {PEM} and on\nnext line")

    assert "MIIE" not in shown and "q0tW3x" not in shown
    assert shown.splitlines()[-1] == "next line"
    assert shown.splitlines()[-2].endswith("and on")


def test_a_secret_that_an_escape_splits_is_masked() -> None:
    assert "def456" not in redact("abc123\x1b[31mdef456", ["abc123def456"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;aGVsbG8=\x1b\\after", "after"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("bell\x07", "bell␇"),
        ("nul\x00", "nul␀"),
        ("abc\u202edef", "abc\ufffddef"),
        ("10%\r50%\r100%\r", "100%"),
        ("tab\tstays", "tab\tstays"),
        ("grüße 漢字 🙂", "grüße 漢字 🙂"),
    ],
)
def test_nothing_steers_a_terminal(text: str, shown: str) -> None:
    assert quieted(text) == shown


@pytest.mark.parametrize(
    "line",
    [
        "Received request cmpl-1: prompt: 'tell me of the sea', params: SamplingParams(n=1)",
        '{"model":"m","messages":[{"role":"user","content":"tell me of the sea"}]}',
        "parse error: invalid literal; last read: 'tell me of the sea'",
        'W srv operator(): got exception: {"error":{"message":"but got: tell me of the sea"}}',
        "root ::= tell me of the sea (",
        'request: {"prompt": "tell me of the sea"}',
    ],
)
def test_a_prompt_that_an_engine_prints_is_left_out(line: str) -> None:
    assert "of the sea" not in redact(line)


def test_a_line_has_an_end() -> None:
    shown = redact("x" * 10_000)

    assert shown == "x" * LINE_MOST + " … 8,000 more characters"


_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="•"), min_size=4, max_size=40)
_TEXTS = st.text(max_size=60)


@given(values=st.lists(_VALUES, min_size=1, max_size=4), before=_TEXTS, between=_TEXTS, after=_TEXTS)
@example(values=["0000"], before="", between="000", after="0")
@example(values=["000\n"], before="", between="", after="")
@example(values=["a\nbc\nd"], before="x", between="\n", after="")
def test_no_value_of_a_secretly_named_variable_is_ever_shown(
    values: list[str], before: str, between: str, after: str
) -> None:
    secrets = secrets_of({f"SECRET_{number}": value for number, value in enumerate(values)})

    shown = redact(f"{before}{values[0]}{between}{values[-1]}{after}", secrets)

    for value in values:
        # What is a mark of cutting or of leaving out is nobody's secret.
        assert value not in shown or value in " … more characters(left out: it may be somebody's words)"


@given(st.text(max_size=200))
def test_redacting_is_total_and_prints_nothing_that_steers(text: str) -> None:
    shown = Redactor(["gull"]).text(text)

    assert not any(ord(character) < 0x20 and character not in "\n\t" for character in shown)
    assert "\x1b" not in shown
