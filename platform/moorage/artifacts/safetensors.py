"""Reads the header of a hostile safetensors file: u64 length, that much JSON, then data without holes or overlaps.

The reference implementation's checks, with a lower cap on the header: 16 MiB of JSON is far beyond honest models and
still bounded memory here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from moorage.artifacts import strict_json
from moorage.artifacts.cursor import PrefixCursor
from moorage.artifacts.errors import HeaderRefused

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 65_536
MAX_DIMENSIONS = 16

# dtype -> bits of one element
DTYPES = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor as the header describes it; begin and end are offsets into the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class SafetensorsHeader:
    """A header that kept every rule; tensors in the order of their data."""

    tensors: tuple[Tensor, ...]
    tensor_bytes: int
    file_bytes: int


def read_safetensors(chunks: Iterator[bytes], *, size_bytes: int) -> SafetensorsHeader:
    """Read a header from the first chunks of a file of `size_bytes`. Raises HeaderRefused with the broken rule."""
    cursor = PrefixCursor(chunks, size_bytes=size_bytes, limit_bytes=8 + MAX_HEADER_BYTES)
    length = cursor.u64()
    if length > MAX_HEADER_BYTES:
        raise HeaderRefused(f"The safetensors header claims {length} bytes; {MAX_HEADER_BYTES} are the most.")
    text = cursor.take(length)
    if not text.startswith(b"{"):
        raise HeaderRefused("This is not a safetensors file: its header is not a JSON object.")
    entries = strict_json.parse(text, what="The safetensors header")
    _check_metadata(entries.pop("__metadata__", {}))
    if len(entries) > MAX_TENSORS:
        raise HeaderRefused(f"The header names {len(entries)} tensors; {MAX_TENSORS} are the most.")
    tensors = sorted(
        (_tensor(name, entry) for name, entry in entries.items()), key=lambda tensor: (tensor.begin, tensor.end)
    )
    data_bytes = size_bytes - 8 - length
    _check_spans(tensors, data_bytes)
    return SafetensorsHeader(tensors=tuple(tensors), tensor_bytes=data_bytes, file_bytes=size_bytes)


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderRefused("The metadata of the safetensors header is not a map of texts.")


def _tensor(name: str, entry: object) -> Tensor:
    shown = ascii(name[:80])
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise HeaderRefused(f"The tensor {shown} does not have exactly dtype, shape and data_offsets.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise HeaderRefused(f"The tensor {shown} has the unknown dtype {ascii(dtype)[:40]}.")
    dimensions = _naturals(shape, f"The shape of the tensor {shown}")
    if len(dimensions) > MAX_DIMENSIONS:
        raise HeaderRefused(f"The tensor {shown} has {len(dimensions)} dimensions; {MAX_DIMENSIONS} are the most.")
    span = _naturals(offsets, f"The data_offsets of the tensor {shown}")
    if len(span) != 2 or span[0] > span[1]:
        raise HeaderRefused(f"The data_offsets of the tensor {shown} are not [begin, end].")
    bits = math.prod(dimensions) * DTYPES[dtype]
    if bits % 8 or bits // 8 != span[1] - span[0]:
        raise HeaderRefused(f"The tensor {shown} does not have the size that its shape and dtype make.")
    return Tensor(name=name, dtype=dtype, shape=dimensions, begin=span[0], end=span[1])


def _naturals(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise HeaderRefused(f"{what} is not a list.")
    numbers = tuple(number for number in map(strict_json.whole, value) if number is not None and 0 <= number < 2**63)
    if len(numbers) != len(value):
        raise HeaderRefused(f"{what} is not made of whole numbers.")
    return numbers


def _check_spans(tensors: list[Tensor], data_bytes: int) -> None:
    at = 0
    for tensor in tensors:
        if tensor.begin != at:
            raise HeaderRefused(f"The tensor {tensor.name[:80]!a} overlaps another or leaves a hole.")
        at = tensor.end
    if at != data_bytes:
        raise HeaderRefused("The tensors do not fill the file exactly. It is cut short or has something appended.")
