"""The llama-server of an instance: the operator's, the machine's if it is new enough, else one built here, once.

Built from the hash-pinned source release of llama-cpp-python, which vendors llama.cpp, with cmake and ninja from
locked wheels: a C++ compiler is all that the machine has to have. Kept in a directory named after everything that
goes into it, and moved there only when complete.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from moorage.config.instance import llama_version
from moorage.config.instance.errors import PartMissing, StartFailed
from moorage.config.instance.progress import Percent

#: Ninja's progress: `[12/340] Building CXX object …`.
_NINJA: Final = re.compile(r"^\[(\d+)/(\d+)\]")


def get(*, root: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """A llama-server that is new enough. Raises PartMissing or StartFailed."""
    if found := find(cache=cache, root=root, environ=environ, say=say):
        return found
    return build(root=root, cache=cache, environ=environ, say=say)


def find(*, root: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path | None:
    """One that is here already; None if one has to be built.

    The one named by MOORAGE_LLAMA_SERVER is used or refused, never passed over: PartMissing says why.
    """
    named = environ.get("MOORAGE_LLAMA_SERVER")
    if named:
        path = Path(named).expanduser().absolute()
        version = llama_version.ask(path)
        if version is None:
            raise PartMissing(f"MOORAGE_LLAMA_SERVER names {path}, which is no llama-server that runs here.")
        if not version.is_new_enough:
            raise PartMissing(
                f"{path} is llama.cpp {version.text}; below b{llama_version.FLOOR_BUILD} a hostile model file can take it "
                "over. Name a newer one, or unset MOORAGE_LLAMA_SERVER and one is built."
            )
        say(f"llama-server {version.text} from MOORAGE_LLAMA_SERVER")
        return path
    on_path = shutil.which("llama-server", path=environ.get("PATH"))
    if on_path:
        version = llama_version.ask(Path(on_path))
        if version is not None and version.is_new_enough:
            say(f"llama-server {version.text} from {on_path}")
            return Path(on_path).absolute()
        say(f"not using {on_path}: {version.text if version else 'it does not say its version'}, too old to be safe")
    built = cache / recipe(root) / "llama-server"
    return built if built.is_file() else None


def recipe(root: Path) -> str:
    """The name of what would be built: the release's version and a hash of all that decides the outcome."""
    source, flags = _source_lock(root), _flags_file(root)
    pinned = re.search(r"^llama-cpp-python==(\S+)", source.read_text(), re.MULTILINE)
    assert pinned, f"{source} pins llama-cpp-python"
    digest = hashlib.sha256(source.read_bytes() + flags.read_bytes() + platform.machine().encode()).hexdigest()
    return f"{pinned[1]}-{digest[:8]}"


def build(*, root: Path, cache: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Fetch, check, compile, keep. Raises PartMissing without a compiler and StartFailed with the compiler's words."""
    compiler = next((name for name in (environ.get("CXX"), "c++", "g++", "clang++") if name and shutil.which(name)), None)
    if compiler is None:
        raise PartMissing(
            "There is no C++ compiler on this machine, and llama-server has to be built. On Debian and Ubuntu install one "
            "with `apt-get install g++`, or name a llama-server with MOORAGE_LLAMA_SERVER."
        )
    cache.mkdir(parents=True, exist_ok=True)
    for abandoned in cache.glob("unfinished-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix="unfinished-", dir=cache))
    log = cache / "build.log"
    try:
        with log.open("w") as written:
            say("fetching cmake, ninja and the source release (77 MB, hashes checked)")
            tools = _tools(root, workshop, environ, written.fileno())
            source = _source(root, workshop, tools, environ, written.fileno())
            say("compiling; once, and most of the first start")
            binary = _compile(root, source, tools, environ, say=say, log=written.fileno())
        if llama_version.ask(binary) is None:
            raise StartFailed(f"The llama-server that was built does not run; see {log}.")
        finished = workshop / "finished"
        finished.mkdir()
        shutil.copy2(binary, finished / "llama-server")
        kept = cache / recipe(root)
        shutil.rmtree(kept, ignore_errors=True)
        finished.rename(kept)
    except subprocess.CalledProcessError as error:
        end = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-15:])
        command = " ".join(map(str, error.cmd[:4]))
        raise StartFailed(f"Building llama-server failed at `{command} …`. The end of {log}:\n{end}") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return kept / "llama-server"


def cmake_flags(text: str) -> list[str]:
    """The flags in runners/llamacpp/cmake-flags.txt: one a line, `#` begins a comment."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return [line.replace('"', "") for line in lines if line]


def _tools(root: Path, workshop: Path, environ: Mapping[str, str], log: int) -> Path:
    """Locked wheels of cmake, ninja and the build backend, in a directory of their own."""
    tools = workshop / "tools"
    lock = root / "deploy" / "requirements-llama.lock"
    command = [*_pip("install"), "--require-hashes", "--only-binary", ":all:", "--target", tools, "--requirement", lock]
    _run(command, environ=environ, log=log)
    return tools


def _source(root: Path, workshop: Path, tools: Path, environ: Mapping[str, str], log: int) -> Path:
    """The unpacked source release. pip asks the release for its metadata with the locked build backend, nothing else."""
    download = workshop / "download"
    command = [*_pip("download"), "--require-hashes", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
    command += ["--dest", download, "--requirement", _source_lock(root)]
    _run(command, environ={**environ, "PYTHONPATH": str(tools), "PATH": _path(tools, environ)}, log=log)
    (archive,) = download.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(workshop / "source", filter="data")
    (source,) = (workshop / "source").iterdir()
    return source / "vendor" / "llama.cpp"


def _compile(
    root: Path, source: Path, tools: Path, environ: Mapping[str, str], *, say: Callable[[str], None], log: int
) -> Path:
    cmake, output = tools / "cmake" / "data" / "bin" / "cmake", source / "build"
    surroundings = {**environ, "PATH": _path(tools, environ)}
    flags = cmake_flags(_flags_file(root).read_text())
    _run([cmake, "-G", "Ninja", "-S", source, "-B", output, *flags], environ=surroundings, log=log)
    cores = str(len(os.sched_getaffinity(0)))
    command = [str(cmake), "--build", str(output), "--target", "llama-server", "--parallel", cores]
    percent = Percent(say, what="compiling llama-server")
    with subprocess.Popen(
        command, env=surroundings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as compiling:
        assert compiling.stdout is not None
        for line in compiling.stdout:
            os.write(log, line.encode())
            if step := _NINJA.match(line):
                percent.reached(100 * int(step[1]) // int(step[2]))
    if compiling.returncode:
        raise subprocess.CalledProcessError(compiling.returncode, command)
    return output / "bin" / "llama-server"


def _run(command: Sequence[str | Path], *, environ: Mapping[str, str], log: int) -> None:
    subprocess.run(command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)


def _pip(verb: str) -> list[str | Path]:
    quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    return [sys.executable, "-m", "pip", verb, *quiet]


def _path(tools: Path, environ: Mapping[str, str]) -> str:
    return f"{tools / 'ninja' / 'data' / 'bin'}:{tools / 'bin'}:{environ.get('PATH', '/usr/bin:/bin')}"


def _source_lock(root: Path) -> Path:
    return root / "runners" / "llamacpp" / "requirements.txt"


def _flags_file(root: Path) -> Path:
    return root / "runners" / "llamacpp" / "cmake-flags.txt"
