"""Targets of every kind, over the same addresses: training data, policies, environments, caches, models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.actors import ID, NAME, WORDS, Actor, files
from tests.cli.robots import furnish
from tests.web.server import Client, Served

COUNTS = [
    *("uploaded", "downloaded", "added_to_manifest", "updated_in_manifest", "removed_from_manifest"),
    *("deleted_local", "deleted_s3"),
]
ADDRESS = f"/api/actors/{ID}/training-data/comprehensive-sync"


@dataclass
class Place:
    served: Served
    actor: Actor
    client: Client

    def train(self, code: int = 200, headers: dict[str, str] | None = None, **body: Any) -> httpx2.Response:
        """What the document's button sends."""
        answer = self.client.post(ADDRESS, json={"actor_name": NAME, **body}, headers=headers or {})
        assert answer.status_code == code, answer.text
        return answer


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home = tmp_path / "home"
    home.mkdir()
    actor = Actor(home)
    actor.configure()
    served = Served(home, tmp_path / "state").start()
    yield Place(served, actor, served.client())
    served.stop()


def test_the_documents_button(place: Place) -> None:
    place.actor.spell({word: word for word in WORDS})
    dry = place.train(dry_run=True).json()
    assert list(dry) == [*COUNTS, "errors"], "exactly its eight keys, in its order"
    assert files(place.actor.local) != files(place.actor.remote)
    answer = place.train()
    done = answer.json()
    assert list(done) == [*COUNTS, "errors"]
    assert (done["uploaded"], done["downloaded"]) == (4, 4)
    assert [error.split(":")[0] for error in done["errors"]] == ["conflict", "conflict"], "partial, and still 200"
    run = place.client.ask("GET", f"/runs/{answer.headers['x-trueup-run']}")
    assert (run["state"], run["target"]) == ("partial", f"actor:{ID}:{NAME}")
    (told,) = place.client.ask("GET", "/history")["runs"]
    assert told["id"] == run["history"]
    assert place.train().json()["errors"] == done["errors"]


def test_orphans_need_a_token_that_may_delete(place: Place) -> None:
    place.actor.put(place.actor.local, "orphan.png", "x")
    syncer = place.served.client("read", "sync")
    body = {"actor_name": NAME, "delete_orphans": True}
    assert syncer.post(ADDRESS, json=body).status_code == 403
    assert place.train(delete_orphans=True).json()["deleted_local"] == 1
    assert files(place.actor.local) == {}


def test_a_sync_that_goes_on_by_itself(place: Place) -> None:
    place.actor.put(place.actor.local, "a.png", "x")
    answer = place.train(202, headers={"prefer": "respond-async"})
    assert answer.headers["preference-applied"] == "respond-async"
    run = place.client.until(answer.json()["id"])
    assert (run["state"], run["result"]["synced"]["uploaded"]) == ("succeeded", 1)


def test_who_and_what_is_refused(place: Place) -> None:
    place.actor.put(place.actor.local, "a.png", "x")

    def refused(actor_id: str, code: int, body: Any) -> Any:
        answer = place.client.post(f"/api/actors/{actor_id}/training-data/comprehensive-sync", json=body)
        assert answer.status_code == code, answer.text
        return answer.json()

    assert refused("0099", 404, {"actor_name": "0099_nobody"})["code"] == "TU-NOT-FOUND"
    assert refused(ID, 422, {"actor_name": "0043_other"})["code"] == "TU-USAGE"
    assert refused(ID, 422, {"actor_name": f"{ID}_/x"})["code"] == "TU-USAGE"
    for body in ({}, {"actor_name": NAME, "dry_run": "no"}, {"actor_name": NAME, "more": 1}, {"actor_name": 42}):
        assert refused(ID, 422, body)["code"] == "TU-REQUEST"


def test_a_sync_of_an_actor_that_is_under_way(place: Place) -> None:
    """A run of the command line holds the actor's lock."""
    from filelock import FileLock

    place.actor.put(place.actor.local, "a.png", "x")
    place.train()
    (lock,) = [path for path in (place.served.state / "locks").iterdir() if path.suffix == ".lock"]
    with FileLock(lock, thread_local=False):
        assert place.train(409).json()["code"] == "TU-LOCKED"
    place.train()


def test_a_damaged_manifest_stops_it(place: Place) -> None:
    place.actor.manifest.write_text("{")
    problem = place.train(409).json()
    assert problem["code"] == "TU-CONFIG"
    assert place.actor.manifest.read_text() == "{"


def test_an_actor_is_a_target_like_others(place: Place) -> None:
    place.actor.spell({"a.png": "-a-", "b.png": "abc"})
    target = f"actor:{ID}:{NAME}"
    assert [one["id"] for one in place.client.ask("GET", "/targets")["targets"]] == [target]
    glance = place.client.plan(target, glance=True)
    assert glance["summary"]["kind"] == "dataset"
    assert set(glance["summary"]["observed"]) == {"manifest", "local", "remote"}
    plan = place.client.plan(target)
    assert place.client.apply(plan)["state"] == "succeeded"
    assert files(place.actor.remote)["a.png"] == "a.png a"
    run = place.client.run(f"/targets/{target}/conflicts/resolve", {"keys": ["b.png"], "keep": "remote"})
    assert run["state"] == "succeeded"
    assert files(place.actor.local)["b.png"] == "b.png c"
    assert place.client.run(f"/runs/{run['id']}/undo")["state"] == "succeeded"
    assert files(place.actor.local)["b.png"] == "b.png b"


# -- other kinds ---------------------------------------------------------------------------------------------------


@pytest.fixture
def robots(tmp_path: Path) -> Iterator[Client]:
    """A registry with a policy whose weights are gone, a folder of bytecode, and providers without credentials."""
    home = tmp_path / "home"
    home.mkdir()
    furnish(home)
    (home / "cache").mkdir()
    (home / "cache" / "__jinja2_0123456789abcdef0123456789abcdef01234567.cache").write_bytes(b"x")
    registry = json.dumps(str(home / ".maple" / "state.db"))
    (home / "trueup.toml").write_text(
        f'[targets.robots]\nkind = "policies"\nregistry = {registry}\n'
        f'[targets.bytecode]\nkind = "cache"\nurl = "cache"\npreset = "jinja2"\n'
    )
    served = Served(home, tmp_path / "state").start()
    yield served.client()
    served.stop()


def test_policies_have_the_same_addresses(robots: Client) -> None:
    plan = robots.plan("robots")
    assert plan["summary"]["kind"] == "policies"
    assert {"record", "disk", "engine"} == set(plan["summary"]["observed"])
    assert robots.plan("policies")["summary"]["kind"] == "policies", "the word means the only one"


def test_a_cache_is_planned_and_emptied_as_it_was_approved(robots: Client) -> None:
    folder = Path(str(robots.ask("GET", "/targets/bytecode")["settings"]["url"]["value"]))
    plan = robots.plan("bytecode", operation="clear")
    assert plan["summary"]["changes"] == 1, plan
    (folder / "__jinja2_1123456789abcdef0123456789abcdef01234567.cache").write_bytes(b"y")
    body = {"digest": plan["digest"]}
    assert robots.ask("POST", f"/plans/{plan['id']}/apply", code=409, json=body)["code"] == "TU-STALE"
    assert len(list(folder.iterdir())) == 2
    plan = robots.plan("bytecode", operation="clear")
    assert robots.apply(plan)["state"] == "succeeded"
    assert list(folder.iterdir()) == []
    assert robots.run("/targets/bytecode/plans", {"operation": "explode"})["error"]["code"] == "TU-USAGE"


def test_models_without_a_provider(robots: Client) -> None:
    run = robots.run("/targets/models/sync", {"providers": ["nobody"]})
    assert (run["state"], run["error"]["code"]) == ("failed", "TU-USAGE")
