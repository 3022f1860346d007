"""An agent's database as a file: where it is, statistics, checkpoints, restore points, and making a plain one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trueup.core.errors import NotFound, UsageError
from trueup.core.model import Key, key_from_bytes
from trueup.engine.job import Job
from trueup.engine.journal import Journal
from trueup.stores.agentfs import Beside, LocalAgent, RemoteAgent
from trueup.stores.agentfs.faults import of_sqlite
from trueup.stores.agentfs.schema import beginning

ID = re.compile(r"[A-Za-z0-9_-]+")
"""What the SDK takes for an id."""
_POINT = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Pending:
    """What has happened in the agent's database since it was last in agreement."""

    changed: tuple[Key, ...]
    """New, or other than what was agreed on."""
    gone: tuple[Key, ...]
    rows: int
    """Of the database: those that hold what has changed, and one for each item that is gone."""

    @property
    def items(self) -> int:
        """How many there are."""
        return len(self.changed) + len(self.gone)


@dataclass(frozen=True, slots=True)
class AgentStats:
    """How an agent and its remote stand, as far as is known without asking the remote."""

    last_sync: datetime | None
    """When a run that changed something ended, or the remote was last looked at."""
    pending_changes: int
    """Items that the agent has changed since."""
    pending_rows: int
    """Rows of the database that hold them, and one for each item that is gone."""
    total_synced: int
    """Items that runs of this target have carried out, over all its history."""
    sent_bytes: int
    received_bytes: int
    """Over the network, since the mirror was made."""
    revision: str
    """The remote's, when it was last looked at; empty: never."""
    wal_bytes: int
    """Of the agent's database that are in its write-ahead log."""


def database_of(id_or_path: str, *, folder: Path | None = None) -> Path:
    """The database that is meant: ``./.agentfs/ID.db``, then ``~/.agentfs/ID.db``, then a path.

    Args:
        id_or_path: As a person or a program gives it.
        folder: The current folder.

    Returns:
        Where it is, or for an id that nobody has used yet: where it will be.
    """
    here = folder or Path.cwd()
    if not ID.fullmatch(id_or_path):
        return (here / Path(id_or_path).expanduser()).absolute()
    first = here / ".agentfs" / f"{id_or_path}.db"
    for path in (first, Path.home() / ".agentfs" / f"{id_or_path}.db", here / id_or_path):
        if path.is_file():
            return path.absolute()
    return first.absolute()


def statistics(job: Job) -> AgentStats:
    """How an agent stands. Blocks; asks nobody."""
    local, remote = sides(job)
    number = job.state.find_target(job.target)
    runs = [] if number is None else Journal(job.state).history(number, 1_000_000)
    traffic, waiting = remote.mirror.traffic(), pending(job)
    ends = [run.finished_ns / 1e9 for run in runs if run.finished_ns and run.done]
    last = max([*ends, *([traffic.pulled_at] if traffic.pulled_at else [])], default=None)
    return AgentStats(
        last_sync=None if last is None else datetime.fromtimestamp(last, UTC),
        pending_changes=waiting.items,
        pending_rows=waiting.rows,
        total_synced=sum(run.done for run in runs),
        sent_bytes=traffic.sent_bytes,
        received_bytes=traffic.received_bytes,
        revision=traffic.revision,
        wal_bytes=_size(local.path.with_name(local.path.name + "-wal")),
    )


def pending(job: Job) -> Pending:
    """What the agent has changed. Blocks; asks nobody."""
    local, _ = sides(job)
    agreed = {row[0]: row[1] for batch in job.state.scan_ancestors(job.state.find_target(job.target)) for row in batch}
    there = {row[0]: (row[1], found.rows) for found in local.found() for row in (found.row,)}
    changed = {key: rows for key, (token, rows) in there.items() if agreed.get(key) != token}
    gone = agreed.keys() - there.keys()
    changed_keys, gone_keys = (tuple(sorted(map(key_from_bytes, keys))) for keys in (changed, gone))
    return Pending(changed_keys, gone_keys, sum(changed.values()) + len(gone))


def sides(job: Job) -> tuple[LocalAgent, RemoteAgent]:
    """Both sides of an agent.

    Raises:
        UsageError: If the target is of another kind.
    """
    local, remote = (getattr(store, "inner", store) for store in job.stores.values())
    if not isinstance(local, LocalAgent) or not isinstance(remote, RemoteAgent):
        raise UsageError(f"{job.target.name} is no agent", why="its kind is another one", attempt="trueup status")
    return local, remote


# -- the file --------------------------------------------------------------------------------------------------------


def create(path: Path, *, now_s: int) -> None:
    """Make an empty agent's database.

    Raises:
        UsageError: If something is there.
    """
    if path.exists():
        raise UsageError(f"{path} is there already", attempt="--force replaces it; the old one is kept")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _translating(path), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for sql, values in beginning(now_s):
            db.execute(sql, values)
        db.execute("COMMIT")


def fold(local: LocalAgent) -> int:
    """Fold the write-ahead log into the database; how many bytes it had.

    Raises:
        NotFound: If there is no database.
        Locked: If an agent has it open.
    """
    _there(local)
    before = _size(local.path.with_name(local.path.name + "-wal"))
    descriptor = local.lock("checkpoint")
    try:
        with _translating(local.path):
            local.holding(descriptor).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        local.let_go(descriptor)
    return before


def keep_point(local: LocalAgent, name: str) -> Path:
    """Keep a copy of the database under a name.

    Raises:
        UsageError: If there is one of that name, or it is no name.
    """
    _there(local)
    point = point_of(local.beside, name)
    if point.exists():
        raise UsageError(f"there is a restore point {name} already", attempt="another name")
    point.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = local.lock("restore point")
    try:
        _copy(local.holding(descriptor), point)
    finally:
        local.let_go(descriptor)
    return point


def points(beside: Beside) -> list[str]:
    """Names of the restore points, sorted."""
    return sorted(path.stem for path in _points(beside).glob("*.db"))


def bring_back(local: LocalAgent, name: str, *, unique: str) -> Path:
    """Put a restore point in the place of the database, which is kept as a restore point too; its path.

    Raises:
        NotFound: If there is no restore point of that name.
        Locked: If an agent has the database open.
    """
    point = point_of(local.beside, name)
    if not point.is_file():
        known = ", ".join(points(local.beside)) or "none"
        raise NotFound(
            f"there is no restore point {name}",
            why=f"there are: {known}",
            attempt="one of these, or: trueup agent stats",
        )
    kept = point_of(local.beside, f"before-restore-{unique}")
    descriptor = local.lock("restore")
    try:
        db = local.holding(descriptor)
        if local.path.stat().st_size:
            _copy(db, kept)
        with _translating(local.path), closing(sqlite3.connect(f"file:{point}?mode=ro", uri=True)) as source:
            source.backup(db)  # one transaction: the old database or the new one
    finally:
        local.let_go(descriptor)
    return kept


def replace_by_empty(path: Path, *, unique: str, now_s: int) -> Path:
    """Make an empty database in the place of one, which is kept beside it; where."""
    kept = path.with_name(f"{path.name}.replaced-{unique}")
    _put_aside(path, kept)
    create(path, now_s=now_s)
    return kept


def adopt(path: Path, *, unique: str) -> Path:
    """Make a plain database of a replica of the sync engine; what the replica was is kept beside it.

    Raises:
        UsageError: If it is none.
    """
    if not path.with_name(path.name + "-info").exists():
        raise UsageError(
            f"{path} is a plain database already",
            why=f"no {path.name}-info is beside it",
            attempt="sync it as it is: trueup agent sync",
        )
    plain = path.with_name(f".{path.name}.{unique}")
    with _translating(path), closing(sqlite3.connect(path, timeout=1)) as db:
        _copy(db, plain)
    kept = path.with_name(f"{path.name}.replica-{unique}")
    _put_aside(path, kept)
    plain.replace(path)
    return kept


def point_of(beside: Beside, name: str) -> Path:
    """The file of a restore point.

    Raises:
        UsageError: If it is no name.
    """
    if not _POINT.fullmatch(name) or name.startswith("."):
        raise UsageError(
            f"{name!r} is no name of a restore point",
            why="letters, digits, dot, hyphen and underscore",
            attempt="another name",
        )
    return _points(beside) / f"{name}.db"


def _points(beside: Beside) -> Path:
    return beside.path.parent / "points"


def _put_aside(path: Path, folder: Path) -> None:
    """Move a database, and all that engines have put beside it, into a folder of its own."""
    folder.mkdir()
    for suffix in ("", "-wal", "-shm", "-info", "-changes", "-wal-revert"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(folder / part.name)


def _copy(db: sqlite3.Connection, to: Path) -> None:
    partial = to.with_name(f"{to.name}.partial")
    with _translating(to), closing(sqlite3.connect(partial)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    partial.replace(to)


def _there(local: LocalAgent) -> None:
    if not local.path.is_file():
        raise NotFound(f"{local.path} is not there", attempt="trueup agent init, or trueup agent clone")


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise of_sqlite(path, error) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
