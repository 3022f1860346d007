"""Versions that were replaced or deleted: ``<run>/<number>/<key>`` below one folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from trueup.core.errors import PreconditionFailed
from trueup.core.model import Key, key_bytes
from trueup.protocols import Discarded
from trueup.stores.file import place


@dataclass(frozen=True, slots=True)
class Kept:
    """The trash of one root."""

    root: str
    path: str
    """In the root's reserved directory, or anywhere else that a person has chosen."""

    def take(self, key: Key, run: str, put: Callable[[int, str], None]) -> str:
        """Find a free place ``<run>/<n>/<key>`` and put a version there."""
        for n in range(10_000):
            handle = f"{run}/{n}/{key}"
            try:
                with self._directory(create=True) as base, _below(base, handle, create=True) as (dir_fd, name):
                    put(dir_fd, name)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.ELOOP):
                    continue
                raise
            return handle
        raise PreconditionFailed(f"the trash holds too many versions of {key} from run {run}")

    def status(self, handle: str) -> os.stat_result:
        """What is kept under a handle."""
        with self._directory() as base, _below(base, handle) as (dir_fd, name):
            return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    @contextmanager
    def reading(self, handle: str) -> Iterator[Iterator[bytes]]:
        """The bytes of a kept version."""
        place.refuse_name(Key(handle), reserved=False)
        with place.translated(handle):
            with self._directory() as base, _below(base, handle) as (dir_fd, name):
                fd = place.open_plain(dir_fd, name, os.O_RDONLY)
            with os.fdopen(fd, "rb", buffering=0) as file:
                yield iter(lambda: file.read(place.CHUNK), b"")

    def items(self) -> list[Discarded]:
        """Everything in the trash, by run and key; links and pipes, which no run puts there, are not listed."""
        found: list[Discarded] = []
        with suppress(FileNotFoundError, NotADirectoryError), self._directory() as base:
            # Against open directories: with run and number in front, a path can be longer than the system takes.
            for directory, _, names, dir_fd in os.fwalk(".", dir_fd=base):
                for name in names:
                    handle = f"{directory}/{name}"[2:]
                    run, n, key = [*handle.split("/", 2), "", ""][:3]
                    status = place.status_at(dir_fd, name)
                    if n.isdigit() and key and status is not None and stat.S_ISREG(status.st_mode):
                        found.append(_discarded(handle, run, Key(key), status))
        return sorted(found, key=lambda item: (item.run, key_bytes(item.key), item.handle))

    def prune(self, handle: str) -> None:
        """Destroy one kept version, and the directories that it leaves empty."""
        place.refuse_name(Key(handle), reserved=False)
        with place.translated(handle), self._directory() as base:
            with _below(base, handle) as (dir_fd, name):
                os.unlink(name, dir_fd=dir_fd)
            while "/" in handle:
                handle = os.path.dirname(handle)
                try:
                    with _below(base, handle) as (dir_fd, name):
                        os.rmdir(name, dir_fd=dir_fd)
                except OSError:
                    break  # not empty: something else is kept there

    @contextmanager
    def _directory(self, *, create: bool = False) -> Iterator[int]:
        """The trash itself, open.

        Whoever shares the root can put a link in the place of its reserved directory: that leads nowhere. A trash
        elsewhere is a person's own choice, and may be reached through links.
        """
        root = self.root.rstrip("/") + "/"
        if self.path.startswith(f"{root}{place.RESERVED}/"):
            with place.parent(self.root, Key(f"{self.path[len(root) :]}/."), create=create, mode=0o700) as (fd, _):
                yield fd
            return
        if create:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        fd = place.open_root(self.path)
        try:
            yield fd
        finally:
            os.close(fd)


@contextmanager
def _below(base: int, handle: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """The open directory of a version, and its name in it."""
    *above, name = handle.split("/")
    with place.descended(base, above, create=create, mode=0o700) as fd:
        yield fd, name


def _discarded(handle: str, run: str, key: Key, status: os.stat_result) -> Discarded:
    """The rename into the trash moved the change time, and nothing since."""
    mode = stat.S_IMODE(status.st_mode)
    return Discarded(handle, run, key, status.st_size, status.st_ctime_ns, status.st_mtime_ns, mode)
