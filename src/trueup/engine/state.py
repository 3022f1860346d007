"""What trueup remembers: ancestors, digests, and the connection that the journal shares.

One SQLite database per user, in WAL mode. All calls block; one connection, one lock. Corruption is noticed and never
repaired in silence: a damaged file is refused, a damaged row counts as no ancestor, which can only cause a copy or a
conflict, never a deletion.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from trueup.core.errors import AccessDenied, ConfigError, NoSpace, StateDamaged, StoreError
from trueup.core.model import (
    Ancestor,
    AncestorRow,
    Content,
    Fingerprint,
    Key,
    Kind,
    Side,
    Token,
    key_bytes,
    key_from_bytes,
    range_below,
)
from trueup.core.plan import Target
from trueup.engine.migrations import STEPS

DATABASE = "state.db"
BATCH = 2048
ROOM_BYTES = 64 * 1024
"""Less free than this, and a failed write has most likely found no room."""
_MANY = 500
"""Keys per query; SQLite's default limit of variables is above it in every version in use."""

_BUSY_SECONDS = 30
"""How long to wait while another process writes."""

_RETRY_SECONDS = 0.01


class State:
    """The state database of one user.

    Args:
        directory: Where it lives; made with mode 0700 if it is not there.

    Raises:
        StateDamaged: If it is no database, or is damaged.
        ConfigError: If it was written by a newer trueup.
        AccessDenied: If it cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / DATABASE
        self._lock = threading.RLock()
        with self._translated():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
            self._connection = self._connect()
            try:
                self._migrate()
            except BaseException:
                self._connection.close()  # or its end would tidy up the files of the database that follows
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        write_ahead(connection)
        # FULL: what the journal says is done survives a loss of power; the committer groups the syncs.
        connection.execute("PRAGMA synchronous = FULL")
        # Text that is not UTF-8 is damage, and found by its checksum.
        connection.text_factory = _decoded
        return connection

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(STEPS):
            raise ConfigError(
                f"{self.path} was written by a newer trueup",
                why=f"its version is {version}, this program knows {len(STEPS)}",
                attempt="pip install --upgrade trueup",
            )
        while version < len(STEPS):
            with self.transaction() as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may be as far
                for statement in STEPS[version].split(";") if version < len(STEPS) else ():
                    connection.execute(statement)
                version = min(version + 1, len(STEPS))
                connection.execute(f"PRAGMA user_version = {version}")

    @staticmethod
    def set_aside(directory: Path, suffix: str) -> Path:
        """Rename a damaged database, so that the next `State` begins with an empty one. Returns its new name."""
        path = directory / DATABASE
        aside = path.with_name(f"{DATABASE}.damaged-{suffix}")
        for extra in ("-wal", "-shm"):
            if (log := path.with_name(DATABASE + extra)).exists():
                log.rename(aside.with_name(aside.name + extra))
        path.rename(aside)
        return aside

    @classmethod
    def recovered(cls, directory: Path, suffix: str) -> State:
        """The state; a damaged one is set aside first and an empty one takes its place."""
        try:
            state = cls(directory)
            try:
                if state.check() == "ok":
                    return state
            except StateDamaged:
                state.close()
                raise
            state.close()
        except StateDamaged:
            pass
        cls.set_aside(directory, suffix)
        return cls(directory)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; one at a time."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._lock, self._translated():
            yield self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._operational(error) from error
        except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
            raise self._damaged(str(error)) from error
        except PermissionError as error:
            raise AccessDenied(
                f"the state directory {self.directory} cannot be used",
                why=error.strerror or "",
                attempt="set TRUEUP_STATE to a directory of yours",
            ) from error
        except OSError as error:
            raise StoreError(f"the state directory {self.directory} failed", why=error.strerror or "") from error

    def _operational(self, error: sqlite3.OperationalError) -> Exception:
        text = str(error)
        # SQLite calls it an I/O error where the shared memory of its log finds no room.
        if "full" in text or ("I/O" in text and self._no_room()):
            return NoSpace(
                f"no room for the state database {self.path}", why=text, attempt="free some space, then run this again"
            )
        if "malformed" in text or "no such table" in text or "corrupt" in text:
            return self._damaged(text)
        return StoreError(
            f"the state database {self.path} could not be used", why=text, attempt="trueup doctor says what to mend"
        )

    def _no_room(self) -> bool:
        try:
            return shutil.disk_usage(self.directory).free < ROOM_BYTES
        except OSError:
            return False

    def _damaged(self, why: str) -> StateDamaged:
        return StateDamaged(
            f"the state database {self.path} is damaged, nothing was changed",
            why=why,
            attempt="the same command with --allow corrupt-state keeps the damaged file aside and starts from what "
            "both sides hold: a union, nothing is deleted",
        )

    def check(self) -> str:
        """What SQLite says of the database's integrity: ``ok``, or what is wrong."""
        with self.reading() as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return str(answer)

    # -- targets -------------------------------------------------------------------------------------------------

    def find_target(self, target: Target) -> int | None:
        """The row number of a target; None if it was never applied."""
        with self.reading() as connection:
            row = connection.execute("SELECT n FROM targets WHERE id = ?", (target.id,)).fetchone()
            return int(row[0]) if row else None

    def remember_target(self, target: Target) -> int:
        """The row number of a target, made if need be; its name is kept current."""
        locations = json.dumps(dict(target.locations))
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO targets (id, name, kind, locations) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                (target.id, printable(target.name), target.kind, locations),
            )
            (number,) = connection.execute("SELECT n FROM targets WHERE id = ?", (target.id,)).fetchone()
            return int(number)

    def markers(self, number: int | None) -> dict[Side, str]:
        """Identities of the roots when the target was last applied."""
        if number is None:
            return {}
        with self.reading() as connection:
            (text,) = connection.execute("SELECT markers FROM targets WHERE n = ?", (number,)).fetchone()
            return {Side(side): str(marker) for side, marker in json.loads(text).items()}

    def set_markers(self, number: int, markers: Mapping[Side, str]) -> None:
        """Remember identities of the roots."""
        with self.transaction() as connection:
            connection.execute("UPDATE targets SET markers = ? WHERE n = ?", (json.dumps(dict(markers)), number))

    # -- ancestors -----------------------------------------------------------------------------------------------

    def scan_ancestors(self, number: int | None) -> Generator[list[AncestorRow]]:
        """Key and tokens of all ancestors of a target, in key order, in batches.

        Content and checksum are left for `ancestors` to look up: an ancestor whose tokens match what is there is not
        believed for anything else.
        """
        if number is None:
            return
        with self._translated():
            connection = self._connect()  # its own: a long read must not hold up the journal
            try:
                connection.execute("BEGIN")  # all batches from one moment
                last = b""
                while batch := _ancestors_after(connection, number, last):
                    yield batch
                    last = batch[-1][0]
            finally:
                connection.close()

    def ancestors(self, number: int | None, keys: Sequence[Key]) -> tuple[dict[Key, Ancestor], list[Key]]:
        """The ancestors of some keys, and the keys whose rows fail their checksum."""
        if number is None:
            return {}, []
        found: dict[Key, Ancestor] = {}
        damaged: list[Key] = []
        with self.reading() as connection:
            query = "SELECT key, local, remote, content, checksum FROM ancestors WHERE target = ?"
            for row in _select_keys(connection, query, (number,), keys):
                ancestor = _intact(row)
                if ancestor is None:
                    damaged.append(key_from_bytes(row[0]))
                else:
                    found[key_from_bytes(row[0])] = ancestor
        return found, damaged

    def first_below(self, number: int | None, files: Iterable[Key], known: Container[Key]) -> list[Key]:
        """For each file's name the first agreed key below a directory of that name, if there is one but `known`."""
        if number is None:
            return []
        found: list[Key] = []
        query = "SELECT key FROM ancestors WHERE target = ? AND key > ? AND key < ? ORDER BY key"
        with self.reading() as connection:
            for file in files:
                rows = connection.execute(query, (number, *range_below(file)))
                keys = (key_from_bytes(row[0]) for row in rows)
                found += islice((key for key in keys if key not in known), 1)
        return found

    def commit_ancestors(
        self, connection: sqlite3.Connection, number: int, ancestors: Iterable[tuple[Key, Ancestor | None]]
    ) -> None:
        """Set or (None) forget ancestors, within a transaction of the caller."""
        kept, forgotten = [], []
        for key, ancestor in ancestors:
            raw = key_bytes(key)
            if ancestor is None:
                forgotten.append((number, raw))
                continue
            content = _format_content(ancestor.content)
            checksum = _checksum(raw, ancestor.local, ancestor.remote, content)
            kept.append((number, raw, ancestor.local, ancestor.remote, content, checksum))
        connection.executemany("DELETE FROM ancestors WHERE target = ? AND key = ?", forgotten)
        connection.executemany("INSERT OR REPLACE INTO ancestors VALUES (?, ?, ?, ?, ?, ?)", kept)

    def set_ancestors(self, number: int, ancestors: Iterable[tuple[Key, Ancestor | None]]) -> None:
        """Set or (None) forget ancestors, in a transaction of their own."""
        with self.transaction() as connection:
            self.commit_ancestors(connection, number, ancestors)

    def keep_damaged(self, number: int, keys: Sequence[Key]) -> None:
        """Move ancestors that failed their checksum to a table of their own, for a person to look at."""
        rows = [(number, key_bytes(key)) for key in keys]
        if not rows:
            return
        with self.transaction() as connection:
            connection.executemany(
                "INSERT INTO damaged_ancestors SELECT * FROM ancestors WHERE target = ? AND key = ?", rows
            )
            connection.executemany("DELETE FROM ancestors WHERE target = ? AND key = ?", rows)

    # -- digests -------------------------------------------------------------------------------------------------

    def digests(self, number: int | None, side: Side, tokens: Mapping[Key, Token]) -> dict[Key, Fingerprint]:
        """Cached digests of exactly these versions."""
        if number is None:
            return {}
        found: dict[Key, Fingerprint] = {}
        with self.reading() as connection:
            for raw, token, text in _select_keys(
                connection,
                "SELECT key, token, fingerprint FROM digests WHERE target = ? AND side = ?",
                (number, side),
                list(tokens),
            ):
                key = key_from_bytes(raw)
                fingerprint = Fingerprint.parse(text)
                if tokens[key] == token and fingerprint is not None:
                    found[key] = fingerprint
        return found

    def cache_digests(self, number: int, side: Side, digests: Iterable[tuple[Key, Token, Fingerprint]]) -> None:
        """Remember digests of versions whose tokens reveal every edit."""
        rows = [(number, side, key_bytes(key), token, str(fingerprint)) for key, token, fingerprint in digests]
        if rows:
            with self.transaction() as connection:
                connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)

    def digested(self, number: int | None, side: Side, keys: Sequence[Key]) -> set[Key]:
        """Which of these had a digest cached, of whatever version."""
        if number is None:
            return set()
        with self.reading() as connection:
            query = "SELECT key FROM digests WHERE target = ? AND side = ?"
            return {key_from_bytes(raw) for (raw,) in _select_keys(connection, query, (number, side), keys)}

    def forget_digest(self, number: int, side: Side, key: Key) -> None:
        """Forget the cached digest of an item: it is not that of what was read."""
        with self.transaction() as connection:
            query = "DELETE FROM digests WHERE target = ? AND side = ? AND key = ?"
            connection.execute(query, (number, side, key_bytes(key)))

    def forget_digests(self, number: int, side: Side) -> None:
        """Forget all cached digests of a side."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM digests WHERE target = ? AND side = ?", (number, side))


def write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. Two who do so in a new database at the same moment would wait for each other for
    ever: SQLite refuses one of them at once, whatever its timeout is, and that one tries again.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _ancestors_after(connection: sqlite3.Connection, number: int, last: bytes) -> list[AncestorRow]:
    """The next batch of ancestors, joined by SQLite into one row and split here.

    Row by row the module gives up and takes back the interpreter's lock each time, against threads that list folders:
    beside two listings of 100,000 files that costs up to 70,000 changes of thread and twice the CPU time of the run.
    """
    select = "SELECT key, local, remote FROM ancestors WHERE target = ? AND key > ? ORDER BY key LIMIT ?"
    joined = "CAST(group_concat(key, x'00') AS BLOB), group_concat(local, x'00'), group_concat(remote, x'00')"
    arguments = (number, last, BATCH)
    query = f"SELECT count(*), {joined} FROM ({select})"  # noqa: S608  # constants
    count, keys, local, remote = connection.execute(query, arguments).fetchone()
    if count == 0:
        return []
    columns = keys.split(b"\0"), local.split("\0"), remote.split("\0")
    if any(len(column) != count for column in columns):  # a name or a version with a NUL in it
        return connection.execute(select, arguments).fetchall()
    return list(zip(*columns, strict=True))


def _select_keys(
    connection: sqlite3.Connection, query: str, arguments: tuple[object, ...], keys: Sequence[Key]
) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(keys), _MANY):
        raw = [key_bytes(key) for key in keys[start : start + _MANY]]
        marks = ",".join("?" * len(raw))
        yield from connection.execute(f"{query} AND key IN ({marks})", (*arguments, *raw))


def _intact(row: tuple[Any, ...]) -> Ancestor | None:
    """The ancestor of a row; None if the row fails its checksum. A damaged column can have any type."""
    key, local, remote, text, checksum = row
    if not (isinstance(local, str) and isinstance(remote, str) and isinstance(text, str)):
        return None
    content = _parse_content(text)
    if content is None or checksum != _checksum(key, local, remote, text):
        return None
    return Ancestor(Token(local), Token(remote), content)


def _checksum(key: bytes, local: str, remote: str, content: str) -> int:
    return zlib.crc32(b"\0".join((key, local.encode(), remote.encode(), content.encode())))


def _format_content(content: Content) -> str:
    return f"{content.kind.value} {content.size} {content.fingerprint or ''}"


def _parse_content(text: str) -> Content | None:
    kind, _, rest = text.partition(" ")
    size, _, fingerprint = rest.partition(" ")
    if kind not in (Kind.FILE, Kind.DIRECTORY) or not size.isdigit():
        return None
    return Content(Kind(kind), int(size), Fingerprint.parse(fingerprint))


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def printable(text: str) -> str:
    """Text for people that the database can hold: names that are not UTF-8 come from the file system."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
