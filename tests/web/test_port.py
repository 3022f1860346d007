"""`trueup sync ... --port N`: shown and asked here, carried out by the server."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.robots import furnish
from tests.web.server import Served


@pytest.fixture
def robots(tmp_path: Path) -> Iterator[Served]:
    """A server over a registry that records a policy whose weights are gone."""
    home = tmp_path / "home"
    home.mkdir()
    furnish(home)
    registry = home / ".maple" / "state.db"
    row = ("old-model", "openvla:latest", "v1", str(home / ".maple/models/old-model/v1"), "org/repo", 1.0)
    with closing(sqlite3.connect(registry)) as connection, connection:
        connection.execute(
            "INSERT INTO policies (name, image, version, path, repo, pulled_at) VALUES (?, ?, ?, ?, ?, ?)", row
        )
    (home / "trueup.toml").write_text(f'[targets.robots]\nkind = "policies"\nregistry = {json.dumps(str(registry))}\n')
    served = Served(home, tmp_path / "state").start()
    yield served
    served.stop()


def trueup(served: Served, *arguments: str, code: int) -> str:
    command = [sys.executable, "-m", "trueup", *arguments]
    done = subprocess.run(command, cwd=served.path, env=served.environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_documents_way_through_a_server(robots: Served) -> None:
    port = ("--port", str(robots.port))
    told = trueup(robots, "sync", "policies", "--dry-run", *port, code=0)
    assert "Found 1 policies with missing weights:" in told
    assert "Dry run - no changes made" in told
    assert "--yes" in trueup(robots, "sync", "policies", *port, code=64)
    told = trueup(robots, "sync", "policies", "--yes", *port, code=0)
    assert "✓ Removed old-model:v1" in told
    client = robots.client()
    (run,) = client.ask("GET", "/history")["runs"]
    assert run["command"].startswith("server: apply by this machine")
    assert "✓ All policies in database have weights on disk" in trueup(robots, "sync", "policies", *port, code=0)
    trueup(robots, "undo", "last", "--yes", code=0)
    assert "old-model" in trueup(robots, "sync", "policies", "--dry-run", code=0)


def test_a_server_that_is_not_there(robots: Served) -> None:
    assert "no server of this state listens on port 1" in trueup(robots, "sync", "all", "--port", "1", code=64)


def test_settings_that_the_server_would_not_hear_of(robots: Served) -> None:
    port = str(robots.port)
    assert "the server has its own" in trueup(robots, "sync", "policies", "--adopt", "--port", port, code=64)


# -- any configured target -------------------------------------------------------------------------------------------


@pytest.fixture
def folders(fresh: Served) -> Served:
    """A server over one pair of folders."""
    return fresh.start()


def test_a_configured_target_is_synced_by_the_server(folders: Served) -> None:
    site = next(folders.sites)
    port = ("--port", str(folders.port))
    site.fill(a="1", b="2")
    assert "> 2 up 2 B" in trueup(folders, "sync", site.name, "--dry-run", *port, code=0)
    assert site.arrived == {}
    assert f"next: trueup sync {site} --port {folders.port}" in trueup(folders, "sync", "--dry-run", *port, code=0)
    assert "--yes" in trueup(folders, "sync", site.name, *port, code=64)
    trueup(folders, "sync", site.name, "--select", "b", "--yes", *port, code=0)
    assert site.arrived == {"b": "2"}
    trueup(folders, "sync", "--yes", *port, code=0)
    assert site.arrived == {"a": "1", "b": "2"}
    runs = folders.client().ask("GET", "/history")["runs"]
    assert [run["command"] for run in runs] == [f"server: apply by this machine {folders.port}"] * 2
    trueup(folders, "sync", site.name, *port, code=0)


def test_a_guard_of_the_server_refuses_and_is_passed_by_name(folders: Served) -> None:
    site = next(folders.sites)
    site.fill(**{f"f{n}": "x" for n in range(40)})
    port = ("--yes", "--port", str(folders.port))
    trueup(folders, "sync", site.name, *port, code=0)
    for path in site.local.glob("f*"):
        path.unlink()
    assert "--allow emptied" in trueup(folders, "sync", site.name, *port, code=5)
    assert len(site.arrived) == 40
    trueup(folders, "sync", site.name, "--allow", "emptied", "--allow", "max-delete", *port, code=0)
    assert site.arrived == {}


def test_what_the_server_would_not_know(folders: Served) -> None:
    port = ("--port", str(folders.port))
    assert "the server has its own" in trueup(folders, "sync", "site0", "--deletes", "report", *port, code=64)
    assert "the server knows those" in trueup(folders, "sync", "folder", "a", "b", *port, code=64)
