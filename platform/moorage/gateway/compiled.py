"""The modules that every request passes, as native code: made by ``./manage.py compile``, used where it was.

mypyc (https://mypyc.readthedocs.io) makes it of the sources as they are, so the sources stay the only truth: native
code is in a folder named after the digest of the sources and of the Python it was made for, and a folder of any other
name is not used. Without it the same modules run from source, a third slower and otherwise alike.
"""

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Left out are modules of msgspec's structs and named errors, which mypyc cannot make native.
MODULES: Final = (
    "moorage.gateway.access_log",
    "moorage.gateway.activity",
    "moorage.gateway.admission",
    "moorage.gateway.affinity",
    "moorage.gateway.alike",
    "moorage.gateway.answering",
    "moorage.gateway.arrival",
    "moorage.gateway.breaker",
    "moorage.gateway.busy_times",
    "moorage.gateway.chunks",
    "moorage.gateway.client",
    "moorage.gateway.client_protocol",
    "moorage.gateway.engine_call",
    "moorage.gateway.event_templates",
    "moorage.gateway.exchange",
    "moorage.gateway.gates",
    "moorage.gateway.histogram",
    "moorage.gateway.holding",
    "moorage.gateway.journal_writer",
    "moorage.gateway.keys",
    "moorage.gateway.lease_book",
    "moorage.gateway.known_answer",
    "moorage.gateway.leases",
    "moorage.gateway.metrics",
    "moorage.gateway.once",
    "moorage.gateway.operations.kinds",
    "moorage.gateway.operations.openai",
    "moorage.gateway.parts",
    "moorage.gateway.plain_body",
    "moorage.gateway.pool",
    "moorage.gateway.price_list",
    "moorage.gateway.rate_headers",
    "moorage.gateway.receiver",
    "moorage.gateway.request_body",
    "moorage.gateway.request_head",
    "moorage.gateway.responses",
    "moorage.gateway.routes",
    "moorage.gateway.settled",
    "moorage.gateway.sse",
    "moorage.gateway.timekeeping",
    "moorage.gateway.upstream_protocol",
    "moorage.gateway.usage",
    "moorage.gateway.whole_answer",
    "moorage.kernel.ids",
    "moorage.wire.journal_forms",
)
#: The library that the modules are entrances to.
LIBRARY: Final = "moorage_gateway"
#: The folder that the package is in.
PLATFORM: Final = Path(__file__).resolve().parents[2]


def source(module: str) -> Path:
    """Where the source of one of the modules is."""
    return PLATFORM / (module.replace(".", "/") + ".py")


def folder(parent: Path) -> Path:
    """Where native code of the present sources is, or would be."""
    digest = hashlib.sha256(f"{sys.version} {importlib.machinery.EXTENSION_SUFFIXES[0]}".encode())
    # All that they may import of ours: constants of other modules are compiled in.
    for package in ("gateway", "kernel", "wire"):
        for path in sorted((PLATFORM / "moorage" / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return parent / digest.hexdigest()[:20]


def file_of(place: Path, module: str) -> Path:
    """The native file of a module in a folder."""
    return place / (module.replace(".", "/") + importlib.machinery.EXTENSION_SUFFIXES[0])


def use(parent: Path) -> bool:
    """Import the modules from native code, if it is there; to be called before any of them is imported."""
    place = folder(parent)
    if not is_whole(place):
        return False
    use_from(place)
    return True


def use_from(place: Path) -> None:
    """The same from a folder of native code that is known to be right."""
    sys.meta_path.insert(0, _Finder(place))


def is_whole(place: Path) -> bool:
    """Whether native code of every module is in a folder."""
    return all(file_of(place, module).is_file() for module in MODULES)


def is_used() -> bool:
    """Whether this process runs native code."""
    return f"{LIBRARY}__mypyc" in sys.modules


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, place: Path) -> None:
        self._files = {module: file_of(place, module) for module in MODULES}
        self._files[f"{LIBRARY}__mypyc"] = file_of(place, f"{LIBRARY}__mypyc")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = self._files.get(fullname)
        return importlib.util.spec_from_file_location(fullname, file) if file is not None else None
