"""Store ``file``: a folder on a file system, and every ``file://`` remote."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial

from trueup.core.errors import AccessDenied, Locked, NotFound, StoreError, UsageError
from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    Content,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Row,
    Token,
    is_directory,
)
from trueup.core.table import Verb
from trueup.core.tree import Names
from trueup.core.urls import host_of, local_path
from trueup.protocols import (
    VERBS,
    Discarded,
    Effect,
    Filter,
    Opening,
    Properties,
    Source,
    Threads,
    Trash,
    Written,
    in_turn,
)
from trueup.stores.file import place
from trueup.stores.file.scan import Scan
from trueup.stores.file.version import gone_is_changed
from trueup.stores.file.write import Folder

_CANNOT_EXCHANGE = "this file system cannot exchange names: a write in the last instant is not refused"

_ID = Key(f"{place.RESERVED}/id")
_LOCK = Key(f"{place.RESERVED}/lock")

TICK_NS = 2_000_000_000
"""Coarsest modification time in use (FAT), and room for a file server's clock that runs behind ours."""


class FileStore:
    """A folder. Implements `trueup.protocols.Store`.

    Args:
        root: Path of the folder; it must exist.
        threads: The crossing into threads.
        unique: Makes names for temporary files.
        filter: Which items belong; None: all.
        trash: Where replaced versions go; default ``.trueup/trash`` in the root. Must be on the same file system.
        coming: Whether a folder that does not exist is an empty one, made when it is held for writing.

    Raises:
        NotFound: If there is no such folder.
        AccessDenied: If it cannot be looked into.
    """

    def __init__(
        self,
        root: str,
        *,
        threads: Threads,
        unique: Callable[[], str],
        filter: Filter | None = None,  # noqa: A002  # the word that everybody uses for it
        trash: str | None = None,
        coming: bool = False,
    ) -> None:
        self.root = _existing(root, coming=coming)
        self._coming = coming
        self._threads = threads
        self._filter = filter
        self._folder = Folder(self.root, trash or os.path.join(self.root, place.RESERVED, "trash"), unique)
        self._leftovers: list[str] = []
        names = Names(place.problem, fold_case=_ignores_case(self.root), fold_unicode=sys.platform == "darwin")
        self._exchanging = Properties(location=self.root, verbs=VERBS | {Verb.MOVE}, tick_ns=TICK_NS, names=names)
        self._checking = replace(self._exchanging, refuses_lost_races=False, notices=(_CANNOT_EXCHANGE,))

    @property
    def properties(self) -> Properties:
        """What a folder can promise: a lost race is refused by an atomic exchange of names."""
        return self._exchanging if self._folder.exchanges else self._checking

    # -- observe -------------------------------------------------------------------------------------------------

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe.scan`."""
        if self._coming and not await self._threads(os.path.exists, self.root):
            return
        scan = Scan(self.root, self._filter)
        batches = scan.batches()
        try:
            while batch := await self._threads(_next, self.root, batches):
                yield batch
        finally:
            batches.close()
        self._leftovers = scan.leftovers

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe.stat`."""
        return await self._threads(self._stat, key)

    def _stat(self, key: Key) -> Entry | None:
        if place.problem(key) is not None:
            return None
        with place.translated(key):
            try:
                with place.parent(self.root, key) as (dir_fd, name):
                    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            entry = Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT, status.st_mtime_ns, mode)
            return entry if is_directory(key) else None
        if is_directory(key):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{key} is neither a file nor a directory")
        return Entry(place.token_of(status), Content(Kind.FILE, status.st_size), status.st_mtime_ns, mode)

    # -- read ----------------------------------------------------------------------------------------------------

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read.source`."""
        token = entry.token

        @contextmanager
        def reading() -> Iterator[Iterator[bytes]]:
            with place.translated(key), gone_is_changed(key), self._folder.reading(key, token) as chunks:
                yield chunks

        return Source(reading, entry.content.size, entry.content.fingerprint, entry.modified_ns, entry.mode)

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read.fingerprint`."""
        return await self._threads(self._folder.fingerprint, key, token)

    # -- write ---------------------------------------------------------------------------------------------------

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`."""
        return await self._threads(self._folder.write, key, source, expect, trash)

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`."""
        return await self._threads(self._folder.make_directory, key, expect, trash)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        return await self._threads(self._folder.remove, key, expect, trash)

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`."""
        return await self._threads(self._folder.move, origin, target, expect)

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write.batch`."""
        folder = self._folder
        return await self._threads(partial(in_turn, effects, put=folder.write, remove=folder.remove, move=folder.move))

    async def flush(self) -> None:
        """As `trueup.protocols.Write.flush`."""
        await self._threads(self._folder.flush)

    # -- trash ---------------------------------------------------------------------------------------------------

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps.kept`."""
        return await self._threads(self._folder.kept)

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps.kept_source`."""

        def reading() -> AbstractContextManager[Iterator[bytes]]:
            return self._folder.reading_kept(handle)

        return Source(reading, entry.content.size, entry.content.fingerprint, entry.modified_ns, entry.mode)

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps.prune`."""
        await self._threads(self._folder.prune, handle)

    # -- identity ------------------------------------------------------------------------------------------------

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked.marker`."""
        return await self._threads(self._marker)

    def _marker(self) -> str | None:
        with place.translated(f"{self.root}/{_ID}"):
            try:
                with place.parent(self.root, _ID) as (dir_fd, name):
                    fd = place.open_plain(dir_fd, name, os.O_RDONLY)
                with os.fdopen(fd, "rb") as file:
                    return file.read(100).decode("ascii").strip() or None
            except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
                return None

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked.set_marker`."""
        return await self._threads(self._set_marker, identity)

    def _set_marker(self, identity: str) -> str:
        with place.translated(f"{self.root}/{_ID}"):
            if (found := self._marker()) is not None:
                return found
            with place.parent(self.root, _ID, create=True, mode=0o700) as (dir_fd, name):
                temporary = f"{name}.{os.getpid()}"
                with suppress(FileNotFoundError):  # of a killed run, or somebody's link
                    os.unlink(temporary, dir_fd=dir_fd)
                fd = place.open_plain(dir_fd, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                with os.fdopen(fd, "w", encoding="ascii") as file:
                    file.write(identity + "\n")
                    file.flush()
                    os.fsync(fd)
                os.replace(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            return identity

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """As `trueup.protocols.Marked.hold`. The system frees the lock of a dead process by itself."""
        fd = await self._threads(self._lock, holder)
        try:
            yield
        finally:
            os.close(fd)

    def _lock(self, holder: str) -> int:
        if self._coming:
            with place.translated(self.root):
                os.makedirs(self.root, exist_ok=True)
        with (
            place.translated(f"{self.root}/{_LOCK}"),
            place.parent(self.root, _LOCK, create=True, mode=0o700) as (dir_fd, name),
        ):
            fd = place.open_plain(dir_fd, name, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            by = os.pread(fd, 1000, 0).decode("utf-8", "replace")
            os.close(fd)
            raise Locked(
                f"{self.root} is in use by another run", why=by, attempt="wait for it to end, then run this again"
            ) from error
        if os.fstat(fd).st_nlink > 1:  # the file has another name, and may be anybody's: it is locked, not written
            return fd
        with suppress(OSError):  # on a full disk: who holds the lock is a courtesy, the lock itself is held
            os.ftruncate(fd, 0)
            os.pwrite(fd, holder.encode(), 0)
        return fd

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked.free_bytes`."""
        return await self._threads(self._free_bytes)

    def _free_bytes(self) -> int:
        path = self.root
        while self._coming and not os.path.exists(path):
            path = os.path.dirname(path)
        with place.translated(self.root):
            status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked.clean`; what the last scan came across."""
        leftovers, self._leftovers = self._leftovers, []
        return await self._threads(self._folder.clean, leftovers)


def open_url(url: str, opening: Opening, *, coming: bool = False) -> FileStore:
    """The folder of a path or a ``file://`` URL; `coming` as `FileStore` takes it."""
    if host := host_of(url):
        raise UsageError(f"{url} names another host", attempt=f"file:///{host}{local_path(url)}")
    return FileStore(
        local_path(url) or url,
        threads=opening.threads,
        unique=opening.unique,
        filter=opening.filter,
        trash=opening.trash,
        coming=coming,
    )


def _existing(root: str, *, coming: bool) -> str:
    path = os.path.realpath(os.path.expanduser(root))
    if not os.path.lexists(path) and coming:
        return path
    if not os.path.isdir(path):
        if os.path.exists(path):
            raise NotFound(f"{path} is not a folder", attempt="correct the path")
        # No command to paste: on an empty folder where a disk belongs, a run would see everything deleted.
        raise NotFound(f"{path} does not exist", attempt="mount it, or create it, or correct the path")
    if not os.access(path, os.R_OK | os.X_OK):
        raise AccessDenied(f"{path} cannot be read", why="permission denied", attempt=f"ls -ld {path}")
    return path


def _next(root: str, batches: Iterator[list[Row]]) -> list[Row] | None:
    with place.translated(root):
        return next(batches, None)


def _ignores_case(root: str) -> bool:
    """Whether the folder is found under its name in the other case."""
    head, name = os.path.split(root)
    try:
        return name.swapcase() != name and os.path.samefile(root, os.path.join(head, name.swapcase()))
    except OSError:
        return False
