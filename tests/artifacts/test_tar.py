"""Archives of version 0.1: regular files with plain names come out; anything else refuses the whole archive."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.artifacts import tar
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.errors import HeaderRefused
from tests.artifacts import weights


def read(content: bytes, chunk_bytes: int = 300) -> dict[str, bytes]:
    stream = chunks_of(io.BytesIO(content), chunk_bytes)
    return {member.path: b"".join(member.chunks) for member in tar.members(stream, size_bytes=len(content))}


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.linkname = target
    return made


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_regular_files_come_out_whole(format: int) -> None:
    timed = tarfile.TarInfo("./tokenizer.json")
    timed.mtime = 1234.5
    content = weights.tar(
        [(member(".", tarfile.DIRTYPE), b""), ("config.json", b"{}"), (timed, b"x" * 5000)], format=format
    )

    assert read(content) == {"config.json": b"{}", "tokenizer.json": b"x" * 5000}


def test_members_that_are_not_read_are_passed_over() -> None:
    content = weights.tar([("a.json", b"a" * 3000), ("b.json", b"b")])

    names = [found.path for found in tar.members(chunks_of(io.BytesIO(content), 100), size_bytes=len(content))]

    assert names == ["a.json", "b.json"]


@pytest.mark.parametrize(
    "hostile",
    [
        member("d", tarfile.SYMTYPE, "/etc"),
        member("d.json", tarfile.LNKTYPE, "/etc/passwd"),
        member("d", tarfile.CHRTYPE),
        member("d", tarfile.FIFOTYPE),
        tarfile.TarInfo("../evil.json"),
        tarfile.TarInfo("/etc/evil.json"),
        tarfile.TarInfo("inner/../../evil.json"),
        tarfile.TarInfo("evil.py"),
        member("../out", tarfile.DIRTYPE),
        tarfile.TarInfo("long/" * 30 + "name.json"),
        tarfile.TarInfo("CONFIG.json"),
    ],
    ids=lambda hostile: f"{hostile.name[:20]}-{hostile.type!r}",
)
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_anything_else_refuses_the_archive(hostile: tarfile.TarInfo, format: int) -> None:
    content = weights.tar([("config.json", b"{}"), (hostile, b"x")], format=format)

    with pytest.raises(HeaderRefused):
        read(content)


def test_a_renaming_extension_is_judged_by_the_new_name() -> None:
    renamed = tarfile.TarInfo("harmless.json")
    renamed.pax_headers = {"path": "../evil.json"}

    with pytest.raises(HeaderRefused):
        read(weights.tar([(renamed, b"x")], format=tarfile.PAX_FORMAT))


def test_a_size_past_the_end_is_refused() -> None:
    content = weights.tar([("a.json", b"a" * 3000)])

    with pytest.raises(HeaderRefused):
        read(content[:1024])


@settings(max_examples=200, deadline=2000)
@given(position=st.integers(0, 1500), replacement=st.binary(min_size=1, max_size=12))
def test_a_mutated_archive_is_read_or_refused_and_nothing_else(position: int, replacement: bytes) -> None:
    whole = weights.tar([("a.json", b"{}"), ("b.json", b"b" * 700)])
    mutated = whole[:position] + replacement + whole[position + len(replacement) :]

    try:
        assert all(".." not in path for path in read(mutated))
    except HeaderRefused as refusal:
        assert len(str(refusal)) < 400
