"""Writing without losing: temporary file, exchange, verify what came out, keep it.

The order of every replacement: write and sync a temporary file beside the name, compare the name with what is
expected, exchange the two atomically, look at what came out, and only if it is what was expected move it into the
trash. Otherwise exchange back: whoever wrote in between keeps what they wrote, and a reader never misses the name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from trueup.core.errors import Corrupt, PreconditionFailed, StoreError
from trueup.core.model import DIRECTORY_TOKEN, Fingerprint, Key, Token, is_directory
from trueup.protocols import Discarded, Source, Trash, Written
from trueup.stores.file import place
from trueup.stores.file.trash import Kept
from trueup.stores.file.version import check_expected, check_version, gone_is_changed, same_version, written_token

LEFTOVER_RUN = "leftover"
"""Run id under which `clean` keeps what killed runs left."""


@dataclass(slots=True)
class Folder:
    """One root with its trash. All calls block; all are safe from several threads."""

    root: str
    trash: str
    unique: Callable[[], str]
    """Makes names for temporary files; no two alike while this root is in use."""
    exchanges: bool = True
    """Becomes False when the file system turns out not to exchange names atomically."""
    _touched: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        self._kept = Kept(self.root, self.trash)

    # -- reading -------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self, key: Key, token: Token) -> Iterator[Iterator[bytes]]:
        """The bytes of one version.

        Raises:
            PreconditionFailed: If it is another version, at the opening or after the last byte.
        """
        place.refuse_name(key)  # a plan that was read from a file may name anything
        with place.parent(self.root, key) as (dir_fd, name):
            # O_NONBLOCK: a pipe that took the file's place must not hang the run.
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
        with os.fdopen(fd, "rb", buffering=0) as file:
            check_version(key, token, os.fstat(fd))

            def chunks() -> Iterator[bytes]:
                while chunk := file.read(place.CHUNK):
                    yield chunk
                check_version(key, token, os.fstat(fd))

            yield chunks()

    def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """BLAKE3 of one version."""
        digest = blake3()
        with place.translated(key), self.reading(key, token) as chunks:
            for chunk in chunks:
                digest.update(chunk)
        return Fingerprint("blake3", digest.hexdigest())

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, key: Key, source: Source, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`."""
        place.refuse_name(key)
        with place.translated(key), place.nearest(self.root, key) as (dir_fd, missing, name):
            current = None if missing else place.status_at(dir_fd, name)
            check_expected(key, expect, current)  # cheap, and saves reading a source in vain
            temporary = self._temporary(name)
            source = source.told()
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
            mine = None
            try:
                fingerprint = _fill(fd, key, source)
                os.fchmod(fd, _mode(source, current))
                os.utime(fd, ns=(source.modified_ns or os.fstat(fd).st_mtime_ns,) * 2)
                os.fsync(fd)
                mine = os.fstat(fd)
                with gone_is_changed(key):
                    if expect is None:
                        self._install(dir_fd, temporary, missing, name, key)
                        kept = None
                    else:
                        kept = self._replace(dir_fd, temporary, name, key, expect, trash, mine)
                token = written_token(mine, os.fstat(fd))
            finally:
                mine = mine or os.fstat(fd)  # what is not filled to the end has never had the name
                os.close(fd)
                self._retire(dir_fd, temporary, key, mine)
            self._touch(key)
            return Written(token, fingerprint, kept)

    @staticmethod
    def _install(dir_fd: int, temporary: str, missing: list[str], name: str, key: Key) -> None:
        """Give the temporary file a name that nothing has; only now, directories are made for it."""
        try:
            with place.descended(dir_fd, missing, create=True) as target_fd:
                place.rename_new(dir_fd, temporary, target_fd, name)
        except FileExistsError as error:
            raise PreconditionFailed(f"{key} was created meanwhile") from error

    def _replace(
        self,
        dir_fd: int,
        temporary: str,
        name: str,
        key: Key,
        expect: Token,
        trash: Trash | None,
        mine: os.stat_result,
    ) -> str | None:
        """Give the temporary file the name of what is expected there; returns the handle of what was replaced."""
        if expect == DIRECTORY_TOKEN:
            self._replace_directory(dir_fd, temporary, name, key, mine)
            return None
        expected = place.status_at(dir_fd, name)
        check_expected(key, expect, expected)
        assert expected is not None  # noqa: S101  # check_expected has seen to it
        if not (self.exchanges and place.exchange(dir_fd, temporary, name)):
            self.exchanges = False
            return self._replace_checked(dir_fd, temporary, name, key, expected, trash)
        return self._keep_exchanged(dir_fd, temporary, name, key, expected, mine, trash)

    def _keep_exchanged(
        self,
        dir_fd: int,
        temporary: str,
        name: str,
        key: Key,
        expected: os.stat_result,
        mine: os.stat_result,
        trash: Trash | None,
    ) -> str | None:
        """Keep what an exchange brought out; exchange back if it is another version, or cannot be kept."""
        try:
            if not same_version(os.stat(temporary, dir_fd=dir_fd, follow_symlinks=False), expected):
                raise PreconditionFailed(f"{key} was changed meanwhile")
            return self._discard(dir_fd, temporary, key, trash)
        except (OSError, StoreError):
            self._swap_back(dir_fd, temporary, name, mine)
            raise

    @staticmethod
    def _swap_back(dir_fd: int, temporary: str, name: str, mine: os.stat_result) -> None:
        """As if nothing had been, unless somebody has replaced what we put there.

        Whatever lies under the temporary name then and is not as we wrote it is kept by `_retire`.
        """
        live = place.status_at(dir_fd, name)
        if live is not None and live.st_ino == mine.st_ino:
            place.exchange(dir_fd, temporary, name)

    def _replace_checked(
        self, dir_fd: int, temporary: str, name: str, key: Key, expected: os.stat_result, trash: Trash | None
    ) -> str | None:
        """Without exchange: link the old version into the trash, look at it there, then rename over the name."""
        kept = self._link_to_trash(dir_fd, name, key, trash or Trash(LEFTOVER_RUN))
        linked = self._kept.status(kept)
        if not same_version(linked, expected):
            self.prune(kept)
            raise PreconditionFailed(f"{key} was changed meanwhile")
        os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        if trash is None:
            self.prune(kept)
            return None
        return kept

    def _replace_directory(self, dir_fd: int, temporary: str, name: str, key: Key, mine: os.stat_result) -> None:
        """A file takes the place of a directory, in which there may be only directories."""
        if not place.is_directory_at(dir_fd, name):
            raise PreconditionFailed(f"{key} is no longer a directory")
        if self.exchanges and place.exchange(dir_fd, temporary, name):
            try:
                place.remove_hollow(dir_fd, temporary)
            except OSError as error:
                self._swap_back(dir_fd, temporary, name, mine)
                raise PreconditionFailed(f"{key}/ is not empty", why=error.strerror or "") from error
            return
        self.exchanges = False
        place.remove_hollow(dir_fd, name)
        place.rename_new(dir_fd, temporary, dir_fd, name)

    def make_directory(self, key: Key, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`."""
        place.refuse_name(key)
        new = expect in (None, DIRECTORY_TOKEN)
        with place.translated(key), gone_is_changed(key), place.parent(self.root, key, create=new) as (dir_fd, name):
            kept = None
            if new:
                try:
                    os.mkdir(name, dir_fd=dir_fd)
                except FileExistsError:
                    if not place.is_directory_at(dir_fd, name):
                        raise
            else:
                kept = self._replace_file(dir_fd, name, key, expect, trash)
            self._touch(key)
            return Written(DIRECTORY_TOKEN, None, kept)

    def _replace_file(self, dir_fd: int, name: str, key: Key, expect: Token | None, trash: Trash | None) -> str | None:
        """A directory takes the place of a file."""
        expected = place.status_at(dir_fd, name)
        check_expected(key, expect, expected)
        assert expected is not None  # noqa: S101  # check_expected has seen to it
        file_key = Key(key.removesuffix("/"))
        temporary = self._temporary(name)
        os.mkdir(temporary, dir_fd=dir_fd)
        mine = os.stat(temporary, dir_fd=dir_fd, follow_symlinks=False)
        try:
            if self.exchanges and place.exchange(dir_fd, temporary, name):
                return self._keep_exchanged(dir_fd, temporary, name, file_key, expected, mine, trash)
            self.exchanges = False
            kept = self._take_out(dir_fd, name, file_key, expected, trash)
            os.mkdir(name, dir_fd=dir_fd)
            return kept
        finally:
            self._retire(dir_fd, temporary, file_key, mine)

    def move(self, origin: Key, target: Key, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`."""
        place.refuse_name(origin)
        place.refuse_name(target)
        with place.translated(origin), gone_is_changed(origin), place.parent(self.root, origin) as (from_fd, old):
            expected = place.status_at(from_fd, old)
            check_expected(origin, expect, expected)  # before any directory is made for it
            assert expected is not None  # noqa: S101  # check_expected has seen to it
            with place.parent(self.root, target, create=True) as (to_fd, new):
                place.rename_new(from_fd, old, to_fd, new)
                out = os.stat(new, dir_fd=to_fd, follow_symlinks=False)
                if not same_version(out, expected):
                    place.rename_new(to_fd, new, from_fd, old)
                    raise PreconditionFailed(f"{origin} was changed meanwhile")
        self._touch(origin)
        self._touch(target)
        return Written(place.token_of(out))

    def remove(self, key: Key, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        place.refuse_name(key)
        with place.translated(key), gone_is_changed(key):
            if is_directory(key):
                return self._remove_directory(key)
            with place.parent(self.root, key) as (dir_fd, name):
                expected = place.status_at(dir_fd, name)
                check_expected(key, expect, expected)
                assert expected is not None  # noqa: S101  # check_expected has seen to it
                kept = self._take_out(dir_fd, name, key, expected, trash)
            self._touch(key)
            return Written(None, None, kept)

    def _remove_directory(self, key: Key) -> Written:
        with suppress(FileNotFoundError, NotADirectoryError), place.parent(self.root, key) as (dir_fd, name):
            os.rmdir(name, dir_fd=dir_fd)
            self._touch(key)
        return Written(None)

    def _take_out(self, dir_fd: int, name: str, key: Key, expected: os.stat_result, trash: Trash | None) -> str | None:
        """Rename a file away, look at what came out, and put it back if it is not what was expected."""
        temporary = self._temporary(name)
        os.rename(name, temporary, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        out = os.stat(temporary, dir_fd=dir_fd, follow_symlinks=False)
        if not same_version(out, expected):
            try:
                place.rename_new(dir_fd, temporary, dir_fd, name)
            except FileExistsError:
                self._move_to_trash(dir_fd, temporary, key, LEFTOVER_RUN)
            raise PreconditionFailed(f"{key} was changed meanwhile")
        try:
            return self._discard(dir_fd, temporary, key, trash)
        except (OSError, StoreError):  # the trash cannot take it: it goes back under its name
            with suppress(FileExistsError):
                place.rename_new(dir_fd, temporary, dir_fd, name)
            raise

    # -- trash ---------------------------------------------------------------------------------------------------

    def _discard(self, dir_fd: int, temporary: str, key: Key, trash: Trash | None) -> str | None:
        if trash is None:
            os.unlink(temporary, dir_fd=dir_fd)
            return None
        return self._move_to_trash(dir_fd, temporary, key, trash.run)

    def _retire(self, dir_fd: int, temporary: str, key: Key, mine: os.stat_result) -> None:
        """Nothing stays under a temporary name: ours is removed, what anybody else made or edited is kept."""
        status = place.status_at(dir_fd, temporary)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            self._retire_directory(dir_fd, temporary, key)
        elif same_version(status, mine):
            os.unlink(temporary, dir_fd=dir_fd)
        else:
            self._move_to_trash(dir_fd, temporary, key, LEFTOVER_RUN)

    def _retire_directory(self, dir_fd: int, temporary: str, key: Key) -> str | None:
        """Remove an empty directory; one that somebody put something into while it had a name is kept."""
        try:
            os.rmdir(temporary, dir_fd=dir_fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return self._move_to_trash(dir_fd, temporary, key, LEFTOVER_RUN)
        return None

    def _move_to_trash(self, dir_fd: int, name: str, key: Key, run: str) -> str:
        def move(target_fd: int, target: str) -> None:
            place.rename_new(dir_fd, name, target_fd, target)

        return self._kept.take(key, run, move)

    def _link_to_trash(self, dir_fd: int, name: str, key: Key, trash: Trash) -> str:
        def link(target_fd: int, target: str) -> None:
            os.link(name, target, src_dir_fd=dir_fd, dst_dir_fd=target_fd, follow_symlinks=False)

        return self._kept.take(key, trash.run, link)

    @contextmanager
    def reading_kept(self, handle: str) -> Iterator[Iterator[bytes]]:
        """The bytes of a kept version."""
        with self._kept.reading(handle) as chunks:
            yield chunks

    def kept(self) -> list[Discarded]:
        """Everything in the trash, by run and key."""
        return self._kept.items()

    def prune(self, handle: str) -> None:
        """Destroy one kept version, and the directories that it leaves empty."""
        self._kept.prune(handle)

    def clean(self, leftovers: list[str]) -> list[str]:
        """Keep temporary files of killed runs: one of them may hold the only copy of an exchanged version."""
        handles = []
        for path in leftovers:
            directory, name = os.path.split(path)
            original = name.removeprefix(place.TEMPORARY).partition(".")[2] or name
            key = Key(f"{directory}/{original}" if directory else original)
            # What cannot be kept now stays where it is, for the next run to find; it must not stop this one.
            with suppress(StoreError), place.translated(path), place.parent(self.root, Key(path)) as (dir_fd, _):
                handle = self._clean(dir_fd, name, key)
                if handle is not None:
                    handles.append(handle)
        return handles

    def _clean(self, dir_fd: int, name: str, key: Key) -> str | None:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return self._retire_directory(dir_fd, name, key)
        if status.st_size == 0:
            os.unlink(name, dir_fd=dir_fd)
            return None
        return self._move_to_trash(dir_fd, name, key, LEFTOVER_RUN)

    # -- durability ----------------------------------------------------------------------------------------------

    def _temporary(self, name: str) -> str:
        """A free name that says whose place it takes; cut so that no file system finds it too long."""
        head = f"{place.TEMPORARY}{self.unique()}."
        room = place.NAME_BYTES - len(head)
        return head + os.fsdecode(os.fsencode(name)[:room])

    def _touch(self, key: Key) -> None:
        with self._lock:
            self._touched.add(os.path.dirname(key.removesuffix("/")))

    def flush(self) -> None:
        """Sync the directories that were written to since the last call; files are synced before they get a name."""
        with self._lock:
            touched, self._touched = self._touched, set()
        for directory in sorted(touched):
            below = Key(f"{directory}/." if directory else ".")
            with (
                place.translated(directory),
                suppress(FileNotFoundError, NotADirectoryError),  # moved away: no longer ours to sync
                place.parent(self.root, below) as (dir_fd, _),
            ):
                os.fsync(dir_fd)


def _fill(fd: int, key: Key, source: Source) -> Fingerprint:
    """Copy the source into the open file; refuse bytes that are not the bytes promised."""
    digest = blake3()
    expected = source.fingerprint
    also = hashlib.new(expected.algorithm) if expected and expected.algorithm != "blake3" else None
    length = 0
    with source.open() as chunks:
        for chunk in chunks:
            digest.update(chunk)
            if also is not None:
                also.update(chunk)
            length += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
    if length != source.size:
        raise Corrupt(f"{key} arrived with {length} bytes", why=f"{source.size} were promised")
    arrived = Fingerprint("blake3", digest.hexdigest())
    actual = also.hexdigest() if also is not None else arrived.digest
    if expected is not None and expected.digest != actual:
        raise Corrupt(f"{key} arrived with other content than promised", why=f"{actual}, not {expected.digest}")
    return arrived


def _mode(source: Source, current: os.stat_result | None) -> int:
    """A replaced file keeps its permission bits, a new one gets the source's.

    Never set-user-id and the like: whoever can write to a bucket could make a program of theirs run as somebody else.
    """
    if current is not None and stat.S_ISREG(current.st_mode):
        return current.st_mode & 0o777
    return source.mode & 0o777 if source.mode is not None else 0o666 & ~_umask()


def _umask() -> int:
    """The process's umask, read without setting it."""
    with suppress(OSError):  # no such file where the system is not Linux
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
