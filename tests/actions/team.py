"""A web team: templates, settings and static files here, and a place for each there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

CONFIG = """\
[buckets]
templates = "there/templates"
settings = "there/settings"
static = "there/static"
"""


@dataclass(frozen=True)
class Team:
    """Two sides below one folder, which is the current one."""

    path: Path

    def __post_init__(self) -> None:
        for kind in ("templates", "settings", "static"):
            (self.path / kind).mkdir()
            (self.path / "there" / kind).mkdir(parents=True)
        (self.path / "trueup.toml").write_text(CONFIG)

    def here(self, name: str, text: str | None = None, *, age: float = 3600) -> Path:
        """A file on this side; with a text it is written, and as old as that."""
        return _written(self.path / name, text, age)

    def there(self, name: str, text: str | None = None, *, age: float = 3600) -> Path:
        """The same on the other side."""
        return _written(self.path / "there" / name, text, age)

    def configure(self, text: str) -> None:
        """Add to the configuration."""
        with (self.path / "trueup.toml").open("a") as file:
            file.write(text)

    def files(self, folder: str) -> dict[str, str]:
        """What a folder holds, by name."""
        root = self.path / folder
        found = (path for path in sorted(root.rglob("*")) if path.is_file() and ".trueup" not in path.parts)
        return {path.relative_to(root).as_posix(): path.read_text() for path in found}

    def everything(self) -> dict[str, bytes]:
        """Every byte of both sides, the trash included."""
        return {str(path): path.read_bytes() for path in sorted(self.path.rglob("*")) if path.is_file()}


def _written(path: Path, text: str | None, age: float) -> Path:
    if text is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        then = time.time() - age
        os.utime(path, (then, then))
    return path
