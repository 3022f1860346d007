"""Every version that anybody wrote, and who destroyed which: what has to be somewhere at the end."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from time import monotonic

from tests.engine.real_tree import digest, stamped


@dataclass(frozen=True)
class Version:
    """One content that nobody else has written."""

    what: str
    """Who wrote it, and under which name."""
    name: str
    side: str
    """`remote`, or the machine's."""
    began: float
    """Monotonic seconds: it was not there before."""
    ended: float
    """Monotonic seconds: it was there by then."""


@dataclass
class Ledger:
    """The versions of one round. Any thread may write to it."""

    seed: int
    versions: dict[bytes, Version] = field(default_factory=dict)
    """By their digests."""
    replaced: set[bytes] = field(default_factory=set)
    """What people destroyed themselves, having seen it: nobody else has to keep that."""
    _numbers: count[int] = field(default_factory=count)
    _lock: Lock = field(default_factory=Lock)

    def content(self, what: str, *, size: int = 0) -> bytes:
        """A content that nothing else has, some of it as large as a part of an upload."""
        with self._lock:
            number = next(self._numbers)
        stamp = f"{self.seed} {number} {what}"
        return stamped(stamp, stamp.encode() * max(1, size // len(stamp)))

    def wrote(self, content: bytes, what: str, name: str, side: str, began: float) -> None:
        """It is there now."""
        with self._lock:
            self.versions[digest(content)] = Version(f"{what} {name}", name, side, began, monotonic())

    def destroyed(self, seen: bytes) -> None:
        """A person replaced or removed it, and knew what it was."""
        with self._lock:
            self.replaced.add(seen)

    def lost(self, held: AbstractSet[bytes]) -> dict[bytes, Version]:
        """What is nowhere, though no person destroyed it."""
        gone = self.versions.keys() - held - self.replaced
        return {seen: self.versions[seen] for seen in gone}
