"""What a memory holds, and how content gets into it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from blake3 import blake3

from trueup.core.errors import Corrupt
from trueup.core.model import DIRECTORY_CONTENT, DIRECTORY_TOKEN, Content, Entry, Fingerprint, Key, Kind, Token
from trueup.protocols import Discarded, Source


@dataclass(frozen=True, slots=True)
class Node:
    """One version of one item."""

    key: Key
    kind: Kind
    token: Token
    data: bytes = b""
    modified_ns: int = 0
    mode: int | None = None
    why: str = ""
    """Of an opaque kind: why."""

    def entry(self, *, fingerprint: bool) -> Entry:
        """The version as it is observed; with its fingerprint if that is to be free."""
        if self.kind is Kind.DIRECTORY:
            return Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT, self.modified_ns, self.mode)
        known = digest(self.data) if fingerprint else None
        return Entry(self.token, Content(self.kind, len(self.data), known), self.modified_ns, self.mode)


@dataclass(frozen=True, slots=True)
class Kept:
    """One version in the trash."""

    discarded: Discarded
    data: bytes


@dataclass(slots=True)
class MemoryState:
    """All that a memory holds. It outlives stores: keep it over a crash, or give it to two of them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    """By folded key (`Names.folded`)."""
    trash: dict[str, Kept] = field(default_factory=dict)
    """By handle."""
    staged: dict[int, tuple[Key, bytes]] = field(default_factory=dict)
    """What arrived and has no name yet: the temporary files of this store."""
    marker: str | None = None
    held: tuple[int, str] | None = None
    """Who holds the root: number of the hold, and the holder."""
    counter: int = 0
    """The last number given out; tokens, handles and holds are numbered."""

    def number(self) -> int:
        """A number that was never given out."""
        self.counter += 1
        return self.counter

    def crash(self) -> None:
        """The process that holds the root is dead; what it had staged stays for `MemoryStore.clean`."""
        self.held = None

    @property
    def used_bytes(self) -> int:
        """Bytes of everything: live, in the trash and staged."""
        live = sum(len(node.data) for node in self.nodes.values())
        kept = sum(len(kept.data) for kept in self.trash.values())
        return live + kept + sum(len(data) for _, data in self.staged.values())


def digest(data: bytes) -> Fingerprint:
    """BLAKE3."""
    return Fingerprint("blake3", blake3(data).hexdigest())


def fetch(key: Key, source: Source) -> tuple[bytes, Fingerprint]:
    """Read a source to its end.

    Raises:
        Corrupt: If its bytes are not the bytes promised.
    """
    buffer = bytearray()
    with source.open() as chunks:
        for chunk in chunks:
            buffer += chunk
    data = bytes(buffer)
    if len(data) != source.size:
        raise Corrupt(f"{key!r} arrived with {len(data)} bytes", why=f"{source.size} were promised")
    arrived = digest(data)
    promised = source.fingerprint
    if promised is not None:
        same = arrived.digest if promised.algorithm == "blake3" else hashlib.new(promised.algorithm, data).hexdigest()
        if same != promised.digest:
            raise Corrupt(f"{key!r} arrived with other content than promised", why=f"{same}, not {promised.digest}")
    return data, arrived
