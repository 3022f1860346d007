"""What SQLite has in its write-ahead log: how far it is valid, and which frame holds which page.

Source: https://www.sqlite.org/walformat.html. Whether a frame is valid is told by checksums over all frames before
it, which SQLite has computed already: its index in shared memory says how far.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

from trueup.replication.wire import PAGE_BYTES

HEADER_BYTES: Final = 32
FRAME_HEAD_BYTES: Final = 24
FRAME_BYTES: Final = FRAME_HEAD_BYTES + PAGE_BYTES

_INDEX: Final = struct.Struct("=IIIBBHIIII8sII")
"""Version, unused, change, is initialised, big-endian checksums, page size, last valid frame, pages of the database,
two checksums of frames, the two salts, two checksums of the header. In the order of the machine."""
_COPIES: Final = 2


@dataclass(frozen=True, slots=True)
class Index:
    """The state of the log after the last commit."""

    salt: bytes
    """Another one after each time that the log begins anew."""
    frames: int
    """So many are valid."""
    pages: int
    """Of the database, after these frames; meaningless without any."""


def read_index(shared: int) -> Index:
    """The index of a database that this process has open, and that nobody is writing to.

    Args:
        shared: Descriptor of the ``-shm`` file. It has to stay open as long as SQLite has the database open: closing
            it frees all locks that this process holds on the file.

    Raises:
        OSError: If the index is not whole.
    """
    raw = os.pread(shared, _COPIES * _INDEX.size, 0)
    if len(raw) < _COPIES * _INDEX.size or raw[: _INDEX.size] != raw[_INDEX.size :]:
        raise OSError("the index of the write-ahead log is not whole")
    _, _, _, _, _, _, frames, pages, _, _, salt, _, _ = _INDEX.unpack_from(raw)
    return Index(salt, frames, pages)


def places(log: int, after: int, upto: int) -> dict[int, int]:
    """Where the bytes of each page begin that frames ``after + 1`` to ``upto`` hold; the last frame of a page counts.

    Args:
        log: Descriptor of the ``-wal`` file.
        after: Frames, counted from one, that are known.
        upto: The last valid frame.

    Returns:
        Offsets in the log by page number, counted from zero.
    """
    found = {}
    for frame in range(after, upto):
        at = HEADER_BYTES + frame * FRAME_BYTES
        (number,) = struct.unpack(">I", os.pread(log, 4, at))
        found[number - 1] = at + FRAME_HEAD_BYTES
    return found
