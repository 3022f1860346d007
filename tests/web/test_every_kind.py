"""Environments, templates, settings, static files and agents over REST: planned, applied, remembered, taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.agents import outside_write
from tests.cli.robots import Robots, furnish, image
from tests.stores.docker.conftest import Made, archive, images, made
from tests.web.server import Client, Served

from trueup.core.model import Key

__all__ = ["archive", "images", "made"]

CONFIG = """
[targets.pages]
kind = "templates"
local = "pages"
remote = "live/pages"
bytecode = "bytecode"

[targets.config]
kind = "settings"
local = "config"
remote = "live/config"

[targets.assets]
kind = "static"
local = "static"
remote = "live/static"

[targets.scout]
kind = "agent"
database = "scout.db"
remote = "team/team.db"

[targets.robots]
kind = "envs"
registry = REGISTRY
"""
KINDS = {
    "pages": "templates", "config": "settings", "assets": "static", "scout": "agent", "robots": "envs",
}  # fmt: skip


@dataclass
class Place:
    """A server over a target of every kind here, each with one change to make."""

    served: Served
    client: Client
    home: Path
    robots: Robots

    def written(self) -> Mapping[str, Callable[[], bool]]:
        """Whether the change of each target is made."""
        live = self.home / "live"
        return {
            "pages": (live / "pages" / "a.html").exists,
            "config": (live / "config" / "site.yml").exists,
            "assets": (live / "static" / "site.css").exists,
            "scout": lambda: b"earl grey" in b"".join(path.read_bytes() for path in self.home.glob("team/team.db*")),
            "robots": lambda: self.robots.names("envs") == ["maze"],
        }


@pytest.fixture
def place(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    home = tmp_path / "home"
    for name in ("pages", "config", "static", "bytecode", "live/pages", "live/config", "live/static", "team"):
        (home / name).mkdir(parents=True)
    furnish(home)
    robots = Robots(home, {}, made=made)
    robots.environment("libero")
    robots.environment("maze")
    robots.holds(image("maze:latest"))
    (home / "pages/a.html").write_text("<p>{{ a }}</p>")
    (home / "config/site.yml").write_text("a: 1\n")
    (home / "static/site.css").write_text("p {}")
    outside_write(home / "scout.db", Key("notes/plan.md"), b"earl grey\n")
    (home / "trueup.toml").write_text(CONFIG.replace("REGISTRY", json.dumps(str(robots.registry))))
    monkeypatch.setenv("DOCKER_HOST", made.url)
    served = Served(home, tmp_path / "state").start()
    yield Place(served, served.client(), home, robots)
    served.stop()


def test_every_kind_is_planned_applied_remembered_and_taken_back(place: Place) -> None:
    client, browser = place.client, place.served.browser()
    known = {one["id"]: one["kind"] for one in client.ask("GET", "/targets")["targets"]}
    assert {name: known[name] for name in KINDS} == KINDS
    for name, written in place.written().items():
        before = written()
        plan = client.plan(name)
        assert (plan["summary"]["kind"], plan["summary"]["changes"] > 0) == (KINDS[name], True), name
        run = client.apply(plan)
        assert (run["state"], run["target"]) == ("succeeded", name), run
        assert (before, written()) == (False, True), name
        history = client.ask("GET", f"/targets/{name}/history")["runs"]
        assert [one["id"] for one in history] == [run["history"]], name
        told = client.ask("GET", f"/history/{run['history']}")
        assert {one["status"] for one in told["outcomes"]} == {"done"}, name
        assert client.plan(name)["summary"]["changes"] == 0, name
        assert client.ask("GET", f"/targets/{name}")["sync"] == "in_sync", name
        addresses = (f"/targets/{name}", f"/plans/{plan['id']}", f"/runs/{run['id']}", f"/history/{run['history']}")
        for address in (*addresses, f"/targets/{name}/settings", f"/targets/{name}/trash"):
            assert browser.get(address).status_code == 200, address
        back = client.run(f"/runs/{run['id']}/undo")
        assert (back["state"], client.plan(name)["summary"]["changes"] > 0) == ("succeeded", True), (name, back)


def test_what_cannot_be_seen_is_unknown_over_rest_too(place: Place) -> None:
    place.robots.made.listed = 500
    plan = place.client.plan("robots")
    assert (plan["summary"]["changes"], plan["summary"]["unknown"] > 0) == (0, True)
    assert place.client.ask("GET", "/targets/robots")["sync"] == "unknown"
    assert place.robots.names("envs") == ["libero", "maze"]


def test_a_file_that_is_not_valid_is_held(place: Place) -> None:
    (place.home / "pages/b.html").write_text("a\n{% if %}\n")
    plan = place.client.plan("pages")
    rows = {row["key"]: row for row in plan["rows"]}
    assert (rows["a.html"]["change"], rows["b.html"]["change"]) == (True, False)
    assert "line 2" in json.dumps(rows["b.html"]["item"])
    assert place.client.apply(plan)["state"] == "succeeded"
    assert not (place.home / "live/pages/b.html").exists()
