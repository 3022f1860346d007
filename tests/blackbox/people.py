"""People who edit while runs go on: in a folder by what a file system offers, in a bucket by plain requests.

They know exactly what they destroy: a file is exchanged or moved away before it is read and removed, an object is
replaced under the condition that it is still what was seen. A server that ignores conditions takes that from them too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import monotonic

from tests.blackbox.ledger import Ledger
from tests.engine.real_bucket import Plain
from tests.engine.real_tree import digest

_LIBC = ctypes.CDLL(None, use_errno=True)
_HERE = -100
NO_REPLACE, EXCHANGE = 1, 2
LEFT_ALONE = {".trueup", "kind", "still"}
"""`kind` has rules of its own, and `still` changes never: a guard stops runs to which all seems changed."""


def renamed(source: Path, target: Path, flags: int) -> None:
    """`renameat2` of Linux."""
    if _LIBC.renameat2(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


@dataclass(eq=False)  # threads are kept in sets
class Person(Thread):
    """Does one thing after the other until it is enough."""

    who: str
    seed: int
    ledger: Ledger
    pause_seconds: float = 0.03
    made: int = 0
    """Names that it has thought of."""
    failure: Exception | None = None

    def __post_init__(self) -> None:
        super().__init__(name=self.who, daemon=True)
        self.rng = Random(f"{self.seed} {self.who}")
        self.enough = Event()

    def run(self) -> None:
        try:
            while not self.enough.wait(self.rng.uniform(0, 2 * self.pause_seconds)):
                self.act()
        except Exception as error:  # noqa: BLE001  # the edge of a thread: `stop` raises it again
            self.failure = error

    def act(self) -> None:
        """One thing."""
        raise NotImplementedError

    def stop(self) -> None:
        """It is enough; raises what went wrong."""
        self.enough.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def new_name(self) -> str:
        """One that nobody else thinks of."""
        self.made += 1
        folder = self.rng.choice(["", "d0/", "d1/", "d2/deep/", "new folder/", "ü ber/"])
        return f"{folder}{self.who}-{self.made}{self.rng.choice(['.txt', '', ' +%20.x'])}"


@dataclass(eq=False)
class FolderPerson(Person):
    """Works in a folder."""

    root: Path = field(kw_only=True)
    desk: Path = field(kw_only=True)
    """A folder beside it, on the same file system."""
    in_place: bool = True
    """Whether it also writes into files that are there. Not on a full disk: that leaves half a version."""
    kinds: tuple[str, ...] = ()
    """The names that it turns into folders and back; nobody else touches those."""

    def names(self) -> list[str]:
        """Files that it would edit; siblings are for others to settle."""
        found = []
        for directory, below, files in os.walk(self.root):
            below[:] = [name for name in below if name not in LEFT_ALONE]
            here = Path(directory).relative_to(self.root)
            found += [str(here / name) for name in files if ".conflict-" not in name and not name.startswith(".trueup")]
        return sorted(found)

    def act(self) -> None:
        names, lot = self.names(), self.rng.random()
        name = self.rng.choice(names) if names else ""
        # What a run does at the same moment may be in the way: then it was not done.
        with suppress(FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
            if lot < 0.4 or not names:
                self.create(self.new_name())
            elif lot < 0.6:
                self.replace(name)
            elif lot < 0.75 and self.in_place:
                self.write_into(name)
            elif lot < 0.85:
                self.delete(name)
            elif lot < 0.93:
                self.move(self.root / name, self.root / self.new_name())
            elif lot < 0.96 or not self.kinds:
                self.move_folder()
            else:
                self.change_kind(self.rng.choice(self.kinds))

    def put_on_desk(self, content: bytes) -> Path:
        """A complete file that nobody sees yet."""
        path = self.desk / f"{self.who}-draft"
        try:
            path.write_bytes(content)
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno != errno.ENOSPC:
                raise
            raise FileNotFoundError(str(path)) from error
        return path

    def create(self, name: str, *, size: int = 0) -> None:
        """A new file, complete from the beginning."""
        began, content = monotonic(), self.ledger.content(name, size=size)
        draft = self.put_on_desk(content)
        try:
            self.folder_of(name)
            renamed(draft, self.root / name, NO_REPLACE)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self.in_the_way(error) from error
        self.ledger.wrote(content, f"{self.who} created", name, self.who, began)

    def folder_of(self, name: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def in_the_way(error: OSError) -> OSError:
        """A full disk is one more thing that is in the way."""
        return FileNotFoundError("the disk is full") if error.errno == errno.ENOSPC else error

    def replace(self, name: str) -> None:
        """As most editors save: a new file takes the name, and what came out is looked at."""
        began, content = monotonic(), self.ledger.content(name)
        draft = self.put_on_desk(content)
        try:
            renamed(draft, self.root / name, EXCHANGE)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self.in_the_way(error) from error
        self.ledger.wrote(content, f"{self.who} replaced", name, self.who, began)
        self.destroy(draft)

    def write_into(self, name: str) -> None:
        """As some others do: the same file, emptied and written. Below a page, so that nobody reads half of it."""
        began, content = monotonic(), self.ledger.content(name)
        descriptor = os.open(self.root / name, os.O_RDWR)
        try:
            if os.fstat(descriptor).st_size > 4096:
                return
            seen = os.pread(descriptor, 8192, 0)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)
        self.ledger.wrote(content, f"{self.who} wrote into", name, self.who, began)
        self.ledger.destroyed(digest(seen))

    def delete(self, name: str) -> None:
        """Take it away, look what it is, and destroy that."""
        away = self.desk / f"{self.who}-away"
        renamed(self.root / name, away, NO_REPLACE)
        self.destroy(away)

    def destroy(self, path: Path) -> None:
        """A file or a folder that nobody else can reach any more."""
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        for file in files:
            self.ledger.destroyed(digest(file.read_bytes()))
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def move(self, source: Path, target: Path) -> None:
        """Under a name that nobody else has; nothing is destroyed."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            renamed(source, target, NO_REPLACE)
        except OSError as error:
            raise self.in_the_way(error) from error

    def move_folder(self) -> None:
        """One with everything in it."""
        folders = [path for path in self.root.iterdir() if path.is_dir() and path.name not in LEFT_ALONE]
        if folders:
            self.made += 1
            self.move(self.rng.choice(sorted(folders)), self.root / f"{self.who} moved {self.made}")

    def change_kind(self, name: str) -> None:
        """A file becomes a folder, a folder a file."""
        path, away = self.root / name, self.desk / f"{self.who}-away"
        was_folder = path.is_dir()
        if path.exists():
            renamed(path, away, NO_REPLACE)
            self.destroy(away)
        self.create(name if was_folder else f"{name}/inside")


@dataclass(eq=False)
class BucketPerson(Person):
    """Works in a bucket."""

    bucket: Plain = field(kw_only=True)

    def act(self) -> None:
        with suppress(OSError, HTTPException):  # the person goes straight to the server; it may be busy
            live = [name for name in self.bucket.live() if self.may_edit(name)]
            for _ in range(8):  # listing is dear
                if not live or self.enough.wait(self.pause_seconds):
                    return
                self.once(self.rng.choice(sorted(live)), self.rng.random())

    @staticmethod
    def may_edit(name: str) -> bool:
        """Siblings are for others to settle."""
        return ".conflict-" not in name and name.partition("/")[0] not in LEFT_ALONE

    def once(self, name: str, lot: float) -> None:
        """One request or a few, about one name."""
        if lot < 0.4:
            self.put(self.new_name(), "")
            return
        seen = self.bucket.request("HEAD", name)
        etag = seen.headers.get("etag", "")
        if seen.status != 200 or "-" in etag:  # in parts: its name says nothing about its bytes
            return
        if lot < 0.75:
            self.put(name, etag)
        elif lot < 0.88:
            self.delete(name, etag, destroys=True)
        else:
            body = self.bucket.request("GET", name, if_match=etag)
            new = self.new_name()
            if body.status == 200 and self.bucket.request("PUT", new, body.body, if_none_match="*").status == 200:
                # A server that ignores the condition may have given another version than was seen.
                self.delete(name, etag, destroys=digest(body.body) != bytes.fromhex(etag.strip('"')))

    def put(self, name: str, etag: str) -> None:
        """Write an object: a new one, or in the place of what was seen."""
        began, content = monotonic(), self.ledger.content(name)
        condition = {"if_match": etag} if etag else {"if_none_match": "*"}
        if self.bucket.request("PUT", name, content, **condition).status == 200:
            self.ledger.wrote(content, f"{self.who} put", name, "remote", began)
            if etag:
                self.ledger.destroyed(bytes.fromhex(etag.strip('"')))

    def delete(self, name: str, etag: str, *, destroys: bool) -> None:
        """Remove what was seen."""
        if self.bucket.request("DELETE", name, if_match=etag).status == 204 and destroys:
            self.ledger.destroyed(bytes.fromhex(etag.strip('"')))
