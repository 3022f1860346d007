"""Changes of an AgentFS database as SQL: the same statements run here, in a transaction, and at a remote.

Inodes are numbered by the database that is changed, so that two who add a file at once never get one number. At a
remote, what is changed was seen a moment ago in a copy: there each change begins with guards, statements that fail
unless all is still as it was seen.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trueup.stores.agentfs.look import CALL_FIELDS, FILE_MODE, Found, Inode, Sort
from trueup.stores.agentfs.names import value_name
from trueup.stores.agentfs.schema import DIRECTORY_MODE, ROOT, Statement, Value

GUARD = "fs_config.value"
"""What the message of a failed guard names: a row that cannot be, because its value is nothing."""
TOGETHER = 16
"""Chunks in one statement."""

_TIMED = "mode, nlink, atime, mtime, ctime, atime_nsec, mtime_nsec, ctime_nsec"
_CHANGED = "mtime = ?, mtime_nsec = ?, ctime = ?, ctime_nsec = ?"
_FRESH = "(SELECT seq FROM sqlite_sequence WHERE name = 'fs_inode')"
"""The inode that was made last: within a transaction, ours."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a path is to hold."""

    sort: Sort
    data: bytes
    mode: int | None
    """Permission bits; None: as before, or the usual ones."""
    modified_ns: int
    to: tuple[str, ...] = ()
    """For a further name: the path of the first one."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a change is made, and how long the chunks of the database are."""

    now_ns: int
    chunk: int

    @property
    def times(self) -> tuple[int, int]:
        """Seconds and the nanoseconds behind."""
        return divmod(self.now_ns, 10**9)


def must(condition: str, *values: Value) -> Statement:
    """Fails unless the condition holds."""
    return f"INSERT INTO fs_config (key, value) SELECT 'trueup', NULL WHERE NOT ({condition})", values


def place(parts: Sequence[str]) -> tuple[str, tuple[Value, ...]]:
    """An expression for the inode at a path."""
    sql: str = str(ROOT)
    for _ in parts:
        sql = f"(SELECT ino FROM fs_dentry WHERE parent_ino = {sql} AND name = ?)"
    return sql, tuple(parts)


def _absent(parts: Sequence[str]) -> tuple[str, tuple[Value, ...]]:
    above, values = place(parts[:-1])
    return f"NOT EXISTS (SELECT 1 FROM fs_dentry WHERE parent_ino = {above} AND name = ?)", (*values, parts[-1])


def guards(found: Found, samples: Sequence[tuple[int, bytes]]) -> list[Statement]:
    """That a path still holds what was seen there.

    Args:
        found: What was seen.
        samples: Chunks of it that are compared; of a small file all.
    """
    if found.sort is Sort.VALUE:
        return [must("EXISTS (SELECT 1 FROM kv_store WHERE key = ? AND CAST(value AS BLOB) = ?)", *_pair(found))]
    if found.inode is None:
        return []
    node = found.inode
    where, values = place(found.parts)
    statements = [must(f"{where} = ?", *values, node.ino)]
    if found.sort is Sort.FILE:
        statements.append(
            must(
                "EXISTS (SELECT 1 FROM fs_inode WHERE ino = ? AND mode = ? AND nlink = ? AND size = ? AND mtime = ? "
                "AND mtime_nsec = ? AND ctime = ? AND ctime_nsec = ?)",
                *(node.ino, node.mode, node.nlink, node.size, node.mtime, node.mtime_nsec, node.ctime, node.ctime_nsec),
            )
        )
        statements.append(must("(SELECT count(*) FROM fs_data WHERE ino = ?) = ?", node.ino, node.chunks))
        statements.append(must("(SELECT max(rowid) FROM fs_data WHERE ino = ?) IS ?", node.ino, node.last_row))
    statements += [
        must("EXISTS (SELECT 1 FROM fs_data WHERE ino = ? AND chunk_index = ? AND data = ?)", node.ino, *sample)
        for sample in samples
    ]
    if found.sort is Sort.LINK and found.data is not None:
        statements.append(
            must("EXISTS (SELECT 1 FROM fs_symlink WHERE ino = ? AND CAST(target AS BLOB) = ?)", node.ino, found.data)
        )
    return statements


def _pair(found: Found) -> tuple[Value, ...]:
    return value_name(found.key), found.data


# -- directories -----------------------------------------------------------------------------------------------------


def directories(parts: Sequence[str], moment: Moment) -> list[Statement]:
    """Make a directory and those above, as far as they are not there."""
    statements: list[Statement] = []
    seconds, nanoseconds = moment.times
    for n in range(1, len(parts) + 1):
        absent, values = _absent(parts[:n])
        above, above_values = place(parts[: n - 1])
        statements.append(
            (
                f"INSERT INTO fs_inode ({_TIMED}) SELECT ?, 1, ?, ?, ?, ?, ?, ? WHERE {absent}",
                (DIRECTORY_MODE, *[seconds] * 3, *[nanoseconds] * 3, *values),
            )
        )
        statements.append(
            (
                f"INSERT INTO fs_dentry (name, parent_ino, ino) SELECT ?, {above}, {_FRESH} WHERE {absent}",
                (parts[n - 1], *above_values, *values),
            )
        )
        statements.append(_is_directory(parts[:n]))
    return statements


def _is_directory(parts: Sequence[str]) -> Statement:
    where, values = place(parts)
    return must(f"EXISTS (SELECT 1 FROM fs_inode WHERE ino = {where} AND (mode & 61440) = 16384)", *values)


def remove_directory(parts: Sequence[str], node: Inode) -> list[Statement]:
    """Remove an empty directory."""
    where, values = place(parts)
    return [
        must(f"{where} = ?", *values, node.ino),
        must("NOT EXISTS (SELECT 1 FROM fs_dentry WHERE parent_ino = ?)", node.ino),
        *_unlink(parts, node.ino, 1),
    ]


# -- files and links ---------------------------------------------------------------------------------------------------


def create(parts: Sequence[str], body: Body, moment: Moment) -> list[Statement]:
    """Put something where nothing is."""
    absent, values = _absent(parts)
    statements = [*directories(parts[:-1], moment), must(absent, *values)]
    above, above_values = place(parts[:-1])
    if body.sort is Sort.SAME:
        first, first_values = place(body.to)
        statements.append(
            must(f"EXISTS (SELECT 1 FROM fs_inode WHERE ino = {first} AND (mode & 61440) = 32768)", *first_values)
        )
        statements.append(
            (
                f"INSERT INTO fs_dentry (name, parent_ino, ino) SELECT ?, {above}, {first}",
                (parts[-1], *above_values, *first_values),
            )
        )
        statements.append((f"UPDATE fs_inode SET nlink = nlink + 1 WHERE ino = {first}", first_values))
        return statements
    seconds, nanoseconds = divmod(body.modified_ns, 10**9)
    now, now_nsec = moment.times
    statements.append(
        (
            f"INSERT INTO fs_inode ({_TIMED}, size) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)",
            (_type_and_mode(body, None), now, seconds, now, now_nsec, nanoseconds, now_nsec, len(body.data)),
        )
    )
    statements.append(
        (f"INSERT INTO fs_dentry (name, parent_ino, ino) SELECT ?, {above}, {_FRESH}", (parts[-1], *above_values))
    )
    if body.sort is Sort.LINK:
        target = body.data.decode("utf-8", "surrogateescape")
        statements.append((f"INSERT INTO fs_symlink (ino, target) SELECT {_FRESH}, ?", (target,)))
        return statements
    return [*statements, *_chunks(_FRESH, (), body.data, moment.chunk)]


def replace(found: Found, body: Body, moment: Moment) -> list[Statement]:
    """Put something else in the place of what was found. A file stays the same file, under all its names."""
    node = found.inode
    if node is None:
        return []
    if found.sort is not Sort.FILE or body.sort is not Sort.FILE:
        return [*remove(found), *create(found.parts, body, moment)]
    seconds, nanoseconds = divmod(body.modified_ns, 10**9)
    now, now_nsec = moment.times
    return [
        ("DELETE FROM fs_data WHERE ino = ?", (node.ino,)),
        *_chunks("?", (node.ino,), body.data, moment.chunk),
        (
            f"UPDATE fs_inode SET mode = ?, size = ?, {_CHANGED} WHERE ino = ?",
            (_type_and_mode(body, node), len(body.data), seconds, nanoseconds, now, now_nsec, node.ino),
        ),
    ]


def remove(found: Found) -> list[Statement]:
    """Remove one name of what was found; with its last one it goes."""
    return [] if found.inode is None else _unlink(found.parts, found.inode.ino, found.inode.nlink)


def move(found: Found, parts: Sequence[str], moment: Moment) -> list[Statement]:
    """Give what was found another name."""
    absent, absent_values = _absent(parts)
    above, above_values = place(parts[:-1])
    origin, origin_values = place(found.parts[:-1])
    now, now_nsec = moment.times
    ino = 0 if found.inode is None else found.inode.ino
    return [
        *directories(parts[:-1], moment),
        must(absent, *absent_values),
        (
            f"UPDATE fs_dentry SET parent_ino = {above}, name = ? WHERE parent_ino = {origin} AND name = ?",
            (*above_values, parts[-1], *origin_values, found.parts[-1]),
        ),
        ("UPDATE fs_inode SET ctime = ?, ctime_nsec = ? WHERE ino = ?", (now, now_nsec, ino)),
    ]


def mode_after(body: Body, found: Found | None) -> int | None:
    """The permission bits that a file will have."""
    if body.sort is not Sort.FILE:
        return None
    node = None if found is None or found.sort is not Sort.FILE else found.inode
    return stat.S_IMODE(_type_and_mode(body, node))


def _type_and_mode(body: Body, node: Inode | None) -> int:
    if body.sort is Sort.LINK:
        return stat.S_IFLNK | 0o777
    kept = FILE_MODE if node is None else stat.S_IMODE(node.mode)
    return stat.S_IFREG | (kept if body.mode is None else body.mode)


def _unlink(parts: Sequence[str], ino: int, links: int) -> list[Statement]:
    above, values = place(parts[:-1])
    statements: list[Statement] = [
        (f"DELETE FROM fs_dentry WHERE parent_ino = {above} AND name = ? AND ino = ?", (*values, parts[-1], ino))
    ]
    if links > 1:
        return [*statements, ("UPDATE fs_inode SET nlink = nlink - 1 WHERE ino = ?", (ino,))]
    gone = ("fs_data", "fs_symlink", "fs_inode")
    return [*statements, *((f"DELETE FROM {table} WHERE ino = ?", (ino,)) for table in gone)]  # own names


def _chunks(ino: str, values: tuple[Value, ...], data: bytes, size: int) -> Iterator[Statement]:
    pieces = [(index, data[start : start + size]) for index, start in enumerate(range(0, len(data), size))]
    for start in range(0, len(pieces), TOGETHER):
        some = pieces[start : start + TOGETHER]
        rows = ", ".join([f"({ino}, ?, ?)"] * len(some))
        arguments = tuple(value for piece in some for value in (*values, *piece))
        yield f"INSERT INTO fs_data (ino, chunk_index, data) VALUES {rows}", arguments  # own text


# -- key-value pairs and tool calls ------------------------------------------------------------------------------------


def put_value(name: str, value: str, found: Found | None, modified_ns: int, moment: Moment) -> list[Statement]:
    """Set a pair; of a new one the database itself refuses a second."""
    seconds = modified_ns // 10**9
    if found is not None:
        return [("UPDATE kv_store SET value = ?, updated_at = ? WHERE key = ?", (value, seconds, name))]
    values = (name, value, moment.times[0], seconds)
    return [("INSERT INTO kv_store (key, value, created_at, updated_at) VALUES (?, ?, ?, ?)", values)]


def remove_value(name: str) -> list[Statement]:
    """Remove a pair."""
    return [("DELETE FROM kv_store WHERE key = ?", (name,))]


def rename_value(name: str, new: str) -> list[Statement]:
    """Give a pair another name; the database itself refuses one that is taken."""
    return [("UPDATE kv_store SET key = ? WHERE key = ?", (new, name))]


def add_call(fields: tuple[Value, ...], nth: int) -> list[Statement]:
    """Add the n-th of equal calls."""
    columns, marks = ", ".join(CALL_FIELDS), ", ".join("?" * len(CALL_FIELDS))
    insert = f"INSERT INTO tool_calls ({columns}) VALUES ({marks})"  # own names
    return [must(f"(SELECT count(*) FROM tool_calls WHERE {_ALIKE}) = ?", *fields, nth - 1), (insert, fields)]


def remove_call(fields: tuple[Value, ...], times: int) -> list[Statement]:
    """Remove one of so many equal calls."""
    return [
        must(f"(SELECT count(*) FROM tool_calls WHERE {_ALIKE}) = ?", *fields, times),
        (f"DELETE FROM tool_calls WHERE id = (SELECT max(id) FROM tool_calls WHERE {_ALIKE})", fields),
    ]


_ALIKE = " AND ".join(f"{name} IS ?" for name in CALL_FIELDS)
