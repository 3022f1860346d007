"""Whether a safetensors file is whole, by its header alone.

Source: https://github.com/huggingface/safetensors, README, "Format": eight bytes (unsigned, little-endian) say how long
the header is; the header is a JSON object of tensors, each with its type, shape and the place of its bytes behind the
header; together they fill the rest of the file, without holes.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, BinaryIO

MOST_HEADER_BYTES = 100_000_000
"""The format's own limit: a longer header is refused before it is read."""

_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Bytes of one number. Of types that are not here only the place is checked."""


def problem(file: BinaryIO, size: int) -> str | None:
    """Why a file of so many bytes is not whole; None if it is, as far as the header can tell."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8:
        return f"is cut off: {size} bytes"
    if length > MOST_HEADER_BYTES:
        return f"has no possible header: {length} bytes long"
    if 8 + length > size:
        return f"is cut off: its header alone ends at byte {8 + length}, the file at {size}"
    try:
        header = json.loads(file.read(length))
        tensors = [_place(name, one) for name, one in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "has a header that cannot be read"
    return _hole(sorted(tensors), size - 8 - length)


def _place(name: str, tensor: Any) -> tuple[int, int, int | None, str]:
    """Begin and end behind the header, bytes by type and shape, and the name."""
    begin, end = (int(one) for one in tensor["data_offsets"])
    width = _BYTES.get(tensor["dtype"])
    return begin, end, None if width is None else width * prod(int(one) for one in tensor["shape"]), name


def _hole(tensors: list[tuple[int, int, int | None, str]], room: int) -> str | None:
    reached = 0
    for begin, end, expected, name in tensors:
        if begin != reached or end < begin or expected not in (None, end - begin):
            return f"says what cannot be of the tensor {name}"
        reached = end
    if reached != room:
        return (
            f"is cut off: {room} bytes of tensors, {reached} in its header"
            if reached > room
            else (f"is {room - reached} bytes longer than its header says")
        )
    return None
