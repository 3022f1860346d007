"""Where a scenario is played: a folder, the other side, and somebody who works on both without asking any tool."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.compare.scenario import Edits
from tests.engine.real_bucket import Plain
from tests.services import Service

from trueup.testing.proxy import FaultProxy

AGREED_SECONDS = 3600.0
"""How long ago the sides agreed, for those who look at times."""
_numbers = count()


@dataclass
class Stage:
    """Two sides below a folder of their own. A bucket is behind a proxy, for everybody but people."""

    base: Path
    server: Service | None
    """None: the other side is a folder."""
    proxy: FaultProxy | None = None
    prefix: str = field(default_factory=lambda: f"play{next(_numbers)}-{time.monotonic_ns()}")
    machine: int = 1

    def __post_init__(self) -> None:
        room = self.base / f"machine{self.machine}"
        self.local, self.home = room / "below" / "local", room / "home"
        self.folder = self.base / "other side"
        for folder in (self.local, self.home, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.plain = Plain(self.server, f"{self.prefix}/") if self.server else None

    def another(self) -> Stage:
        """Another machine on the same other side."""
        return Stage(self.base, self.server, self.proxy, self.prefix, self.machine + 1)

    @property
    def endpoint(self) -> str:
        """Where tools find the bucket."""
        assert self.proxy is not None
        return self.proxy.endpoint

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        assert self.server is not None
        return self.server.bucket

    @property
    def url(self) -> str:
        """As most tools want to be told."""
        return f"s3://{self.bucket}/{self.prefix}"

    # -- people --------------------------------------------------------------------------------------------------

    def write(self, name: str, content: bytes | None, *, age_seconds: float = 0.0, side: Path | None = None) -> None:
        """Edit a file, as an editor does: a new file takes its place."""
        path = (side or self.local) / name
        if content is None:
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == (side or self.local) or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.base / "draft"
        draft.write_bytes(content)
        then = time.time() - age_seconds
        os.utime(draft, (then, then))
        draft.replace(path)

    def overwrite(self, name: str, content: bytes) -> None:
        """Write into a file and leave its time as it was."""
        path = self.local / name
        then = path.stat()
        path.write_bytes(content)
        os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))

    def edit_remote(self, name: str, content: bytes | None) -> None:
        """Edit the other side."""
        if self.plain is None:
            self.write(name, content, side=self.folder)
        elif content is None:
            self.plain.delete(name)
        else:
            self.plain.put(name, content)

    def edit(self, local: Edits, remote: Edits, *, age_seconds: float, same_time: bool) -> None:
        """All edits of a scenario; deletions first, because a folder may take the place of a file."""
        for name in sorted(local, key=lambda name: local[name] is not None):
            content = local[name]
            if same_time and content is not None:
                self.overwrite(name, content)
            else:
                self.write(name, content, age_seconds=age_seconds)
        for name, content in remote.items():
            self.edit_remote(name, content)

    # -- looking -------------------------------------------------------------------------------------------------

    def local_tree(self) -> dict[str, bytes]:
        """Everything in the folder, but for what is ours."""
        return tree(self.local)

    def remote_tree(self) -> dict[str, bytes]:
        """Everything on the other side."""
        if self.plain is None:
            return tree(self.folder)
        return {name: self.plain.get(name) for name in self.plain.live()}

    def below(self, prefix: str) -> set[bytes]:
        """Contents of objects below another prefix of the bucket."""
        if self.server is None:
            return set()
        there = Plain(self.server, f"{prefix}/")
        return {there.get(name) for name in there.list()}

    def outside(self) -> tuple[str, ...]:
        """What a hostile key has made where it has no business."""
        found = [path for path in self.base.rglob("evil*") if self.local not in path.parents]
        return tuple(sorted(f"../{path.name}" for path in found))

    @contextmanager
    def gone(self) -> Iterator[None]:
        """The other side does not answer."""
        if self.proxy is not None:
            self.proxy.down()
            try:
                yield
            finally:
                self.proxy.up()
            return
        away = self.folder.with_name("unmounted")
        self.folder.rename(away)
        try:
            yield
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            away.rename(self.folder)

    def empty_local(self) -> None:
        """The folder is there, and nothing in it."""
        for path in self.local.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def tree(root: Path) -> dict[str, bytes]:
    """Contents by name, without traces of ours."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and not path.is_symlink() and not name.startswith(".trueup"):
            found[name] = path.read_bytes()
    return found


def contents(root: Path) -> set[bytes]:
    """Everything below a folder, if there is one."""
    return {path.read_bytes() for path in root.rglob("*") if path.is_file()} if root.is_dir() else set()
