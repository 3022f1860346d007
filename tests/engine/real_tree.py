"""A tree of real files, edited on two sides in every way, the same way for the same seed."""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

FILES = 5_000
LARGEST = 64 * 1024
"""Bytes; a library's few large files would only make the test slow."""
OLD_SECONDS = 1_600_000_000
LEFT_OUT = {"__pycache__", "site-packages", "dist-packages"}


def real_files() -> Iterator[tuple[Path, Path]]:
    """Files of this Python with their names: its standard library, then what is installed."""
    roots = [
        Path(sysconfig.get_path("stdlib")),
        *map(Path, site.getsitepackages()),
        Path(sysconfig.get_path("purelib")),
    ]
    for number, root in enumerate(roots):
        for directory, below, names in os.walk(root):
            below[:] = sorted(name for name in below if name not in LEFT_OUT)
            for name in sorted(names):
                path = Path(directory, name)
                if path.suffix != ".pyc" and path.is_file() and path.stat().st_size <= LARGEST:
                    yield path, Path(f"lib{number}") / path.relative_to(root)


def digest(content: bytes) -> bytes:
    """Names a version: its MD5, which buckets tell unasked."""
    return hashlib.md5(content, usedforsecurity=False).digest()


def stamped(what: str, body: bytes) -> bytes:
    """Content that no other version has, recognisable when it is cut or mixed."""
    stamp = hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest().encode()
    return stamp + b"\n" + body + b"\n" + stamp


def is_whole(content: bytes) -> bool:
    """Whether it is one stamped version from its beginning to its end."""
    return len(content) >= 130 and content[:64] == content[-64:] and content[64:65] == content[-65:-64] == b"\n"


def snapshot(root: Path) -> dict[str, bytes]:
    """What is there: the digest of every file, nothing for a directory."""
    found: dict[str, bytes] = {}
    for directory, below, names in os.walk(root):
        if Path(directory) == root:
            below[:] = [name for name in below if name != ".trueup"]
        here = Path(directory).relative_to(root)
        found.update({f"{here / name}/": b"" for name in below})
        found.update({str(here / name): digest(Path(directory, name).read_bytes()) for name in names})
    return found


def trash(root: Path) -> set[bytes]:
    """Digests of all that is kept."""
    kept = root / ".trueup" / "trash"
    return {digest(Path(directory, name).read_bytes()) for directory, _, names in os.walk(kept) for name in names}


@dataclass
class World:
    """Two folders and the state that joins them."""

    base: Path
    seed: int
    written: dict[bytes, str] = field(default_factory=dict)
    """Digest of every version that anybody wrote after the first agreement, and what it was."""
    replaced: list[str] = field(default_factory=list)
    """Names whose content a sync of the edits will replace, on one side or the other."""

    def __post_init__(self) -> None:
        self.local = self.base / "local"
        self.remote = self.base / "remote"
        self.state = self.base / "state"
        self.remote.mkdir(parents=True)
        self.rng = Random(self.seed)

    @property
    def sides(self) -> tuple[Path, Path]:
        return self.local, self.remote

    @property
    def places(self) -> tuple[str, str]:
        """What a run is told."""
        return str(self.local), str(self.remote)

    @property
    def env(self) -> dict[str, str]:
        """What a run has to know besides."""
        return {}

    def build(self) -> None:
        """Copy the real files to the local side; those that will be watched get stamps."""
        names: list[str] = []
        for source, below in real_files():
            target = self.local / below
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            os.utime(target, (OLD_SECONDS, OLD_SECONDS))
            names.append(str(below))
            if len(names) >= FILES:
                break
        assert len(names) >= FILES, f"this Python has only {len(names)} files"
        self._plan_edits(names)
        for name in self.changed_local + self.changed_remote:
            target = self.local / name
            body = target.read_bytes() + (self.rng.randbytes(3 << 20) if name in self.changed_local[:4] else b"")
            target.write_bytes(stamped(f"agreed {name}", body))
            os.utime(target, (OLD_SECONDS, OLD_SECONDS))

    def _plan_edits(self, names: list[str]) -> None:
        """Share out the names, so that each is edited in one way only."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folders.setdefault(str(Path(name).parent), []).append(name)
        # Whole folders without folders in them, of a handful of files.
        leaves = [
            folder
            for folder, inside in folders.items()
            if 3 <= len(inside) <= 30 and not any(other.startswith(f"{folder}/") for other in folders)
        ]
        self.rng.shuffle(leaves)
        self.moved_local, self.moved_remote = leaves[:4], leaves[4:8]
        self.folders_to_files = leaves[8:13]
        taken = {name for folder in leaves[:13] for name in folders[folder]}
        free = [name for name in names if name not in taken]
        self.rng.shuffle(free)

        def take(count: int) -> list[str]:
            taken, free[:] = free[:count], free[count:]
            assert len(taken) == count
            return taken

        self.changed_local, self.changed_remote = take(200), take(200)
        self.deleted_local, self.deleted_remote = take(80), take(80)
        self.conflicting, self.same_edit = take(60), take(30)
        self.edit_against_delete, self.delete_against_edit = take(30), take(30)
        self.files_to_folders = take(20)
        self.parents = [str(Path(name).parent) for name in take(100)]

    def edit(self) -> None:
        """Everything that two people can do without knowing of each other."""
        self._change()
        self._create()
        self._delete()
        self._restructure()
        self.replaced = self.changed_local + self.changed_remote

    def _change(self) -> None:
        local, remote = self.sides
        for side, names, what in (
            (local, self.changed_local, "changed here"),
            (remote, self.changed_remote, "changed there"),
            (local, self.conflicting, "conflicting here"),
            (remote, self.conflicting, "conflicting there"),
            (local, self.same_edit, "the same on both sides"),
            (remote, self.same_edit, "the same on both sides"),
            (local, self.edit_against_delete, "changed here, deleted there"),
            (remote, self.delete_against_edit, "changed there, deleted here"),
        ):
            for name in names:
                self._write(side, name, what)

    def _create(self) -> None:
        local, remote = self.sides
        for number, folder in enumerate(self.parents):
            self._write(local, f"{folder}/new-{number}.txt", "new here")
            self._write(remote, f"{folder}/brand new-{number}.txt", "new there")
            if number < 20:
                self._write(local, f"{folder}/both-{number}.txt", "new here, another there")
                self._write(remote, f"{folder}/both-{number}.txt", "new there, another here")

    def _delete(self) -> None:
        for name in self.deleted_local + self.delete_against_edit:
            (self.local / name).unlink()
        for name in self.deleted_remote + self.edit_against_delete:
            (self.remote / name).unlink()

    def _restructure(self) -> None:
        for side, folders in ((self.local, self.moved_local), (self.remote, self.moved_remote)):
            for folder in folders:
                (side / folder).rename(side / f"{folder} moved")
        for name in self.files_to_folders:
            (self.local / name).unlink()
            self._write(self.local, f"{name}/inside.txt", "in a folder where a file was")
        for folder in self.folders_to_files:
            shutil.rmtree(self.remote / folder)
            self._write(self.remote, folder, "a file where a folder was")

    def _write(self, side: Path, name: str, what: str) -> None:
        content = stamped(f"{what} {name}", (f"{what}: {name}\n" * 50).encode())
        self.written[digest(content)] = f"{what} {name}"
        path = side / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def held(self) -> set[bytes]:
        """Digests of everything that is live or kept."""
        found: set[bytes] = set()
        for side in self.sides:
            found |= set(snapshot(side).values()) | trash(side)
        return found
