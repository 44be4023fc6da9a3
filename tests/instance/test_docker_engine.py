"""What starting an instance asks of a Docker Engine, against an Engine of the test's own and a real one."""

import http.server
import io
import json
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from moorage.config.instance import docker_engine
from moorage.config.instance.errors import PartMissing, StartFailed


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers a ping, has one image, and builds whatever is not called `broken`."""

    def do_GET(self) -> None:
        self._answer(200 if self.path in {"/_ping", "/images/here%3A1/json"} else 404, b"OK")

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.rfile.read(int(self.headers["Content-Length"]))
        steps = [{"stream": "Step 1/1 : FROM base\n"}]
        if query["t"] == ["broken"]:
            steps.append({"error": "no such base image"})
        self._answer(200, b"".join(json.dumps(step).encode() + b"\r\n" for step in steps))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "test"


@pytest.fixture
def engine(short_tmp: Path) -> Iterator[str]:
    with socketserver.ThreadingUnixStreamServer(str(short_tmp / "d.sock"), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"unix://{short_tmp}/d.sock"
        server.shutdown()
        thread.join()


def test_an_engine_that_is_there_answers_and_one_that_is_not_does_not(engine: str, short_tmp: Path) -> None:
    assert docker_engine.answers(engine)
    assert not docker_engine.answers(f"unix://{short_tmp}/nobody.sock")


def test_an_address_that_is_not_understood_is_refused() -> None:
    with pytest.raises(PartMissing, match="DOCKER_HOST"):
        docker_engine.answers("ssh://somewhere")


def test_an_image_is_there_or_not(engine: str) -> None:
    assert docker_engine.has_image(engine, "here:1")
    assert not docker_engine.has_image(engine, "absent:1")


def test_a_build_says_its_steps_and_a_failed_one_the_engines_words(engine: str) -> None:
    said: list[str] = []

    docker_engine.build(engine, tag="good", context=b"", dockerfile="Dockerfile", arguments={}, say=said.append)

    assert said == ["Step 1/1 : FROM base"]
    with pytest.raises(StartFailed, match="no such base image"):
        docker_engine.build(engine, tag="broken", context=b"", dockerfile="Dockerfile", arguments={}, say=said.append)


def test_a_build_context_holds_the_named_files_only_and_nothing_about_this_machine(tmp_path: Path) -> None:
    (tmp_path / "server").write_bytes(b"binary")
    (tmp_path / "secret").write_bytes(b"no")

    with tarfile.open(fileobj=io.BytesIO(docker_engine.context({"prebuilt/server": tmp_path / "server"}))) as archive:
        entries = archive.getmembers()

    assert [(entry.name, entry.uid, entry.uname, entry.mtime) for entry in entries] == [("prebuilt/server", 0, "", 0)]


@pytest.mark.docker
def test_a_real_engine_builds_an_image_and_has_it_then(docker_host: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG WORD\nLABEL word=$WORD\nCOPY Dockerfile /Dockerfile\n")
    context = docker_engine.context(
        {"folder/Dockerfile": tmp_path / "Dockerfile", "Dockerfile": tmp_path / "Dockerfile"}
    )

    docker_engine.build(
        docker_host,
        tag="moorage/tests-of-the-instance:1",
        context=context,
        dockerfile="folder/Dockerfile",
        arguments={"WORD": "x"},
        say=lambda _: None,
    )

    assert docker_engine.answers(docker_host)
    assert docker_engine.has_image(docker_host, "moorage/tests-of-the-instance:1")
