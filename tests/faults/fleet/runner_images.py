"""Runner images of a megabyte or two, made of programs of this machine: no base image, nothing to pull or build."""

import io
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from tests.faults.fleet.dockerd import Dockerd

#: Where Moorage looks for the program in a runner image.
_PROGRAM: Final = "usr/local/bin/llama-server"


def load(dockerd: Dockerd, *, name: str, program: Path) -> str:
    """An image whose llama-server is ``program``, with the libraries it needs. Returns its name."""
    with dockerd.client(seconds=120) as client:
        client.import_image_from_data(_archive(program), repository=name, tag="1")
    return f"{name}:1"


def _archive(program: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("tmp", "proc", "sys", "dev", "etc", "model", "run", "run/moorage"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        archive.add(program.resolve(), arcname=_PROGRAM)
        for library in _libraries(program):
            archive.add(Path(library).resolve(), arcname=library.lstrip("/"))
    return buffer.getvalue()


def _libraries(program: Path) -> list[str]:
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return sorted(set(re.findall(r"(/\S+\.so\S*)", told)))
