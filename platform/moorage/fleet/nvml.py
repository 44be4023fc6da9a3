"""NVIDIA devices as NVML reports them: whole ones, and of those that are cut by MIG their instances.

A device in MIG mode is not offered itself: its memory belongs to its instances, each of which is a device with a UUID
of its own (``MIG-…``), which ``CUDA_VISIBLE_DEVICES`` and the container toolkit take in the place of a GPU's.
"""

import dataclasses
import importlib
from types import ModuleType
from typing import Any, Final

from moorage.fleet.models import SLICE, WHOLE

#: nvmlDeviceGetMigMode answers (current, pending); 1 is enabled (nvml.h, NVML_DEVICE_MIG_ENABLE).
_MIG_ENABLED: Final = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundDevice:
    """One accelerator of a machine."""

    kind: str
    vendor_id: str
    name: str
    memory_bytes: int


def devices(nvml: Any = None) -> tuple[FoundDevice, ...]:
    """Everything that may be given to a replica; nothing where the bindings or the driver are missing.

    ``nvml`` is a module with the functions of ``pynvml``, which is looked for where none is given.
    """
    library = _bindings() if nvml is None else nvml
    if library is None:
        return ()
    try:
        library.nvmlInit()
    except library.NVMLError:
        return ()
    try:
        found: list[FoundDevice] = []
        for index in range(library.nvmlDeviceGetCount()):
            try:
                found += _device(library, library.nvmlDeviceGetHandleByIndex(index))
            except library.NVMLError:
                # One that has fallen off the bus answers nothing; the others do.
                continue
        return tuple(found)
    finally:
        library.nvmlShutdown()


def _bindings() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _device(nvml: Any, handle: Any) -> list[FoundDevice]:
    name = _text(nvml.nvmlDeviceGetName(handle))
    if _is_cut(nvml, handle):
        return _instances(nvml, handle, name)
    return [
        FoundDevice(
            kind=WHOLE,
            vendor_id=_text(nvml.nvmlDeviceGetUUID(handle)),
            name=name,
            memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        )
    ]


def _is_cut(nvml: Any, handle: Any) -> bool:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:
        # Devices without MIG say NOT_SUPPORTED.
        return False
    return int(current) == _MIG_ENABLED


def _instances(nvml: Any, handle: Any, parent: str) -> list[FoundDevice]:
    found = []
    for index in range(int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle))):
        try:
            instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError:
            # Places without an instance say NOT_FOUND.
            continue
        # NVML names an instance by its parent and profile: "NVIDIA H200 MIG 1g.18gb".
        name = _text(nvml.nvmlDeviceGetName(instance))
        found.append(
            FoundDevice(
                kind=SLICE,
                vendor_id=_text(nvml.nvmlDeviceGetUUID(instance)),
                name=name if name.startswith(parent) else f"{parent} {name}",
                memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(instance).total),
            )
        )
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
