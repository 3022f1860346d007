"""What an AgentFS database holds, as items. Works on a connection that is in a transaction."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from blake3 import blake3

from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    OPAQUE_TOKEN,
    Content,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Row,
    Token,
    key_bytes,
)
from trueup.stores.agentfs.names import (
    CALLS,
    RESERVED,
    Space,
    key_of,
    parts_of,
    problem,
    space_of,
    value_key,
    value_name,
)
from trueup.stores.agentfs.schema import ROOT, Value, chunk_bytes

FILE_MODE = 0o644
SAME_MODE = 0o170000
"""Type bits of an item that is another name of a file; its content is that file's key. No system uses them."""
MAGIC = b"\0trueup agentfs "
SAMPLED_CHUNKS = 8
"""How many chunks of a file, from its beginning and from its end, are compared where it cannot be read as a whole."""
CALL_FIELDS = ("name", "parameters", "result", "error", "status", "started_at", "completed_at", "duration_ms")

_INODE = (
    "SELECT ino, mode, nlink, size, mtime, mtime_nsec, ctime, ctime_nsec, "
    "(SELECT count(*) FROM fs_data d WHERE d.ino = i.ino), (SELECT max(rowid) FROM fs_data d WHERE d.ino = i.ino) "
    "FROM fs_inode i"
)


class Sort(StrEnum):
    """What an item is, in the database's own terms."""

    FILE = "file"
    LINK = "link"
    """A symbolic link; its content is where it points to."""
    SAME = "same"
    """A further name of a file that has several: all but the first are; its content is the first one's key."""
    DIRECTORY = "directory"
    VALUE = "value"
    CALL = "call"
    OTHER = "other"
    """A device, a socket: seen and left alone."""


@dataclass(frozen=True, slots=True)
class Inode:
    """A row of ``fs_inode``, and how the rows of its data are numbered: all that changes with an edit."""

    ino: int
    mode: int
    nlink: int
    size: int
    mtime: int
    mtime_nsec: int
    ctime: int
    ctime_nsec: int
    chunks: int
    last_row: int | None

    @property
    def modified_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self.mtime * 10**9 + self.mtime_nsec

    @property
    def changed_s(self) -> int:
        """When it was changed last, as it tells."""
        return max(self.mtime, self.ctime)

    @property
    def stamp(self) -> str:
        """Differs after nearly every edit: not after one of the same size in the same second, of the last rows."""
        return (
            f"{self.mode}.{self.nlink}.{self.size}.{self.mtime}.{self.mtime_nsec}.{self.ctime}.{self.ctime_nsec}."
            f"{self.chunks}.{self.last_row}"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One item."""

    key: Key
    sort: Sort
    size: int
    digest: str
    modified_ns: int
    mode: int | None
    parts: tuple[str, ...] = ()
    """Of a path."""
    inode: Inode | None = None
    data: bytes | None = field(default=None, repr=False)
    """The content of what is no file, which is read anyway."""
    times: int = 1
    """How many equal tool calls there are."""

    @property
    def rows(self) -> int:
        """How many rows of the database hold it: a name, its inode, and what that holds."""
        match self.sort:
            case Sort.FILE:
                return 2 + (0 if self.inode is None else self.inode.chunks)
            case Sort.LINK:
                return 3
            case Sort.DIRECTORY | Sort.OTHER:
                return 2
            case Sort.SAME | Sort.VALUE | Sort.CALL:
                return 1

    @property
    def token(self) -> Token:
        """Names the content and what it is."""
        return DIRECTORY_TOKEN if self.sort is Sort.DIRECTORY else token_of(self.digest)

    @property
    def entry(self) -> Entry:
        """As the engine sees it."""
        if self.sort is Sort.DIRECTORY:
            return Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT, self.modified_ns, self.mode)
        content = Content(Kind.FILE, self.size, Fingerprint("blake3", self.digest))
        return Entry(self.token, content, self.modified_ns, self.mode)

    @property
    def row(self) -> Row:
        """As the engine sees it in a listing."""
        raw = key_bytes(self.key)
        if self.sort is Sort.DIRECTORY:
            return (raw, DIRECTORY_TOKEN, Kind.DIRECTORY, 0, self.modified_ns, self.mode, "")
        if self.sort is Sort.OTHER:
            return (raw, OPAQUE_TOKEN, Kind.SKIPPED, 0, 0, None, "neither a file nor a directory nor a link")
        return (raw, self.token, Kind.FILE, self.size, self.modified_ns, self.mode, f"blake3:{self.digest}")


class Digests(Protocol):
    """Remembers what files hashed to."""

    def known(self) -> dict[int, tuple[str, str]]:
        """Stamp and digest by inode."""
        ...

    def learn(self, found: dict[int, tuple[str, str]]) -> None:
        """Remember these too."""
        ...


def token_of(digest: str) -> Token:
    """The version of what has this digest."""
    return Token(digest[:40])


def digest_of(data: bytes, sort: Sort, mode: int | None) -> str:
    """BLAKE3 of the content; where it is not the plain content of a plain file, with what it is in front."""
    plain = sort is Sort.FILE and mode in (None, FILE_MODE) and not data.startswith(MAGIC)
    front = b"" if plain else MAGIC + (f"{sort.value} {mode:o}\n" if sort is Sort.FILE else f"{sort.value}\n").encode()
    digest = blake3(front)
    digest.update(data)
    return digest.hexdigest()


# -- paths -----------------------------------------------------------------------------------------------------------


def inode(db: sqlite3.Connection, ino: int) -> Inode | None:
    """The inode of that number."""
    row = db.execute(f"{_INODE} WHERE ino = ?", (ino,)).fetchone()
    return None if row is None else Inode(*row)


def child(db: sqlite3.Connection, parent: int, name: str) -> int | None:
    """The inode that has a name in a directory."""
    row = db.execute("SELECT ino FROM fs_dentry WHERE parent_ino = ? AND name = ?", (parent, name)).fetchone()
    return None if row is None else int(row[0])


def resolve(db: sqlite3.Connection, parts: tuple[str, ...]) -> Inode | None:
    """What is at a path; links are not followed, and nothing is below a file."""
    node = inode(db, ROOT)
    for name in parts:
        if node is None or not stat.S_ISDIR(node.mode):
            return None
        ino = child(db, node.ino, name)
        node = None if ino is None else inode(db, ino)
    return node


def content(db: sqlite3.Connection, node: Inode, chunk: int) -> bytes:
    """The bytes of a file; what no row holds reads as zeros."""
    pieces: list[bytes] = []
    length = 0
    for index, data in db.execute(
        "SELECT chunk_index, data FROM fs_data WHERE ino = ? ORDER BY chunk_index", (node.ino,)
    ):
        if index * chunk > length:
            pieces.append(bytes(index * chunk - length))
            length = index * chunk
        pieces.append(bytes(data))
        length += len(data)
    whole = b"".join(pieces)
    return whole[: node.size] if length >= node.size else whole + bytes(node.size - length)


def target(db: sqlite3.Connection, node: Inode) -> bytes:
    """Where a symbolic link points to."""
    row = db.execute("SELECT target FROM fs_symlink WHERE ino = ?", (node.ino,)).fetchone()
    return b"" if row is None else key_bytes(Key(row[0]))


def first_name(db: sqlite3.Connection, node: Inode) -> Key | None:
    """Of the keys of a file with several names, the first."""
    if node.nlink <= 1:
        return None
    names = db.execute("SELECT parent_ino, name FROM fs_dentry WHERE ino = ?", (node.ino,)).fetchall()
    keys = [key for parent, name in names if (key := _upwards(db, parent, name)) is not None]
    return min(keys, key=key_bytes) if len(keys) > 1 else None


def _upwards(db: sqlite3.Connection, parent: int, name: str) -> Key | None:
    parts = [name]
    seen = {parent}
    while parent != ROOT:
        row = db.execute("SELECT parent_ino, name FROM fs_dentry WHERE ino = ?", (parent,)).fetchone()
        if row is None or row[0] in seen:
            return None
        parent = row[0]
        seen.add(parent)
        parts.append(row[1])
    return key_of(tuple(reversed(parts)))


def _path(
    db: sqlite3.Connection, key: Key, parts: tuple[str, ...], node: Inode, first: Key | None, digest: str, chunk: int
) -> Found:
    """An item of the tree. A digest that is known already saves reading the file."""
    kind = stat.S_IFMT(node.mode)
    if kind == stat.S_IFDIR:
        return Found(key, Sort.DIRECTORY, 0, "", node.modified_ns, None, parts, node)
    if kind == stat.S_IFLNK:
        data, sort, mode = target(db, node), Sort.LINK, stat.S_IFLNK | 0o777
    elif kind != stat.S_IFREG:
        return Found(key, Sort.OTHER, 0, "", node.modified_ns, None, parts, node)
    elif first is not None and first != key:
        data, sort, mode = key_bytes(first), Sort.SAME, SAME_MODE
    else:
        mode = stat.S_IMODE(node.mode)
        digest = digest or digest_of(content(db, node, chunk), Sort.FILE, mode)
        return Found(key, Sort.FILE, node.size, digest, node.modified_ns, mode, parts, node)
    return Found(key, sort, len(data), digest_of(data, sort, None), node.modified_ns, mode, parts, node, data)


# -- key-value pairs and tool calls ------------------------------------------------------------------------------------


def _value(name: str, value: object, updated_at: int | None) -> Found:
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    digest = digest_of(data, Sort.VALUE, None)
    return Found(value_key(name), Sort.VALUE, len(data), digest, (updated_at or 0) * 10**9, None, data=data)


def call_document(fields: tuple[Value, ...]) -> bytes:
    """A tool call as content: a JSON object with the columns, ids apart."""
    named = dict(zip(CALL_FIELDS, fields, strict=True))
    return json.dumps(named, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogateescape"
    )


def call_fields(data: bytes) -> tuple[Value, ...] | None:
    """Inverse of `call_document`; None if it is none."""
    try:
        named = json.loads(data)
        fields = tuple(named[name] for name in CALL_FIELDS)
    except (ValueError, KeyError, TypeError):
        return None
    return fields if call_document(fields) == data and named["name"] is not None else None


def call_key(data: bytes, nth: int) -> Key:
    """The key of the n-th of equal calls; the first is 1."""
    fields = call_fields(data)
    began = int(fields[5] or 0) if fields is not None else 0
    return Key(f"{CALLS}/{began}-{blake3(data).hexdigest()[:16]}" + (f".{nth}" if nth > 1 else ""))


def _calls(db: sqlite3.Connection, began: int | None = None) -> Iterator[Found]:
    """Those that have ended: one that is running belongs to the agent that runs it, and travels when it has ended.

    Args:
        db: In a transaction.
        began: When they must have begun, which an index knows; None: whenever.
    """
    columns = ", ".join(CALL_FIELDS)
    query = f"SELECT {columns} FROM tool_calls WHERE status <> 'pending'"  # own names
    counts: dict[tuple[Value, ...], int] = defaultdict(int)
    for fields in db.execute(f"{query} AND started_at = ?", (began,)) if began is not None else db.execute(query):
        counts[fields] += 1
    for fields, times in counts.items():
        data = call_document(fields)
        ended = fields[6] or fields[5]
        ended_ns = ended * 10**9 if isinstance(ended, int) else 0
        digest = digest_of(data, Sort.CALL, None)
        for nth in range(1, times + 1):
            yield Found(call_key(data, nth), Sort.CALL, len(data), digest, ended_ns, None, data=data, times=times)


# -- all, and one ------------------------------------------------------------------------------------------------------


def listing(db: sqlite3.Connection, digests: Digests, *, now_s: int) -> list[Found]:
    """Every item, in key order.

    Args:
        db: In a transaction, so that all is of one moment.
        digests: What files hashed to before; what is hashed now is added, unless it is so young that another edit
            could bear the same stamp.
        now_s: The time.
    """
    found = [*_tree(db, digests, now_s), *_calls(db)]
    found += [_value(*row) for row in db.execute("SELECT key, value, updated_at FROM kv_store")]
    return sorted(found, key=lambda one: key_bytes(one.key))


def _tree(db: sqlite3.Connection, digests: Digests, now_s: int) -> Iterator[Found]:
    names: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for parent, name, ino in db.execute("SELECT parent_ino, name, ino FROM fs_dentry"):
        names[parent].append((name, ino))
    nodes = _inodes(db)
    paths: list[tuple[Key, tuple[str, ...], Inode]] = []
    firsts: dict[int, list[Key]] = defaultdict(list)
    walk: list[tuple[tuple[str, ...], int]] = [((), ROOT)]
    entered = {ROOT}
    while walk:
        above, directory = walk.pop()
        for name, ino in names[directory]:
            node = nodes.get(ino)
            parts = (*above, name)
            if node is None or parts[0] == RESERVED:
                continue
            is_directory = stat.S_ISDIR(node.mode)
            if is_directory and ino in entered:
                continue  # a loop, which no SDK makes
            key = key_of(parts, directory=is_directory)
            paths.append((key, parts, node))
            if is_directory:
                entered.add(ino)
                walk.append((parts, ino))
            elif node.nlink > 1:
                firsts[ino].append(key)
    yield from _items(
        db, paths, {ino: min(keys, key=key_bytes) for ino, keys in firsts.items() if len(keys) > 1}, digests, now_s
    )


def _inodes(db: sqlite3.Connection) -> dict[int, Inode]:
    """All of them, with the numbering of their data from one walk of its index."""
    rows = {row[0]: row[1:] for row in db.execute("SELECT ino, count(*), max(rowid) FROM fs_data GROUP BY ino")}
    query = "SELECT ino, mode, nlink, size, mtime, mtime_nsec, ctime, ctime_nsec FROM fs_inode"
    return {row[0]: Inode(*row, *rows.get(row[0], (0, None))) for row in db.execute(query)}


def _items(
    db: sqlite3.Connection,
    paths: list[tuple[Key, tuple[str, ...], Inode]],
    firsts: dict[int, Key],
    digests: Digests,
    now_s: int,
) -> Iterator[Found]:
    known, fresh = digests.known(), {}
    chunk = chunk_bytes(db)
    for key, parts, node in paths:
        stamp, digest = known.get(node.ino, ("", ""))
        one = _path(db, key, parts, node, firsts.get(node.ino), digest if stamp == node.stamp else "", chunk)
        if why := problem(key):
            yield Found(Key(key), Sort.OTHER, 0, why, 0, None, parts, node)
            continue
        if one.sort is Sort.FILE and stamp != node.stamp and node.changed_s < now_s - 1:
            fresh[node.ino] = (node.stamp, one.digest)
        yield one
    digests.learn(fresh)


def find(db: sqlite3.Connection, key: Key) -> Found | None:
    """What is there under exactly this key."""
    space = space_of(key)
    if space is Space.VALUE:
        name = value_name(key)
        row = db.execute("SELECT key, value, updated_at FROM kv_store WHERE key = ?", (name,)).fetchone()
        return None if row is None or value_key(name) != key else _value(*row)
    if space is Space.CALL:
        return _call(db, key)
    parts = parts_of(key)
    node = resolve(db, parts)
    if node is None or stat.S_ISDIR(node.mode) != key.endswith("/"):
        return None
    return _path(db, key, parts, node, first_name(db, node), "", chunk_bytes(db))


def _call(db: sqlite3.Connection, key: Key) -> Found | None:
    began = key.removeprefix(CALLS + "/").partition("-")[0]
    if not began.isdigit():
        return None
    return next((one for one in _calls(db, int(began)) if one.key == key), None)


def bytes_of(db: sqlite3.Connection, found: Found) -> bytes:
    """The content of an item."""
    if found.data is not None:
        return found.data
    return b"" if found.inode is None else content(db, found.inode, chunk_bytes(db))


def samples(db: sqlite3.Connection, node: Inode) -> list[tuple[int, bytes]]:
    """Some chunks of a file, all of a small one: index and data."""
    query = "SELECT chunk_index, data FROM fs_data WHERE ino = ? ORDER BY chunk_index"
    head = db.execute(f"{query} LIMIT ?", (node.ino, SAMPLED_CHUNKS)).fetchall()
    tail = db.execute(f"{query} DESC LIMIT ?", (node.ino, SAMPLED_CHUNKS)).fetchall()
    return sorted({index: bytes(data) for index, data in [*head, *tail]}.items())


def empty_below(
    db: sqlite3.Connection, directory: Inode, parts: tuple[str, ...]
) -> list[tuple[tuple[str, ...], Inode]] | None:
    """The directories below, deepest first, if there is nothing else; None if there is."""
    below: list[tuple[tuple[str, ...], Inode]] = []
    for name, ino in db.execute("SELECT name, ino FROM fs_dentry WHERE parent_ino = ?", (directory.ino,)).fetchall():
        node = inode(db, ino)
        if node is None or not stat.S_ISDIR(node.mode):
            return None
        deeper = empty_below(db, node, (*parts, name))
        if deeper is None:
            return None
        below += [*deeper, ((*parts, name), node)]
    return below
