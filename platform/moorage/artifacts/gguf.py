"""Reads the header of a hostile GGUF file: bounded, forward only, keeping nothing but the numbers that are asked for.

Layout (little-endian): magic, version, tensor count, key count, key/values, tensor infos, padding, data. The rules are
llama.cpp's own where it has them, and stricter caps of ours where it has none; whatever passes here costs bounded
memory and time to have read. A chat template is program text: only its digest leaves this module.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from moorage.artifacts.cursor import PrefixCursor
from moorage.artifacts.errors import HeaderRefused
from moorage.artifacts.gguf_types import (
    ARRAY,
    BOOL,
    SCALAR_BYTES,
    SCALAR_FORMATS,
    STRING,
    TENSOR_TYPES,
)

PREFIX_BYTES = 64 * 1024 * 1024
MAX_TENSORS = 65_536
MAX_KEYS = 4_096
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 1024 * 1024
MAX_KEPT_STRING_BYTES = 64 * 1024
MAX_TEMPLATE_BYTES = 256 * 1024
MAX_ARRAY_ELEMENTS = 16 * 1024 * 1024
# Strings must be hopped over one by one, so their number over all arrays is what bounds the time.
MAX_ARRAY_STRINGS = 2 * 1024 * 1024
MAX_KEPT_ELEMENTS = 4_096
MAX_ALIGNMENT = 4_096
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 63

TEMPLATE_KEY = "tokenizer.chat_template"
# Arrays whose length is a fact although their content is not kept.
_COUNTED = frozenset({"tokenizer.ggml.tokens"})

Scalar = int | float | str | bool


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor as the header describes it."""

    name: str
    dimensions: tuple[int, ...]
    type_name: str
    elements: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """A header that kept every rule. `values` has scalars, short strings and short number arrays only."""

    version: int
    values: Mapping[str, Scalar | tuple[int | float, ...]]
    token_count: int
    chat_template_digest: str
    template_has_tools: bool
    tensors: tuple[Tensor, ...]
    file_bytes: int

    @property
    def architecture(self) -> str:
        """`general.architecture`, or "" where the file has none (later shards)."""
        value = self.values.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors without padding."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number under this key; HeaderRefused where there is none and no default."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise HeaderRefused(f"The header has no whole number under {key}. Convert the model again.")
        return value


def read_gguf(chunks: Iterator[bytes], *, size_bytes: int) -> GgufHeader:
    """Read a header from the first chunks of a file of `size_bytes`.

    Consumes the header and no more than 64 MiB. Raises HeaderRefused with the rule that was broken.
    """
    cursor = PrefixCursor(chunks, size_bytes=size_bytes, limit_bytes=PREFIX_BYTES)
    version = _version(cursor)
    tensor_count, key_count = cursor.u64(), cursor.u64()
    if tensor_count > MAX_TENSORS:
        raise HeaderRefused(f"The header claims {tensor_count} tensors; {MAX_TENSORS} are the most.")
    if key_count > MAX_KEYS:
        raise HeaderRefused(f"The header claims {key_count} keys; {MAX_KEYS} are the most.")
    # The smallest key is 1 + a one-byte value; the smallest tensor has a one-byte name and one dimension.
    cursor.need(key_count * (8 + 1 + 4 + 1) + tensor_count * (8 + 1 + 4 + 8 + 4 + 8))
    values = _KeyValues()
    for _ in range(key_count):
        values.read_one(cursor)
    alignment = values.alignment()
    tensors = _tensors(cursor, tensor_count, alignment)
    return GgufHeader(
        version=version,
        values=values.kept,
        token_count=values.token_count,
        chat_template_digest=values.template_digest,
        template_has_tools=values.template_has_tools,
        tensors=tensors,
        file_bytes=size_bytes,
    )


def _version(cursor: PrefixCursor) -> int:
    if cursor.take(4) != b"GGUF":
        raise HeaderRefused("This is not a GGUF file: it does not begin with GGUF.")
    version = cursor.u32()
    if version & 0xFFFF == 0 and version:
        raise HeaderRefused("This GGUF file is big-endian. Convert it for little-endian machines.")
    if version not in (2, 3):
        raise HeaderRefused(f"GGUF version {version} is not supported. Convert the model to version 3.")
    return version


class _KeyValues:
    """The key/value part while it is being read."""

    def __init__(self) -> None:
        self.kept: dict[str, Scalar | tuple[int | float, ...]] = {}
        self.token_count = 0
        self.template_digest = ""
        self.template_has_tools = False
        self._seen: set[str] = set()
        self._strings = 0

    def read_one(self, cursor: PrefixCursor) -> None:
        key = _key(cursor)
        if key in self._seen:
            raise HeaderRefused(f"The key {key[:80]} appears twice.")
        self._seen.add(key)
        kind = cursor.u32()
        if kind == ARRAY:
            self._array(cursor, key)
        elif kind == STRING:
            self._string(cursor, key)
        elif kind in SCALAR_BYTES:
            self.kept[key] = _scalar(cursor.take(SCALAR_BYTES[kind]), kind, key)
        else:
            raise HeaderRefused(f"The key {key[:80]} has the unknown value type {kind}.")

    def alignment(self) -> int:
        value = self.kept.get("general.alignment", 32)
        if isinstance(value, bool) or not isinstance(value, int):
            raise HeaderRefused("The alignment is not a whole number.")
        if not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):
            raise HeaderRefused(f"The alignment {value} is not a power of two from 8 to {MAX_ALIGNMENT}.")
        return value

    def _string(self, cursor: PrefixCursor, key: str) -> None:
        length = _string_length(cursor)
        is_template = key == TEMPLATE_KEY or key.startswith(TEMPLATE_KEY + ".")
        if is_template and length > MAX_TEMPLATE_BYTES:
            raise HeaderRefused(f"The chat template has {length} bytes; {MAX_TEMPLATE_BYTES} are the most.")
        raw = cursor.take(length)
        text = _utf8(raw, key)
        # A template for tools may stand beside the usual one: tokenizer.chat_template.tool_use.
        self.template_has_tools = self.template_has_tools or (is_template and b"tools" in raw)
        if key == TEMPLATE_KEY:
            self.template_digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        elif not is_template and length <= MAX_KEPT_STRING_BYTES:
            self.kept[key] = text

    def _array(self, cursor: PrefixCursor, key: str) -> None:
        kind, count = cursor.u32(), cursor.u64()
        if kind == ARRAY:
            raise HeaderRefused(f"The key {key[:80]} holds an array of arrays.")
        if count > MAX_ARRAY_ELEMENTS:
            raise HeaderRefused(f"The key {key[:80]} claims {count} elements; {MAX_ARRAY_ELEMENTS} are the most.")
        if key in _COUNTED:
            self.token_count = count
        if kind == STRING:
            self._strings += count
            if self._strings > MAX_ARRAY_STRINGS:
                raise HeaderRefused(f"The header claims more than {MAX_ARRAY_STRINGS} strings in arrays.")
            cursor.need(count * 8)
            cursor.skip_strings(count, MAX_STRING_BYTES)
        elif kind in SCALAR_BYTES:
            width = SCALAR_BYTES[kind]
            if count > MAX_KEPT_ELEMENTS:
                cursor.skip(count * width)
                return
            raw = cursor.take(count * width)
            numbers = (_scalar(raw[at : at + width], kind, key) for at in range(0, len(raw), width))
            self.kept[key] = tuple(number for number in numbers if not isinstance(number, str))
        else:
            raise HeaderRefused(f"The key {key[:80]} has the unknown element type {kind}.")


def _key(cursor: PrefixCursor) -> str:
    length = cursor.u64()
    if not 1 <= length <= MAX_KEY_BYTES:
        raise HeaderRefused(f"A key has {length} bytes; 1 to {MAX_KEY_BYTES} are allowed.")
    raw = cursor.take(length)
    if not all(0x21 <= byte <= 0x7E for byte in raw):
        raise HeaderRefused("A key is not made of printable ASCII characters.")
    return raw.decode("ascii")


def _string_length(cursor: PrefixCursor) -> int:
    length = cursor.u64()
    if length > MAX_STRING_BYTES:
        raise HeaderRefused(f"A string claims {length} bytes; {MAX_STRING_BYTES} are the most.")
    return length


def _utf8(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HeaderRefused(f"The text under {where[:80]} is not UTF-8.") from error


def _scalar(raw: bytes, kind: int, key: str) -> int | float | bool:
    value: int | float = struct.unpack(SCALAR_FORMATS[kind], raw)[0]
    if kind == BOOL:
        if value not in (0, 1):
            raise HeaderRefused(f"The key {key[:80]} is neither true nor false.")
        return bool(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise HeaderRefused(f"The key {key[:80]} is not a finite number.")
    return value


def _tensors(cursor: PrefixCursor, count: int, alignment: int) -> tuple[Tensor, ...]:
    tensors: list[Tensor] = []
    names: set[str] = set()
    expected_offset = 0
    end = 0
    for _ in range(count):
        tensor, offset = _tensor(cursor)
        if tensor.name in names:
            raise HeaderRefused(f"The tensor {tensor.name!a} appears twice.")
        names.add(tensor.name)
        # Contiguous in order, as llama.cpp demands: this rules out overlaps, holes and wrapped offsets at once.
        if offset != expected_offset:
            raise HeaderRefused(f"The tensor {tensor.name!a} does not follow the one before it.")
        end = offset + tensor.size_bytes
        expected_offset = _padded(end, alignment)
        tensors.append(tensor)
    data_start = _padded(cursor.position, alignment)
    if count and data_start + end > cursor.size_bytes:
        raise HeaderRefused("The tensors reach past the end of the file. The file is cut short.")
    if cursor.size_bytes - (data_start + end if count else cursor.position) > alignment:
        raise HeaderRefused("There are bytes after the last tensor that belong to nothing.")
    return tuple(tensors)


def _tensor(cursor: PrefixCursor) -> tuple[Tensor, int]:
    length = cursor.u64()
    if not 1 <= length <= MAX_NAME_BYTES:
        raise HeaderRefused(f"A tensor's name has {length} bytes; 1 to {MAX_NAME_BYTES} are allowed.")
    name = _utf8(cursor.take(length), "a tensor's name")
    if not name.isprintable():
        raise HeaderRefused("A tensor's name has characters that cannot be printed.")
    dimension_count = cursor.u32()
    if not 1 <= dimension_count <= MAX_DIMENSIONS:
        raise HeaderRefused(f"The tensor {name!a} has {dimension_count} dimensions; 1 to 4 are allowed.")
    dimensions = struct.unpack(f"<{dimension_count}Q", cursor.take(8 * dimension_count))
    type_number, offset = cursor.u32(), cursor.u64()
    if type_number not in TENSOR_TYPES:
        raise HeaderRefused(f"The tensor {name!a} has the unknown type {type_number}.")
    type_name, block_elements, block_bytes = TENSOR_TYPES[type_number]
    elements = math.prod(dimensions)
    if not all(1 <= dimension < 2**63 for dimension in dimensions) or elements >= 2**63:
        raise HeaderRefused(f"The dimensions of the tensor {name!a} are impossible.")
    if dimensions[0] % block_elements:
        raise HeaderRefused(f"The rows of the tensor {name!a} do not fill whole blocks of {type_name}.")
    size_bytes = elements // block_elements * block_bytes
    tensor = Tensor(name=name, dimensions=dimensions, type_name=type_name, elements=elements, size_bytes=size_bytes)
    return tensor, offset


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
