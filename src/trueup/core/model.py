"""The nouns: keys, versions, entries, and what both sides last agreed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NewType

Key = NewType("Key", str)
"""Name of an item below its root.

Components are joined by ``/``, without a leading one; a directory's key ends in ``/``, so a file and a directory of
one name are two keys. Bytes that are not UTF-8 are surrogate-escaped. Keys are ordered by their bytes (`key_bytes`),
never by Python's ``str`` order, which differs for surrogates.
"""

Side = NewType("Side", str)
"""Role of a place that holds items: ``local``, ``remote``, ``record``, ``disk``, ..."""

LOCAL = Side("local")
REMOTE = Side("remote")

Token = NewType("Token", str)
"""Opaque version of one item on one side (an ETag, a stat tuple). Equal tokens mean: nobody wrote in between."""

DIRECTORY_TOKEN = Token("directory")
"""Every directory has this token: its only content is that it exists."""


class Kind(StrEnum):
    """What an observed item is. All but the first two can be seen and not copied: between folders they are unknown."""

    FILE = "file"
    DIRECTORY = "directory"
    UNREADABLE = "unreadable"
    SKIPPED = "skipped"
    """A symbolic link, a device, a socket: never followed, never replaced."""
    FILTERED = "filtered"
    """Excluded by size: there, but not ours to judge."""
    DAMAGED = "damaged"
    """There, and known not to be whole: a side of a table says so of its own items."""
    RECORD = "record"
    """No content, but what is recorded about some."""


OPAQUE_KINDS = frozenset({Kind.UNREADABLE, Kind.SKIPPED, Kind.FILTERED, Kind.DAMAGED})

Row = tuple[bytes, Token, Kind, int, int, int | None, str]
"""One observed item on the fast path, as stores produce it by the million.

``(key, token, kind, size, modified_ns, mode, note)``: key in bytes, size in bytes, time in nanoseconds since the
epoch, permission bits or None. For a file the note is its fingerprint where the listing says it, else empty; for an
opaque kind it says why; for a record it is the record's text; a directory's size is the number of filtered items in it.
"""

AncestorRow = tuple[bytes, Token, Token]
"""Key and both tokens of an ancestor on the fast path; its content is looked up for differences only."""

UNTRUSTED = Token("")
"""Remembered in place of a token that could not reveal a later edit; equals no version that a store names."""

OPAQUE_TOKEN = Token("?")
"""Token of opaque rows. It equals no ancestor's: those hold a real token, or an empty one that is never trusted."""


def key_bytes(key: Key) -> bytes:
    """The bytes that order keys and name them in stores."""
    return key.encode("utf-8", "surrogateescape")


def key_from_bytes(raw: bytes) -> Key:
    """Inverse of `key_bytes`."""
    return Key(raw.decode("utf-8", "surrogateescape"))


def is_directory(key: Key) -> bool:
    """Whether the key names a directory."""
    return key.endswith("/")


def range_below(file: Key) -> tuple[bytes, bytes]:
    """The range of keys, both ends excluded, of what lies below a directory of a file's name: ``a/`` to ``a0``."""
    raw = key_bytes(file)
    return raw + b"/", raw + b"0"


def parents(key: Key) -> list[Key]:
    """The keys of all directories above, outermost first: ``a/b/c`` -> ``a/``, ``a/b/``."""
    parts = key.rstrip("/").split("/")[:-1]
    return [Key("/".join(parts[: n + 1]) + "/") for n in range(len(parts))]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digest of content. Fingerprints of different algorithms are incomparable, never different."""

    algorithm: str
    digest: str
    """Lower-case hexadecimal."""

    def __str__(self) -> str:
        """As ``algorithm:digest``."""
        return f"{self.algorithm}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Fingerprint | None:
        """Inverse of ``str``; None for the empty string."""
        algorithm, _, digest = text.partition(":")
        return cls(algorithm, digest) if digest else None


@dataclass(frozen=True, slots=True)
class Content:
    """What an item holds, as far as it is known."""

    kind: Kind
    size: int
    """Bytes; 0 for a directory."""
    fingerprint: Fingerprint | None = None


DIRECTORY_CONTENT = Content(Kind.DIRECTORY, 0)


def same_content(one: Content, other: Content) -> bool | None:
    """Whether two contents are equal; None if only a closer look can tell."""
    if one.kind is not other.kind:
        return False
    if one.kind is Kind.DIRECTORY:
        return True
    if one.size != other.size:
        return False
    a, b = one.fingerprint, other.fingerprint
    if a is None or b is None or a.algorithm != b.algorithm:
        return None
    return a.digest == b.digest


@dataclass(frozen=True, slots=True)
class Entry:
    """One item as observed on one side."""

    token: Token
    content: Content
    modified_ns: int = 0
    """Nanoseconds since the epoch, by that side's clock."""
    mode: int | None = None
    """Permission bits, where the side has them."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The side could not say whether it holds the item, or what it is. Unknown is never missing."""

    why: str
    kind: Kind = Kind.UNREADABLE
    hidden: int = 0
    """How many items of the other side and the ancestor lie below, equally unknown."""


def entry_from_row(row: Row) -> Entry:
    """The observed item as a value; the row must not be of an opaque kind."""
    if row[2] is Kind.DIRECTORY:
        return Entry(row[1], Content(Kind.DIRECTORY, row[3]), row[4], row[5])
    return Entry(row[1], Content(row[2], row[3], Fingerprint.parse(row[6])), row[4], row[5])


Seen = Entry | Unknown | None
"""What one side showed for a key; None means: looked, and it is not there."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """The side holds the item, and says that it is not whole. Damaged is neither present nor missing."""

    why: str
    token: Token
    size: int = 0
    """Bytes, as many as are there."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is recorded about an item: a JSON object as text, in the form that `record` gives it."""

    document: str

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Record:
        """Equal fields make equal records."""
        return cls(json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")))

    @property
    def fields(self) -> dict[str, Any]:
        """The object."""
        fields: dict[str, Any] = json.loads(self.document)
        return fields


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a side that records showed."""

    token: Token
    record: Record


Shown = Seen | Damaged | Recorded
"""What a side of a table showed: content, records, and that an item is not whole."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """What both sides held when they last agreed on a key."""

    local: Token
    """The local version then; empty if the token could not be trusted to reveal a later edit."""
    remote: Token
    content: Content


@dataclass(frozen=True, slots=True)
class Difference:
    """A key on which the sides and the ancestor are not plainly the same."""

    key: Key
    local: Seen
    remote: Seen
    ancestor: Ancestor | None

    def side(self, side: Side) -> Seen:
        """What the named side showed."""
        return self.local if side == LOCAL else self.remote
