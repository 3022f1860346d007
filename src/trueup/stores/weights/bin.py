"""The trash of a folder of models: ``.trueup/trash/RUN/N/NAME/VERSION``."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trueup.core.errors import AccessDenied, NotFound, PreconditionFailed, ReadOnly, StoreError
from trueup.core.model import Key, key_bytes
from trueup.protocols import Discarded
from trueup.stores.weights.folder import look

RESERVED = ".trueup"


class Bin:
    """Folders of weights that were removed from one root, on its filesystem. All calls block."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._trash = os.path.join(root, RESERVED, "trash")

    def reserve(self, key: Key, run: str) -> tuple[str, str]:
        """A place that nobody has: its handle, and its path, at which there is nothing yet."""
        name, _, version = key.partition(":")
        above = os.path.join(self._trash, run)
        os.makedirs(above, mode=0o700, exist_ok=True)
        number = 0
        while True:
            try:
                os.mkdir(os.path.join(above, str(number)), 0o700)
                break
            except FileExistsError:
                number += 1
        os.mkdir(os.path.join(above, str(number), name))
        return f"{run}/{number}/{name}/{version}", os.path.join(above, str(number), name, version)

    def path(self, handle: str) -> str:
        """Where a kept version is.

        Raises:
            NotFound: If there is none of that handle.
        """
        parts = handle.split("/")
        path = os.path.join(self._trash, handle)
        possible = len(parts) == 4 and not any(part in ("", ".", "..") or "\0" in part for part in parts)
        if not possible or not os.path.lexists(path):
            raise NotFound(f"{self._root} keeps nothing named {handle}")
        return path

    def sweep(self, handle: str) -> None:
        """Remove the folders that held one kept version, as far as they hold nothing else."""
        path = os.path.join(self._trash, handle)
        with suppress(OSError):
            for _ in range(3):
                path = os.path.dirname(path)
                os.rmdir(path)

    def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps`."""
        trash = Path(self._trash)
        found = []
        with translated(Key(".trueup/trash"), self._root):
            for path in trash.glob("*/*/*/*"):
                run, _, name, version = path.relative_to(trash).parts
                seen = look(str(path))
                if seen is not None:
                    handle, key = str(path.relative_to(trash)), Key(f"{name}:{version}")
                    # The rename into the trash moved the folder's change time, and nothing since.
                    found.append(Discarded(handle, run, key, seen.size, path.lstat().st_ctime_ns))
        return sorted(found, key=lambda one: (one.run, key_bytes(one.key), one.handle))

    def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps`."""
        path = self.path(handle)
        with translated(Key(handle), self._root):
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
            self.sweep(handle)


@contextmanager
def translated(key: Key, root: str) -> Iterator[None]:
    """Errors of the system as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise PreconditionFailed(f"{key} changed meanwhile", why=f"{error.filename} is not there") from error
    except PermissionError as error:
        raise AccessDenied(f"no permission for {key}", why=str(error.filename or error.strerror)) from error
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EBUSY):
            raise ReadOnly(
                f"{key} is on another volume than {root}", attempt="remove it there, or unmount it"
            ) from error
        raise StoreError(f"{key} failed", why=error.strerror or str(error)) from error
