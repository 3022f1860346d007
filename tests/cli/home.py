"""Two configured folders, and the command line over them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from trueup.cli import root

CONFIG = """\
[targets.site]
kind = "folder"
local = "site"
remote = "share"
deletes = "propagate"
"""


@dataclass(frozen=True)
class Home:
    """Two folders, their configuration, and a state."""

    path: Path
    env: dict[str, str]

    @property
    def site(self) -> Path:
        return self.path / "site"

    @property
    def share(self) -> Path:
        return self.path / "share"

    def __call__(
        self, *arguments: str, code: int | None = 0, stdin: str = "", env: dict[str, str] | None = None
    ) -> Result:
        """Run the command in this process; stdin is no terminal."""
        result = CliRunner().invoke(root, list(arguments), input=stdin, env=env or {})
        if code is not None:
            assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}"
        return result

    def process(self, *arguments: str, stdout: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start the command as a process."""
        return subprocess.Popen(
            [sys.executable, "-m", "trueup", *arguments],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def configure(self, text: str) -> None:
        """Add to the configuration."""
        with (self.path / "trueup.toml").open("a") as file:
            file.write(text)

    def differ(self) -> None:
        """Agree on something, then change it: an upload, a download, a deletion, and a conflict."""
        for name in ("gone", "clash", "up", "down"):
            (self.site / name).write_text(f"{name}\n")
        self("sync", "--yes")
        (self.site / "up").write_text("up, changed\n")
        (self.share / "down").write_text("down, changed\n")
        (self.site / "gone").unlink()
        (self.site / "clash").write_text("one\n")
        (self.share / "clash").write_text("another\n")

    def tree(self) -> dict[str, bytes]:
        """What both sides hold."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for side in (self.site, self.share)
            for path in sorted(side.rglob("*"))
            if path.is_file() and ".trueup" not in path.parts
        }
