"""Where a body breaks the rules is said by its path. Pure."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.gateway import json_faults, request_body
from moorage.gateway.errors import BadField, BadRequest
from tests.gateway.test_request_body import CHAT


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ('{"a":[{"b":1,"b":2}]}', "a[0].b"),
        ('{"messages":[{"role":"user"},{"role":"user","content":"x","content":"y"}]}', "messages[1].content"),
        ('{"a":{},"b":[],"c":{"d":[[],{}]},"a":1}', "a"),
        ('{"a":"}],\\"","a":1}', "a"),
        ('{"a":{"x":[1,' + "9" * 5000 + "]}}", "a.x[1]"),
        ('{"seed":-' + "9" * 30 + "}", "seed"),
        ('{"a":[0.5,1e999]}', "a[1]"),
        ('{"a":NaN}', "a"),
        ('{"a":[-Infinity]}', "a[0]"),
        ('{"a":' * 65 + "1" + "}" * 65, ".".join("a" * 64)[:128]),
        ("[" * 100_000, ("[0]" * 64)[:128]),
    ],
)
def test_a_fault_is_named_by_its_path(content: str, path: str) -> None:
    error = json_faults.find(content.encode())

    assert isinstance(error, BadField)
    assert error.param == path
    assert len(error.message) < 200


@pytest.mark.parametrize(
    "content",
    *[
        [
            b"",
            b"{",
            b"[}",
            b"{]",
            b'{"a":1,}',
            b"[1,]",
            b'{"a" 1}',
            b'{"a":1} x',
            b"nul",
            b'{"a":"\x01"}',
            b'{"\xff":1}',
        ]
    ],
)
def test_what_is_no_json_has_no_path(content: bytes) -> None:
    error = json_faults.find(content)

    assert type(error) is BadRequest
    assert error.param is None


def test_megabytes_of_nonsense_are_not_read_to_their_end() -> None:
    content = b"[" + b"1," * 4_000_000
    began = time.process_time()

    json_faults.find(content)

    assert time.process_time() - began < 1


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**64), 2**64)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_right_has_no_fault(value: object) -> None:
    error = json_faults.find(json.dumps(value).encode("utf-8", "surrogatepass"))

    assert error.param is None


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ('{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}', "messages[0].content"),
        ('{"model":"m","messages":' + "[" * 100_000, ("messages" + "[0]" * 63)[:128]),
        ('{"model":"m","messages":[],"seed":' + "9" * 5000 + "}", "seed"),
        ('{"model":"m","messages":[],"temperature":NaN}', "temperature"),
    ],
)
def test_a_body_is_refused_with_the_path_of_its_fault(content: str, path: str) -> None:
    with pytest.raises(BadField) as refused:
        request_body.parse(CHAT, content.encode())

    assert refused.value.param == path
