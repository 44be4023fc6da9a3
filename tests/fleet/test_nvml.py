"""Which devices a machine offers, from what NVML answers: as nvml.h has it for an H200, whole and cut."""

import dataclasses
from types import SimpleNamespace

from moorage.fleet import nvml
from moorage.fleet.models import SLICE, WHOLE
from moorage.fleet.nvml import FoundDevice

MIB = 1024**2


class NVMLError(Exception):
    """As pynvml raises it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A handle and what NVML says of it."""

    uuid: str | bytes
    name: str | bytes = "NVIDIA H200"
    total: int = 143771 * MIB
    mig: tuple[int, int] | None = (0, 0)
    instances: tuple["Card | None", ...] = ()
    is_lost: bool = False


def recorded(*cards: Card, has_driver: bool = True) -> SimpleNamespace:
    """A module with the functions of pynvml over these cards; ``closed`` counts its shutdowns."""
    library = SimpleNamespace(NVMLError=NVMLError, closed=0)

    def init() -> None:
        if not has_driver:
            raise NVMLError("NVML_ERROR_DRIVER_NOT_LOADED")

    def shutdown() -> None:
        library.closed += 1

    def handle(index: int) -> Card:
        if cards[index].is_lost:
            raise NVMLError("NVML_ERROR_GPU_IS_LOST")
        return cards[index]

    def mig_mode(card: Card) -> list[int]:
        if card.mig is None:
            raise NVMLError("NVML_ERROR_NOT_SUPPORTED")
        return list(card.mig)

    def instance(card: Card, index: int) -> Card:
        found = card.instances[index]
        if found is None:
            raise NVMLError("NVML_ERROR_NOT_FOUND")
        return found

    library.nvmlInit = init
    library.nvmlShutdown = shutdown
    library.nvmlDeviceGetCount = lambda: len(cards)
    library.nvmlDeviceGetHandleByIndex = handle
    library.nvmlDeviceGetUUID = lambda card: card.uuid
    library.nvmlDeviceGetName = lambda card: card.name
    library.nvmlDeviceGetMemoryInfo = lambda card: SimpleNamespace(total=card.total, free=0, used=0)
    library.nvmlDeviceGetMigMode = mig_mode
    library.nvmlDeviceGetMaxMigDeviceCount = lambda card: len(card.instances)
    library.nvmlDeviceGetMigDeviceHandleByIndex = instance
    return library


def test_a_whole_device_is_offered_by_its_uuid() -> None:
    library = recorded(Card(uuid=b"GPU-1", name=b"NVIDIA H200"), Card(uuid="GPU-2", name="Tesla T4", mig=None))

    assert nvml.devices(library) == (
        FoundDevice(kind=WHOLE, vendor_id="GPU-1", name="NVIDIA H200", memory_bytes=143771 * MIB),
        FoundDevice(kind=WHOLE, vendor_id="GPU-2", name="Tesla T4", memory_bytes=143771 * MIB),
    )
    assert library.closed == 1


def test_a_device_that_is_cut_offers_its_instances_and_not_itself() -> None:
    small = Card(uuid="MIG-1", name="NVIDIA H200 MIG 1g.18gb", total=16384 * MIB)
    large = Card(uuid="MIG-2", name="MIG 3g.71gb", total=71000 * MIB)
    library = recorded(Card(uuid="GPU-1", mig=(1, 1), instances=(small, None, large)))

    assert nvml.devices(library) == (
        FoundDevice(kind=SLICE, vendor_id="MIG-1", name="NVIDIA H200 MIG 1g.18gb", memory_bytes=16384 * MIB),
        FoundDevice(kind=SLICE, vendor_id="MIG-2", name="NVIDIA H200 MIG 3g.71gb", memory_bytes=71000 * MIB),
    )


def test_a_device_that_will_be_cut_after_a_reset_is_still_whole() -> None:
    library = recorded(Card(uuid="GPU-1", mig=(0, 1)))

    assert [device.vendor_id for device in nvml.devices(library)] == ["GPU-1"]


def test_a_lost_device_is_not_there_and_the_others_are() -> None:
    library = recorded(Card(uuid="GPU-1", is_lost=True), Card(uuid="GPU-2"))

    assert [device.vendor_id for device in nvml.devices(library)] == ["GPU-2"]


def test_a_machine_without_a_driver_has_no_device() -> None:
    assert nvml.devices(recorded(has_driver=False)) == ()
    assert all(device.vendor_id and device.memory_bytes > 0 for device in nvml.devices())
