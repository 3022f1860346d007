"""From an effect to what it means for a database as it is seen: statements, and what goes to the trash."""

from __future__ import annotations

import hashlib
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from blake3 import blake3

from trueup.core.errors import Corrupt, PreconditionFailed, StoreError, Unaddressable
from trueup.core.model import DIRECTORY_TOKEN, Fingerprint, Key, Token, is_directory
from trueup.protocols import Effect, Move, Put, Remove, Source, Trash, Written
from trueup.stores.agentfs import look, script
from trueup.stores.agentfs.beside import Kept
from trueup.stores.agentfs.look import SAME_MODE, Found, Sort, digest_of, token_of
from trueup.stores.agentfs.names import Space, canonical, parts_of, problem, space_of, value_name
from trueup.stores.agentfs.schema import CHUNK_BYTES, Statement, beginning, chunk_bytes
from trueup.stores.agentfs.script import Body, Moment


@dataclass(frozen=True, slots=True)
class Change:
    """One effect on a database that was seen."""

    statements: list[Statement]
    written: Written
    guards: list[Statement]
    """What has to hold besides, where the database may have changed since it was seen."""
    kept: Kept | None = None
    """The version that is replaced, if it is to be kept."""
    moved: Key | None = None
    """A file of several names that was moved here: what version it is now has to be looked up."""


Plan = Callable[[sqlite3.Connection | None, int], Change]
"""What to do to a database as it is seen (None: there is none yet) at a time in nanoseconds.

Raises:
    PreconditionFailed: If what is expected is not there.
"""


def put(key: Key, source: Source, expect: Token | None, trash: Trash | None) -> Plan:
    """Put content under a name.

    The source is read here, before anything is locked.

    Raises:
        Unaddressable: If no item can have the name, or the content.
        Corrupt: If the bytes are not those that were promised.
    """
    refuse(key, directory=False)
    source = source.told()
    with source.open() as chunks:
        data = b"".join(chunks)
    if len(data) != source.size:
        raise Corrupt(f"{key} is not what was promised", why=f"{len(data)} bytes instead of {source.size}")
    space = space_of(key)
    body = _body(key, space, source, data)
    _check_promise(key, body, source.fingerprint)

    def plan(db: sqlite3.Connection | None, now_ns: int) -> Change:
        found = _expected(db, key, expect)
        timed = body if body.modified_ns else replace(body, modified_ns=now_ns)
        moment = _moment(db, now_ns)
        mode = script.mode_after(body, found)
        digest = digest_of(data, body.sort, mode)
        written = Written(token_of(digest), Fingerprint("blake3", digest))
        if space is Space.PATH:
            steps = _put_path(db, parts_of(key), timed, found, moment)
        elif space is Space.VALUE:
            steps = script.put_value(value_name(key), data.decode(), found, timed.modified_ns, moment)
        else:
            steps = _put_call(key, data, found)
        return _change(db, [*_begun(db, now_ns), *steps], written, found, trash)

    return plan


def make_directory(key: Key, expect: Token | None, trash: Trash | None) -> Plan:
    """Make a directory and those above."""
    refuse(key, directory=True)

    def plan(db: sqlite3.Connection | None, now_ns: int) -> Change:
        file = Key(key.removesuffix("/"))
        written = Written(DIRECTORY_TOKEN)
        if db is not None and look.find(db, key) is not None:
            return Change([], written, [])
        found = _expected(db, file, None if expect == DIRECTORY_TOKEN else expect)
        steps = [] if found is None else script.remove(found)
        steps += script.directories(parts_of(key), _moment(db, now_ns))
        return _change(db, [*_begun(db, now_ns), *steps], written, found, trash)

    return plan


def remove(key: Key, expect: Token, trash: Trash | None) -> Plan:
    """Remove one version."""
    refuse(key, directory=is_directory(key))

    def plan(db: sqlite3.Connection | None, _: int) -> Change:
        gone = Written(None)
        if is_directory(key):
            found = None if db is None else look.find(db, key)
            if found is None or found.inode is None or db is None:
                return Change([], gone, [])
            if db.execute("SELECT 1 FROM fs_dentry WHERE parent_ino = ?", (found.inode.ino,)).fetchone():
                raise PreconditionFailed(f"{key} is not empty")
            return Change(script.remove_directory(found.parts, found.inode), gone, [])
        found = _expected(db, key, expect)
        if found is None:
            raise PreconditionFailed(f"{key} is gone")
        if found.sort is Sort.DIRECTORY:
            raise PreconditionFailed(f"{key} is a directory by now")
        return _change(db, _remove(found), gone, found, trash)

    return plan


def move(origin: Key, target: Key, expect: Token) -> Plan:
    """Give one version another name."""
    refuse(origin, directory=False)
    refuse(target, directory=False)
    space = space_of(origin)
    if space is not space_of(target) or space is Space.CALL:
        raise Unaddressable(f"{origin} cannot be called {target}", why="one is no name for what the other is")

    def plan(db: sqlite3.Connection | None, now_ns: int) -> Change:
        found = _expected(db, origin, expect)
        if found is None or found.sort is Sort.DIRECTORY:
            raise PreconditionFailed(f"{origin} was changed meanwhile")
        _expected(db, target, None)
        if space is Space.VALUE:
            steps = script.rename_value(value_name(origin), value_name(target))
        else:
            steps = script.move(found, parts_of(target), _moment(db, now_ns))
        change = _change(db, steps, Written(expect), found, None)
        several = found.inode is not None and found.inode.nlink > 1
        return replace(change, moved=target) if several else change

    return plan


def prepared(effect: Effect) -> Plan | StoreError:
    """What an effect is to do, its source read; or why it cannot be."""
    try:
        match effect:
            case Put():
                return put(effect.key, effect.source, effect.expect, effect.trash)
            case Remove():
                return remove(effect.key, effect.expect, effect.trash)
            case Move():
                return move(effect.origin, effect.target, effect.expect)
            case _:
                assert_never(effect)
    except StoreError as error:
        return error


def refuse(key: Key, *, directory: bool) -> None:
    """Refuse names that no item can have.

    Raises:
        Unaddressable: If it is one.
    """
    why = problem(key)
    if why is None and not canonical(key):
        why = "it is spelled in another way"
    if why is None and is_directory(key) and not directory:
        why = "it is a directory's"
    if why is not None:
        raise Unaddressable(f"{key!r} cannot be held by an AgentFS", why=why)


# -- inside -----------------------------------------------------------------------------------------------------------


def _body(key: Key, space: Space, source: Source, data: bytes) -> Body:
    if space is not Space.PATH:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise Unaddressable(f"{key} cannot hold this", why="it is no text") from error
        sort = Sort.VALUE if space is Space.VALUE else Sort.CALL
        return Body(sort, data, None, source.modified_ns)
    kind = stat.S_IFMT(source.mode or 0)
    if kind == SAME_MODE:
        return Body(Sort.SAME, data, None, source.modified_ns, parts_of(Key(data.decode("utf-8", "surrogateescape"))))
    if kind == stat.S_IFLNK:
        return Body(Sort.LINK, data, None, source.modified_ns)
    mode = None if source.mode is None else stat.S_IMODE(source.mode)
    return Body(Sort.FILE, data, mode, source.modified_ns)


def _check_promise(key: Key, body: Body, promised: Fingerprint | None) -> None:
    """The bytes must have the digest that was promised of them, with or without what they are."""
    if promised is None:
        return
    if promised.algorithm == "blake3":
        right = promised.digest in (digest_of(body.data, body.sort, body.mode), blake3(body.data).hexdigest())
    else:
        right = hashlib.new(promised.algorithm, body.data).hexdigest() == promised.digest
    if not right:
        raise Corrupt(f"{key} is not what was promised", why=f"its {promised.algorithm} is another one")


def _expected(db: sqlite3.Connection | None, key: Key, expect: Token | None) -> Found | None:
    """What is there, if that is what is expected; a directory of the name counts.

    Raises:
        PreconditionFailed: If it is not, or something that is no directory is above it.
    """
    found = None if db is None else look.find(db, key)
    if found is None and db is not None and space_of(key) is Space.PATH:
        _refuse_in_the_way(db, key)
        found = look.find(db, Key(key + "/"))
    if (None if found is None else found.token) != expect or (found is not None and found.sort is Sort.OTHER):
        raise PreconditionFailed(f"{key} was changed meanwhile")
    return found


def _refuse_in_the_way(db: sqlite3.Connection, key: Key) -> None:
    parts = parts_of(key)
    for n in range(1, len(parts)):
        node = look.resolve(db, parts[:n])
        if node is None:
            return
        if not stat.S_ISDIR(node.mode):
            raise PreconditionFailed(f"something that is no directory is in the way of {key}")


def _put_path(
    db: sqlite3.Connection | None, parts: tuple[str, ...], body: Body, found: Found | None, moment: Moment
) -> list[Statement]:
    if body.sort is Sort.SAME:
        first = None if db is None else look.resolve(db, body.to)
        if first is None or not stat.S_ISREG(first.mode):
            raise PreconditionFailed(f"the file is not there yet that {'/'.join(parts)} is another name of")
    if found is None or found.inode is None or db is None:
        return script.create(parts, body, moment)
    if found.sort is not Sort.DIRECTORY:
        return script.replace(found, body, moment)
    below = look.empty_below(db, found.inode, parts)
    if below is None:
        raise PreconditionFailed(f"{'/'.join(parts)} is a directory that holds something")
    emptied = [step for directory in [*below, (parts, found.inode)] for step in script.remove_directory(*directory)]
    return [*emptied, *script.create(parts, body, moment)]


def _put_call(key: Key, data: bytes, found: Found | None) -> list[Statement]:
    fields = look.call_fields(data)
    nth = _nth(key)
    if fields is None or look.call_key(data, nth) != key:
        raise Unaddressable(f"{key} cannot hold this", why="the name of a tool call is made from what it holds")
    return [] if found is not None else script.add_call(fields, nth)


def _nth(key: Key) -> int:
    tail = key.rpartition(".")[2]
    return int(tail) if tail.isdigit() and "." in key else 1


def _remove(found: Found) -> list[Statement]:
    if found.sort is Sort.VALUE:
        return script.remove_value(value_name(found.key))
    if found.sort is Sort.CALL:
        fields = look.call_fields(found.data or b"")
        return [] if fields is None else script.remove_call(fields, found.times)
    return script.remove(found)


def _begun(db: sqlite3.Connection | None, now_ns: int) -> list[Statement]:
    return beginning(now_ns // 10**9) if db is None else []


def _moment(db: sqlite3.Connection | None, now_ns: int) -> Moment:
    return Moment(now_ns, CHUNK_BYTES if db is None else chunk_bytes(db))


def _change(
    db: sqlite3.Connection | None, steps: list[Statement], written: Written, found: Found | None, trash: Trash | None
) -> Change:
    if found is None or db is None:
        return Change(steps, written, [])
    samples = look.samples(db, found.inode) if found.sort is Sort.FILE and found.inode is not None else []
    guards = script.guards(found, samples)
    if trash is None or found.sort is Sort.DIRECTORY:
        return Change(steps, written, guards)
    data = look.bytes_of(db, found)
    if digest_of(data, found.sort, found.mode) != found.digest:
        raise PreconditionFailed(f"{found.key} was changed meanwhile")
    return Change(steps, written, guards, Kept(trash.run, found.key, data, found.modified_ns, found.mode))


def mark(name: str, identity: str) -> Plan:
    """Write an identity unless there is one."""

    def plan(db: sqlite3.Connection | None, now_ns: int) -> Change:
        insert = ("INSERT OR IGNORE INTO fs_config (key, value) VALUES (?, ?)", (name, identity))
        return Change([*_begun(db, now_ns), insert], Written(None), [])

    return plan


def now_is(change: Change, found: Found) -> Change:
    """The change, with the version that came of it."""
    return replace(change, written=replace(change.written, token=found.token))
