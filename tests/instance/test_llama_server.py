"""Where llama-server comes from: the operator's, the machine's, the cache, else a build; never one below the floor."""

import os
import threading
from pathlib import Path

import pytest

from moorage.config.instance import llama_server
from moorage.config.instance.errors import PartMissing, StartFailed

NEW = "#!/bin/sh\necho 'version: 9000 (abc)'\n"
OLD = "#!/bin/sh\necho 'version: 8000 (abc)'\n"
#: A recipe as quick as the real one is slow: `compile OUTPUT`.
COMPILE = """#!/bin/sh
set -eu
echo '[1/2] Building'
mkdir -p "$(dirname "$1")"
printf '#!/bin/sh\\necho "version: 9000 (abc)"\\n' > "$1"
chmod +x "$1"
echo built >> "$BUILDS"
echo '[2/2] Linking'
"""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "runners" / "llamacpp"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("# the release\nllama-cpp-python==0.3.36 --hash=sha256:00\n")
    (folder / "cmake-flags.txt").write_text("-DX=1\n")
    (folder / "ggml-release.cmake").write_text("")
    program(folder / "compile", COMPILE)
    return tmp_path / "root"


def get(root: Path, **environ: str) -> tuple[Path, list[str]]:
    said: list[str] = []
    compiler = program(root.parent / "bin" / "c++", "#!/bin/sh\n").parent
    builds = {"BUILDS": str(root.parent / "builds"), "PATH": f"{compiler}:{os.defpath}"}
    found = llama_server.get(root=root, cache=root.parent / "cache", environ={**builds, **environ}, say=said.append)
    return found, said


def builds(root: Path) -> int:
    path = root.parent / "builds"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_named_one_is_used(root: Path, tmp_path: Path) -> None:
    named = program(tmp_path / "mine", NEW)

    assert get(root, MOORAGE_LLAMA_SERVER=str(named))[0] == named
    assert builds(root) == 0


def test_a_named_one_below_the_floor_or_that_does_not_run_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(PartMissing, match="below b8146"):
        get(root, MOORAGE_LLAMA_SERVER=str(program(tmp_path / "old", OLD)))
    with pytest.raises(PartMissing, match="no llama-server that runs here"):
        get(root, MOORAGE_LLAMA_SERVER="/nowhere/llama-server")


def test_one_on_the_path_is_used_if_it_is_new_enough(root: Path, tmp_path: Path) -> None:
    new = program(tmp_path / "new" / "llama-server", NEW)
    old = program(tmp_path / "old" / "llama-server", OLD)

    used, _ = get(root, PATH=f"{new.parent}:{root.parent / 'bin'}:{os.defpath}")
    built, said = get(root, PATH=f"{old.parent}:{root.parent / 'bin'}:{os.defpath}")

    assert used == new
    assert built != old
    assert any("too old to be safe" in sentence for sentence in said)


def test_it_is_built_once_with_progress_and_nothing_else_is_left(root: Path) -> None:
    first, said = get(root)
    second, silent = get(root)

    assert first == second
    assert builds(root) == 1
    assert "compiling llama-server: 100 %" in said
    assert silent == []
    assert sorted(path.name for path in first.parents[1].iterdir()) == sorted(["build.log", "lock", first.parent.name])


def test_another_recipe_is_another_build(root: Path) -> None:
    first, _ = get(root)
    (root / "runners" / "llamacpp" / "cmake-flags.txt").write_text("-DX=2\n")

    second, _ = get(root)

    assert first != second
    assert builds(root) == 2


def test_two_who_want_it_at_once_build_it_once(root: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(get(root)[0])) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert builds(root) == 1
    assert len(set(found)) == 1


def test_a_failed_build_shows_the_compilers_last_words_and_is_tried_again(root: Path) -> None:
    recipe = root / "runners" / "llamacpp" / "compile"
    program(recipe, "#!/bin/sh\necho 'error: no such header: sea.h'\nexit 1\n")

    with pytest.raises(StartFailed, match=r"no such header: sea\.h"):
        get(root)

    assert not list((root.parent / "cache").glob("unfinished-*"))
    program(recipe, COMPILE)
    assert get(root)[0].is_file()


def test_a_machine_without_a_compiler_is_told_what_to_install(root: Path, tmp_path: Path) -> None:
    with pytest.raises(PartMissing, match=r"apt-get install g\+\+"):
        get(root, PATH=str(tmp_path / "empty"))
