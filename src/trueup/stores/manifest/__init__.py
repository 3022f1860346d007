"""Store ``manifest``: what a dataset's manifest, a JSON file, records of its items.

Changes are gathered and written together by `flush`, by a compare-and-swap of the whole file: what somebody else wrote
meanwhile is read first and kept, and a change of an entry that somebody else changed is refused. A program that
replaces the file between the last look and the rename, microseconds later, is not noticed: no system call can.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from blake3 import blake3

from trueup.core.errors import AccessDenied, ConfigError, Corrupt, NoSpace, PreconditionFailed, StoreError
from trueup.core.model import OPAQUE_TOKEN, Key, Kind, Record, Row, key_bytes
from trueup.protocols import Effect, Opening, Written
from trueup.stores.manifest.text import LISTED, Manifest, Unreadable, parse
from trueup.stores.records import Change, RecordStore, record_row, version

ATTEMPTS = 5
"""How often a file that changes just before it is replaced is read again."""
_TEMPORARY = ".trueup-new"


@dataclass(frozen=True, slots=True)
class _Known:
    """The file as it was last read or written."""

    stamp: tuple[int, int, int] | None
    """Modification time, size, inode; None: there is no file."""
    digest: bytes
    manifest: Manifest


class ManifestStore(RecordStore):
    """A manifest. A file that is not there is an empty one, and is made by the first `flush` that has something.

    Args:
        path: The file.
        opening: Clock, threads, memory, names; its filter hides entries, which stay in the file as they are.
        head: Fields at the top of a new file.
    """

    def __init__(self, path: Path, opening: Opening, *, head: Mapping[str, Any] | None = None) -> None:
        self._path = Path(os.path.realpath(path))
        super().__init__(str(self._path), opening)
        self._unique = opening.unique
        self._filter = opening.filter
        self._new = Manifest(LISTED, dict(head or {}))
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        """One flush at a time; what is staged meanwhile does not wait for it."""
        self._known: _Known | None = None
        self._live: dict[Key, Record] = {}
        """Entries with what is staged."""
        self._staged: dict[Key, Record | None] = {}
        """What is to be written; None: removed."""
        self._refused: set[Key] = set()
        """Staged changes of entries that somebody else changed before they were written."""

    @property
    def head(self) -> Mapping[str, Any]:
        """The fields at the top as they were last read; none if there is no file. Blocks.

        Raises:
            ConfigError: If the file is no manifest.
        """
        with self._lock:
            known = self._refreshed()
            return {} if known.stamp is None else known.manifest.head

    @property
    def shape(self) -> str:
        """`LISTED` or `NAMED`. Blocks."""
        with self._lock:
            return self._refreshed().manifest.shape

    # -- observe -------------------------------------------------------------------------------------------------

    def read(self) -> Mapping[Key, Record]:
        """As `RecordStore.read`, with what is staged.

        Raises:
            ConfigError: If the file is no manifest: with path and line. It is never taken for empty.
        """
        with self._lock:
            self._refreshed()
            return self._live

    def rows(self) -> Iterable[Row]:
        """As `Inventory.rows`; names that lead out of the folder are shown, and nothing is done about them."""
        for key, record in list(self.read().items()):
            why = problem(key)
            if why is not None:
                yield key_bytes(key), OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, why
            elif not self._hidden(key):
                yield record_row(key, record)

    def _hidden(self, key: Key) -> bool:
        if self._filter is None:
            return False
        parts = key.split("/")
        above = ("/".join(parts[:n]) for n in range(1, len(parts)))
        return any(self._filter.excludes(path, directory=True) for path in above) or self._filter.excludes(
            key, directory=False
        )

    def _refreshed(self) -> _Known:
        """What the file holds now; read again only if its size, time or inode has changed."""
        if self._known is None or self._known.stamp != _stamp(self._path):
            self._take(self._load())
        assert self._known is not None  # noqa: S101  # taken just now
        return self._known

    def _load(self) -> _Known:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                raw = file.read()
        except FileNotFoundError:
            return _Known(None, b"", self._new)
        except OSError as error:
            raise self._translated(error) from error
        try:
            return _Known(_stamped(status), blake3(raw).digest(), parse(raw))
        except Unreadable as error:
            raise ConfigError(
                f"{self._path}:{error.line} is no manifest",
                why=str(error),
                attempt="mend it, or take it from a backup: it is never replaced by an empty one",
            ) from error

    def _take(self, found: _Known) -> None:
        """What is staged goes on top, unless somebody else has changed the very entry."""
        before = self._known
        self._known = found
        self._live = dict(found.manifest.entries)
        for key, record in list(self._staged.items()):
            if before is not None and before.manifest.entries.get(key) != self._live.get(key):
                del self._staged[key]
                if self._live.get(key) != record:
                    self._refused.add(key)
            else:
                _put(self._live, key, record)

    # -- change --------------------------------------------------------------------------------------------------

    def _batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        try:
            with self._lock:
                return super()._batch(effects)
        except ConfigError as error:  # it was damaged while the run went on
            return [Corrupt(error.what, why=error.why, attempt=error.attempt) for _ in effects]

    def change(self, changes: Sequence[Change]) -> None:
        """As `RecordStore.change`; it is in the file after the next `flush`."""
        with self._lock:
            live = self.read()
            for change in changes:
                found = live.get(change.key)
                if (None if found is None else version(found)) != change.expect:
                    raise PreconditionFailed(f"{change.key} is recorded otherwise by now in {self._path}")
                if (why := problem(change.key)) is not None:
                    raise StoreError(f"{change.key!r} cannot be recorded", why=why)
            for change in changes:
                self._staged[change.key] = change.record
                _put(self._live, change.key, change.record)

    async def flush(self) -> None:
        """Write what is staged.

        Raises:
            PreconditionFailed: If somebody else changed some of the same entries; theirs stay, all others are written.
            StoreError: If it could not be written; nothing has changed, and nothing is staged any more.
        """
        await self._threads(self._flush)

    def _flush(self) -> None:
        with self._writing:
            taken: dict[Key, Record | None] = {}
            try:
                self._write_staged(taken)
            finally:
                with self._lock:
                    for key, record in taken.items():
                        if key in self._staged and self._staged[key] == record:
                            del self._staged[key]
                    if self._known is not None:
                        self._take(self._known)
            with self._lock:
                refused, self._refused = sorted(self._refused), set()
            if refused:
                raise PreconditionFailed(
                    f"{self._path} was changed meanwhile: {', '.join(refused[:3])}"
                    + (f" and {len(refused) - 3} more" if len(refused) > 3 else "")
                )

    def _write_staged(self, taken: dict[Key, Record | None]) -> None:
        """Write what is staged now, and say what that was; what is staged meanwhile waits for the next time."""
        for _ in range(ATTEMPTS):
            try:
                now = self._load()
            except ConfigError as error:
                taken.update(self._staged)
                raise Corrupt(error.what, why=error.why, attempt=error.attempt) from error
            with self._lock:
                if self._known is not None and now.digest == self._known.digest:
                    now = replace(now, manifest=self._known.manifest)
                else:
                    self._take(now)
                taken.clear()
                taken.update(self._staged)
            if not taken or self._replaced(now, taken):
                return
        raise StoreError(f"{self._path} is being changed all the time", attempt="run this again in a moment")

    def _replaced(self, now: _Known, taken: Mapping[Key, Record | None]) -> bool:
        """Put the new text in place of the version that was read just now; False if that is there no more."""
        manifest = now.manifest.changed(taken)
        raw = manifest.rendered()
        temporary = self._path.with_name(f".{self._path.name}.{self._unique()}{_TEMPORARY}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                if now.stamp is not None:
                    os.fchmod(file.fileno(), stat.S_IMODE(self._path.stat().st_mode))
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
                status = os.fstat(file.fileno())
            if _stamp(self._path) != now.stamp:
                temporary.unlink()
                return False
            temporary.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._translated(error) from error
        with self._lock:
            self._known = _Known(_stamped(status), blake3(raw).digest(), manifest)
        return True

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked.clean`: new texts that killed runs did not put in place are thrown away."""
        await self._threads(self._clean)
        return []

    def _clean(self) -> None:
        if self._path.parent.is_dir():
            for path in self._path.parent.glob(f".{escape(self._path.name)}.*{_TEMPORARY}"):
                path.unlink(missing_ok=True)

    def _translated(self, error: OSError) -> StoreError:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return NoSpace(f"no room for {self._path}", why=why)
        if isinstance(error, PermissionError):
            return AccessDenied(f"{self._path} cannot be used", why=why)
        return StoreError(f"{self._path} cannot be used", why=why)


def problem(key: Key) -> str | None:
    """Why an entry of this name cannot be a file of the dataset; None if it can."""
    parts = key.split("/")
    if "" in parts:
        return "its name is absolute, ends in a slash or has an empty component"
    if {".", ".."} & set(parts):
        return "its name leads elsewhere"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        return "its name holds control characters"
    return "its name is reserved" if parts[0] == ".trueup" else None


def _put(entries: dict[Key, Record], key: Key, record: Record | None) -> None:
    if record is None:
        entries.pop(key, None)
    else:
        entries[key] = record


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        return _stamped(path.stat())
    except FileNotFoundError:
        return None


def _stamped(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
