"""The home of a robotics team: MAPLE's registry, weights, and an engine that holds images."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.home import Home
from tests.stores.docker.conftest import Made

from trueup.stores.registry.database import create

CALLED = "/home/robotics-team"
"""What the home is called in transcripts: as long as its real name, so that tables keep their widths."""


def image(*tags: str, number: str = "sha256:1", **more: object) -> dict[str, object]:
    """An image as an engine lists it."""
    return {"Id": number, "RepoTags": list(tags), "RepoDigests": [], "Size": 10, "Labels": None, **more}


@dataclass(frozen=True)
class Robots(Home):
    """A home with ``~/.maple``."""

    made: Made = field(kw_only=True)
    """The engine that ``DOCKER_HOST`` names."""

    @property
    def registry(self) -> Path:
        return self.path / ".maple" / "state.db"

    @property
    def models(self) -> Path:
        return self.path / ".maple" / "models"

    def weights(self, key: str) -> Path:
        return self.models.joinpath(*key.split(":"))

    def policy(self, key: str, *, image: str = "openvla:latest", pulled: bool = True) -> None:
        """Record a policy; with weights, unless they are to be missing."""
        name, version = key.split(":")
        row = (name, image, version, str(self.weights(key)), "org/repo", 1.0)
        self._insert("policies", "name, image, version, path, repo, pulled_at", row)
        if pulled:
            self.pull(key)

    def pull(self, key: str) -> None:
        """Weights on disk."""
        self.weights(key).mkdir(parents=True, exist_ok=True)
        (self.weights(key) / "config.json").write_text("{}")
        (self.weights(key) / "model.bin").write_bytes(b"weights of " + key.encode())

    def environment(self, name: str, image: str | None = None) -> None:
        """Record an environment."""
        self._insert("envs", "name, image, pulled_at", (name, image or f"{name}:latest", 1.0))

    def container(self, number: str, kind: str, name: str, backend: str) -> None:
        """Record a container that runs."""
        row = (number, kind, name, backend, "127.0.0.1", 8000, "ready", 1.0)
        self._insert("containers", "id, type, name, backend, host, port, status, started_at", row)

    def _insert(self, table: str, columns: str, row: tuple[object, ...]) -> None:
        with closing(sqlite3.connect(self.registry, isolation_level=None)) as connection:
            connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608

    def rows(self, table: str = "policies") -> list[dict[str, Any]]:
        """Everything that the registry says of one kind of entries."""
        with closing(sqlite3.connect(self.registry)) as connection:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608
        return [{name: value for name, value in row.items() if name != "id"} for row in found]

    def names(self, table: str = "policies") -> list[str]:
        """The entries' names, sorted."""
        return sorted(":".join(filter(None, (row["name"], row.get("version")))) for row in self.rows(table))

    def files(self) -> dict[str, bytes]:
        """All weights."""
        return {
            str(path.relative_to(self.models)): path.read_bytes()
            for path in sorted(self.models.rglob("*"))
            if path.is_file() and ".trueup" not in path.parts
        }

    def holds(self, *images: dict[str, object]) -> None:
        """What the engine holds, as a whole."""
        self.made.images = list(images)
        self.made.inspected = {str(one["Id"]): (200, one) for one in images}

    def told(self, *arguments: str, code: int | None = 0, **more: Any) -> str:
        """What a command writes to stdout, with the home as it is called in transcripts."""
        return self(*arguments, code=code, **more).stdout.replace(str(self.path), CALLED)

    def document(self, *arguments: str, code: int | None = 0) -> Any:
        """What a command answers with ``--json``."""
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def original(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """MAPLE's own ``sync``."""
        script = Path(__file__).parents[1] / "original.py"
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            env={"HOME": str(self.path), "PATH": os.environ["PATH"], "DOCKER_HOST": self.made.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def furnish(path: Path) -> None:
    """Make the registry, empty, and the folder of weights."""
    (path / ".maple" / "models").mkdir(parents=True)
    create(str(path / ".maple" / "state.db"), "test")
