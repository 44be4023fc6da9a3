"""The prepared requests are what a client sends."""

import json
import struct
from pathlib import Path

from tests.benchmarks import traffic
from tests.benchmarks.traffic import Caller, Shape


def requests_of(path: Path) -> list[bytes]:
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack_from("<I", content)
        found.append(content[4 : 4 + length])
        content = content[4 + length :]
    return found


def test_each_request_is_whole_and_says_its_length(tmp_path: Path) -> None:
    caller = Caller(host="127.0.0.1:8401", secrets=("one", "two"), headers=("x-more: yes",))

    found = requests_of(traffic.write(tmp_path / "requests", shape=Shape(), caller=caller, count=20))

    assert len(found) == 20
    for number, request in enumerate(found):
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8401\r\n")
        assert b"authorization: Bearer " + (b"one", b"two")[number // traffic.GROUP % 2] in head
        assert head.endswith(b"x-more: yes\r\nContent-Length: %d" % len(body))
        assert json.loads(body)["model"] == caller.model


def test_prompts_differ_in_words_and_length(tmp_path: Path) -> None:
    found = requests_of(traffic.write(tmp_path / "requests", shape=Shape(), caller=Caller(host="h"), count=50))

    assert len(set(found)) == 50
    assert len({len(each) for each in found}) > 30


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    one = traffic.write(tmp_path / "one", shape=Shape(tokens=64), caller=Caller(host="h"))
    other = traffic.write(tmp_path / "other", shape=Shape(tokens=64), caller=Caller(host="h"))

    assert one.read_bytes() == other.read_bytes()


def test_a_paced_stream_says_its_pace_and_asks_for_usage(tmp_path: Path) -> None:
    shape = Shape(tokens=100, interval_ms=20)

    (request,) = requests_of(traffic.write(tmp_path / "one", shape=shape, caller=Caller(host="h"), count=1))

    body = json.loads(request.partition(b"\r\n\r\n")[2])
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert (body["max_tokens"], body["seed"]) == (100, 20)
    assert shape.frames == 103
