"""The protobuf messages of ``pull-updates``, and the bitmaps in them.

Sources: `sync/engine/src/server_proto.rs` of https://github.com/tursodatabase/turso for the fields, and
https://github.com/RoaringBitmap/RoaringFormatSpec for the bitmaps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trueup.replication.refused import malformed

PAGE_BYTES: Final = 4096
"""The protocol knows no other size of pages."""

_PROTOCOL_PAGES: Final = 1
"""Field 8 of the answer: changes come as pages, not as a logical log."""

_NO_RUNS: Final = 12346
_RUNS: Final = 12347
_OFFSETS_FROM: Final = 4
"""A bitmap with runs has offsets only if it has so many containers."""
_ARRAY_MAX: Final = 4096
"""A container with more values than that is a bitset."""
_BITSET_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What a client wants to have."""

    server_revision: str = ""
    """Pages as they were then; empty: as they are."""
    client_revision: str = ""
    """Only what has changed since; empty: everything."""
    long_poll_ms: int = 0
    """How long to wait if nothing has changed."""
    selector: bytes = b""
    """A roaring bitmap of page numbers, from zero; empty: all pages."""
    query: str = ""
    """SQL that touches the pages wanted."""


def parse_pull(body: bytes) -> PullRequest:
    """Read a request.

    Raises:
        Refused: If it is malformed, or asks for what is not spoken here: compression, or the logical log.
    """
    numbers: dict[int, int] = {}
    blobs: dict[int, bytes] = {}
    for field, value in _fields(body):
        if isinstance(value, bytes):
            blobs[field] = value
        else:
            numbers[field] = value
    if numbers.get(1, 0) != 0:
        raise malformed("only the raw encoding of pages is spoken here")
    if numbers.get(8, 0) != 0:
        raise malformed("the logical log of changes is not spoken here, only pages")
    return PullRequest(
        server_revision=_text(blobs.get(2, b"")),
        client_revision=_text(blobs.get(3, b"")),
        long_poll_ms=numbers.get(4, 0) & 0xFFFF_FFFF,
        selector=blobs.get(5, b""),
        query=_text(blobs.get(7, b"")),
    )


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise malformed("a text in the request is not UTF-8") from error


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field; those of fixed size are skipped, as nothing here has any."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        field, kind = tag >> 3, tag & 7
        if field == 0:
            raise malformed("the request has a field 0")
        match kind:
            case 0:
                number, at = _varint(body, at)
                yield field, number
            case 2:
                length, at = _varint(body, at)
                end = at + length
                if end > len(body):
                    raise malformed("the request is cut off")
                yield field, body[at:end]
                at = end
            case 1 | 5:
                at += 8 if kind == 1 else 4
                if at > len(body):
                    raise malformed("the request is cut off")
            case _:
                raise malformed(f"the request has a field of kind {kind}")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(10):
        if at + n >= len(body):
            raise malformed("the request is cut off")
        byte = body[at + n]
        value |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + n + 1
    raise malformed("a number in the request has more than ten bytes")


def varint(value: int) -> bytes:
    """A number of protobuf."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def header(revision: str, pages: int) -> bytes:
    """The first message of an answer: revision, size of the database, raw encoding, protocol. Delimited."""
    name = revision.encode()
    fields = [
        b"\x0a" + varint(len(name)) + name,
        b"\x10" + varint(pages),
        b"\x1a\x00",  # an empty message, and required: its presence says that pages are raw
        b"\x40" + varint(_PROTOCOL_PAGES),
    ]
    body = b"".join(fields)
    return varint(len(body)) + body


_PAGE_END: Final = b"\x12" + varint(PAGE_BYTES)
_PAGE_BEGINNINGS: Final = [varint(1 + size + len(_PAGE_END) + PAGE_BYTES) + b"\x08" for size in range(11)]
"""By the length of the page's number."""


def page_head(number: int) -> bytes:
    """What goes before the bytes of page ``number``, counted from zero. Delimited."""
    name = varint(number)
    return _PAGE_BEGINNINGS[len(name)] + name + _PAGE_END


def parse_bitmap(raw: bytes, below: int) -> list[int]:
    """The values of a roaring bitmap that are smaller than ``below``, in order.

    A few bytes can stand for four thousand million values: what is not below is never made.

    Raises:
        Refused: If it is malformed.
    """
    try:
        return list(_values(raw, below))
    except (struct.error, IndexError, ValueError) as error:
        raise malformed("the selector of pages is not a roaring bitmap") from error


def _values(raw: bytes, below: int) -> Iterator[int]:
    (cookie,) = struct.unpack_from("<I", raw)
    if cookie == _NO_RUNS:
        (count,) = struct.unpack_from("<I", raw, 4)
        at, runs = 8, b""
    elif cookie & 0xFFFF == _RUNS:
        count = (cookie >> 16) + 1
        at = 4 + (count + 7) // 8
        runs = raw[4:at]
    else:
        raise ValueError(cookie)
    if count > 1 << 16:
        raise ValueError(count)
    heads = [struct.unpack_from("<HH", raw, at + 4 * n) for n in range(count)]
    at += 4 * count
    if not runs or count >= _OFFSETS_FROM:
        at += 4 * count
    last = -1
    for n, (key, cardinality_less_one) in enumerate(heads):
        if key <= last:
            raise ValueError(key)
        last = key
        run = bool(runs) and bool(runs[n // 8] >> n % 8 & 1)
        ends = [at]
        for value in _container(raw, ends, cardinality_less_one + 1, run=run, below=below - (key << 16)):
            yield (key << 16) + value
        at = ends[0]


def _container(raw: bytes, ends: list[int], cardinality: int, *, run: bool, below: int) -> Iterator[int]:
    """Its values below a bound; ``ends[0]`` is where it begins, and afterwards where it ends."""
    at = ends[0]
    if run:
        (count,) = struct.unpack_from("<H", raw, at)
        pairs = struct.unpack_from(f"<{2 * count}H", raw, at + 2)
        ends[0] = at + 2 + 4 * count
        for start, more in zip(pairs[::2], pairs[1::2], strict=True):
            yield from range(start, min(start + more + 1, below))
    elif cardinality <= _ARRAY_MAX:
        values = struct.unpack_from(f"<{cardinality}H", raw, at)
        ends[0] = at + 2 * cardinality
        yield from (value for value in values if value < below)
    else:
        (bits,) = struct.unpack_from(f"<{_BITSET_BYTES}s", raw, at)
        ends[0] = at + _BITSET_BYTES
        for n in range(min(_BITSET_BYTES * 8, max(below, 0))):
            if bits[n // 8] >> n % 8 & 1:
                yield n
