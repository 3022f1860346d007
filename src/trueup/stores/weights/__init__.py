"""Store of weights: what was pulled of policies, below a folder of models, ``NAME/VERSION/``."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from trueup.core.errors import AccessDenied, Corrupt, NotFound, PreconditionFailed, ReadOnly, StoreError, Unavailable
from trueup.core.model import OPAQUE_TOKEN, Content, Entry, Fingerprint, Key, Kind, Row, Token, Unknown, key_bytes
from trueup.protocols import Discarded, Opening, Trash, Written
from trueup.stores.records import Removable
from trueup.stores.weights.bin import RESERVED, Bin, translated
from trueup.stores.weights.folder import Look, look
from trueup.stores.weights.proof import Cache, FileId, Remembered, Verified, prove

__all__ = ["Cache", "Expected", "FileId", "Verified", "WeightsStore"]

Expected = Callable[[], Mapping[Key, Path | None]]
"""The recorded policies, each with its recorded path."""


Place = str | Unknown
"""Where weights may be; or why that cannot be said."""


class WeightsStore(Removable):
    """The folders ``NAME/VERSION`` below a root, under the keys ``NAME:VERSION``. Implements `trueup.protocols.Store`.

    A folder is whole, or damaged: empty, a download that was interrupted, a file shorter than its header says, a shard
    that is not there, or not what was verified before. It is looked for at ``ROOT/NAME/VERSION``, from where MAPLE
    serves it; if it is not whole there, then at the recorded path. Nothing outside the root is ever changed.

    Args:
        root: The folder of models; ``~`` is the home.
        opening: Threads, memory.
        expected: The recorded policies. They may not exist, and their paths may be anything.
    """

    holds = "weights"

    def __init__(self, root: str, opening: Opening, expected: Expected) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self._expected = expected
        self._bin = Bin(self.root)
        super().__init__(self.root, opening)

    # -- observe -------------------------------------------------------------------------------------------------

    def rows(self) -> Iterable[Row]:
        """As `Inventory`.

        Raises:
            Unavailable: If the root is not there: nothing is known then, of nothing. Without recorded policies it may
                be missing.
            AccessDenied: If it cannot be looked into.
        """
        expected = self._expected()
        found = self._on_disk(expected)
        for key, path in expected.items():
            found[key] = self._places(key, path)
        rows = (self._row(key, places) for key, places in found.items())
        return [row for row in rows if row is not None]

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe`; damaged items too have a version."""
        return await self._threads(self._stat, key)

    def _stat(self, key: Key) -> Entry | None:
        self._names()
        row = self._row(key, self._places(key, self._expected().get(key)))
        if row is None:
            return None
        if row[2] is Kind.UNREADABLE:
            raise StoreError(row[6])
        note = row[6] if row[2] is Kind.FILE else ""
        return Entry(row[1], Content(row[2], row[3], Fingerprint.parse(note)))

    def _names(self) -> list[str]:
        """Names in the root that may be policies.

        Raises:
            StoreError: If the root cannot be read.
        """
        try:
            return _folders(self.root)
        except PermissionError as error:
            raise AccessDenied(
                f"no permission to look into the models root {self.root}", attempt=f"ls -ld {self.root}"
            ) from error
        except OSError as error:
            raise Unavailable(
                f"the models root {self.root} cannot be read",
                why=f"{error.strerror}; is its volume mounted?",
                attempt="mount it, or name another with --models-root",
            ) from error

    def _on_disk(self, expected: Mapping[Key, Path | None]) -> dict[Key, list[Place]]:
        """The folders that are there, but those that are recorded under another name."""
        if not expected and not os.path.lexists(self.root):
            return {}
        recorded = {os.path.normpath(path) for path in expected.values() if path is not None}
        found: dict[Key, list[Place]] = {}
        for name in self._names():
            above = os.path.join(self.root, name)
            try:
                versions = _folders(above)
            except OSError as error:
                found[Key(f"{name}:?")] = [_unseen(above, error)]
                continue
            for version in versions:
                key, path = Key(f"{name}:{version}"), os.path.join(above, version)
                if ":" in name:
                    found[key] = [Unknown(f"{path}: no spec NAME:VERSION can name a folder with a colon")]
                elif path not in recorded or key in expected:
                    found[key] = [path]
        return found

    def _places(self, key: Key, recorded: Path | None) -> list[Place]:
        """Where the weights may be: the documented place, then the recorded one if it is another."""
        documented = self._documented(key)
        if documented is None:
            return [Unknown(f"{key}: not a possible folder NAME/VERSION")]
        places: list[Place] = [documented]
        if recorded is not None:
            elsewhere = os.path.normpath(os.path.expanduser(recorded))
            if os.path.isabs(elsewhere) and elsewhere != documented:
                places.append(elsewhere)
        return places

    def _documented(self, key: Key) -> str | None:
        name, _, version = key.partition(":")
        parts = (name, version)
        if any(part in ("", ".", "..", RESERVED) or "/" in part or "\0" in part for part in parts):
            return None
        return os.path.join(self.root, *parts)

    def _row(self, key: Key, places: Sequence[Place]) -> Row | None:
        """The first place that is whole; else what is known of the first that is not absent."""
        best: Row | None = None
        for place in places:
            row = self._row_at(key, place, elsewhere=place is not places[0])
            if row is not None and row[2] is Kind.FILE:
                return row
            if best is None or (row is not None and best[2] is Kind.UNREADABLE):
                best = row or best
        return best

    def _row_at(self, key: Key, place: Place, *, elsewhere: bool) -> Row | None:
        if isinstance(place, Unknown):
            return _unreadable(key, place)
        try:
            seen = look(place)
            if seen is None:
                hidden = _unmounted(key, place, elsewhere=elsewhere)
                return _unreadable(key, Unknown(f"{place}: its volume may not be mounted")) if hidden else None
        except (OSError, ValueError) as error:
            return _unreadable(key, _unseen(place, error))
        known = self._remembered(key)
        why = seen.why or (known.problem(seen) if known is not None else "")
        token = seen.token
        if why:
            return key_bytes(key), token, Kind.DAMAGED, seen.size, 0, None, why
        note = known.fingerprint if known is not None and known.token == token else ""
        return key_bytes(key), token, Kind.FILE, seen.size, max(f.modified_ns for f in seen.files), None, note

    # -- verify --------------------------------------------------------------------------------------------------

    def verify(self, key: Key, cache: Cache, progress: Callable[[str, int], None]) -> Verified:
        """Read the weights to the end. Blocks.

        What is found the first time is remembered; later it is compared with that, and other content makes the weights
        damaged for every look to come, until they change or are accepted.

        Args:
            key: ``NAME:VERSION``.
            cache: Digests of files that were read already.
            progress: Is told a file's name and how many bytes more are done.

        Raises:
            NotFound: If there are none.
            Corrupt: If they are known not to be whole before they are read.
            PreconditionFailed: If they change while they are read.
            StoreError: If they cannot be read.
        """
        with translated(key, self.root):
            seen = self._seen(key)
            if seen.why:
                raise Corrupt(f"{key} is damaged", why=seen.why)
            found = prove(seen, cache, progress)
        known = self._remembered(key)
        if known is None:
            self.accept(key, found)
            return found
        names = sorted(name for name in known.files if known.files[name] != found.files.get(name))
        if names:
            found = replace(found, differing=tuple(names))
            self._memory[self._memory_name(key)] = known.spoilt(found)
        else:
            self.accept(key, found)
        return found

    def accept(self, key: Key, found: Verified) -> None:
        """Remember what was verified as what the weights are to be. Blocks."""
        self._memory[self._memory_name(key)] = found.document()

    def forget(self, key: Key) -> None:
        """Remember no more what was verified. Blocks."""
        self._memory.pop(self._memory_name(key), None)

    def path_of(self, key: Key) -> str | None:
        """Where the weights are that a look shows, whole or not; None if nowhere. Blocks."""
        for place in self._places(key, self._expected().get(key)):
            with suppress(OSError, ValueError):
                if isinstance(place, str) and look(place) is not None:
                    return place
        return None

    def _seen(self, key: Key) -> Look:
        looks = [look(place) for place in self._places(key, self._expected().get(key)) if isinstance(place, str)]
        seen = sorted((one for one in looks if one is not None), key=lambda one: bool(one.why))
        if not seen:
            raise NotFound(f"{key} has no weights")
        return seen[0]

    def _remembered(self, key: Key) -> Remembered | None:
        text = self._memory.get(self._memory_name(key))
        try:
            return None if text is None else Remembered.parse(text)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # written by another version: it is verified anew

    def _memory_name(self, key: Key) -> str:
        return f"weights:{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]}:{key}"

    # -- remove and restore --------------------------------------------------------------------------------------

    def take(self, key: Key, expect: Token, trash: Trash | None) -> Written:
        """As `Removable`: by one rename into ``.trueup/trash`` of the root, whatever the size.

        Raises:
            ReadOnly: If they are not at ``ROOT/NAME/VERSION``, or behind a link.
        """
        path = self._own(key)
        with translated(key, self.root):
            _check(key, path, expect)
            handle, kept = self._bin.reserve(key, "discarded" if trash is None else trash.run)
            os.rename(path, kept)
            try:
                _check(key, kept, expect)
            except PreconditionFailed:
                os.rename(kept, path)
                raise
            with suppress(OSError):  # other versions are there
                os.rmdir(os.path.dirname(path))
        if trash is None:
            self._bin.prune(handle)
            return Written(None)
        return Written(None, None, handle)

    def command(self, key: Key) -> str:
        """As `Removable`."""
        return f"maple pull policy {key}"

    def put_back(self, key: Key, handle: str, expect: Token | None, trash: Trash | None) -> Written:
        """As `Removable`."""
        path, kept = self._own(key), self._bin.path(handle)
        replaced = None if expect is None else self.take(key, expect, trash).kept
        with translated(key, self.root):
            if os.path.lexists(path):
                raise PreconditionFailed(f"{key} has weights by now")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.rename(kept, path)
            self._bin.sweep(handle)
            seen = look(path)
        return Written(None if seen is None else seen.token, None, replaced)

    def _own(self, key: Key) -> str:
        """The place that may be changed."""
        path = self._documented(key)
        if path is None:
            raise ReadOnly(f"{key} is not a possible folder NAME/VERSION")
        if not os.path.lexists(path) and (elsewhere := self.path_of(key)) is not None:
            raise ReadOnly(
                f"the weights of {key} are outside {self.root}",
                why=f"they are at {elsewhere}",
                attempt=f"look whether they may go, then: rm -r {elsewhere}",
            )
        for link in (os.path.dirname(path), path):
            if os.path.islink(link):
                raise ReadOnly(f"{link} is a link", attempt=f"look where it leads: readlink {link}")
        return path

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps`."""
        return await self._threads(self._bin.kept)

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps`."""
        await self._threads(self._bin.prune, handle)

    # -- identity ------------------------------------------------------------------------------------------------

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked`: in ``.trueup/id``, as any folder's."""
        return await self._threads(self._marker)

    def _marker(self) -> str | None:
        try:
            return Path(self.root, RESERVED, "id").read_text(encoding="ascii").strip() or None
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise AccessDenied(f"the identity of {self.root} cannot be read", why=error.strerror or "") from error

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked`; a root that is not there, or must not be written, stays without."""
        return await self._threads(self._set_marker, identity)

    def _set_marker(self, identity: str) -> str:
        found = self._marker()
        if found is not None:
            return found
        own = Path(self.root, RESERVED)
        try:
            own.mkdir(mode=0o700, exist_ok=True)
            temporary = own / f"id.{os.getpid()}"
            temporary.write_text(identity + "\n", encoding="ascii")
            temporary.replace(own / "id")
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            if error.errno == errno.EROFS:
                return ""
            raise StoreError(f"{self.root} cannot be marked", why=error.strerror or "") from error
        return identity

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked`."""
        return await self._threads(self._free_bytes)

    def _free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self.root).free
        except OSError:
            return None


def _folders(path: str) -> list[str]:
    """Names of the folders in a folder, links to folders and links to nowhere among them, hidden ones not."""
    with os.scandir(path) as entries:
        return [one.name for one in entries if not one.name.startswith(".") and (one.is_dir() or _is_lost(one))]


def _is_lost(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _unreadable(key: Key, unknown: Unknown) -> Row:
    return key_bytes(key), OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, unknown.why


def _unseen(path: str, error: OSError | ValueError) -> Unknown:
    """A place that could not be looked at."""
    return Unknown(f"{path}: {getattr(error, 'strerror', None) or error}".replace("\0", "\\0"))


def _unmounted(key: Key, path: str, *, elsewhere: bool) -> bool:
    """Whether the folder above, of which nothing else is known, is not there, or is as empty as a mount point."""
    above = os.path.dirname(path)
    if elsewhere:
        name, _, version = key.partition(":")
        return _hollow(os.path.dirname(above) if path.endswith(f"/{name}/{version}") else above)
    return os.path.islink(above) and _hollow(above)


def _hollow(path: str) -> bool:
    with suppress(OSError), os.scandir(path) as entries:
        return next(entries, None) is None
    return True


def _check(key: Key, path: str, expect: Token) -> None:
    seen = look(path)
    if seen is None or seen.token != expect:
        raise PreconditionFailed(f"{key} changed meanwhile" if seen else f"{key} has no weights by now")
