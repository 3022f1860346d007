"""Plan, look, choose, approve, undo: the whole way over REST, on real folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.web.server import Client, Served, Site


def fill(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.is_file()}


def test_a_plan_is_made_looked_at_and_applied(site: Site, client: Client) -> None:
    fill(site.local, a="1", b="2")
    run = client.run(f"/targets/{site}/plans")
    assert run["state"] == "awaiting_approval"
    plan = client.ask("GET", f"/plans/{run['plan']}")
    assert [row["key"] for row in plan["rows"]] == ["a", "b"]
    assert (plan["summary"]["changes"], plan["selected"], plan["total"]) == (2, 2, 2)
    done = client.apply(plan)
    assert (done["id"], done["state"]) == (run["id"], "succeeded"), "the run that made the plan goes on"
    assert files(site.remote) == {"a": "1", "b": "2"}
    target = client.ask("GET", f"/targets/{site}")
    assert (target["sync"], target["changes"], target["health"]) == ("in_sync", 0, "healthy")
    assert [one["id"] for one in client.ask("GET", f"/targets/{site}/history")["runs"]] == [done["history"]]


def test_the_history_knows_who_asked(site: Site, client: Client) -> None:
    fill(site.local, a="1")
    run = client.run(f"/targets/{site}/sync")
    (told,) = client.ask("GET", f"/targets/{site}/history")["runs"]
    assert told["command"].startswith("server: sync by this machine")
    detail = client.ask("GET", f"/history/{run['history']}")
    assert [outcome["status"] for outcome in detail["outcomes"]] == ["done"]


def test_a_selection_is_kept_with_the_plan_as_a_beginning_and_exceptions(site: Site, client: Client) -> None:
    fill(site.local, a1="1", a2="2", b1="3")
    plan = client.plan(str(site))
    body = {"base": "filter", "filter": {"q": "a"}, "exceptions": [1]}
    kept = client.ask("PUT", f"/plans/{plan['id']}/selection", json=body)
    assert [row["key"] for row in kept["rows"] if row["selected"]] == ["a1"]
    assert client.ask("GET", f"/plans/{plan['id']}")["selected"] == 1
    done = client.apply(plan)
    assert done["result"]["changes_done"] == 1
    assert files(site.remote) == {"a1": "1"}
    assert client.ask("GET", f"/targets/{site}")["changes"] == 2
    rest = client.apply(plan, selection={"base": "all", "exceptions": [0]})
    assert rest["id"] != done["id"], "another run of the same plan"
    assert files(site.remote) == {"a1": "1", "a2": "2", "b1": "3"}
    assert client.ask("GET", f"/targets/{site}")["sync"] == "in_sync"


def test_a_stale_plan_is_refused_with_the_items_that_changed(site: Site, client: Client) -> None:
    fill(site.local, a="1", b="2")
    plan = client.plan(str(site))
    fill(site.local, b="2, edited")
    problem = client.ask("POST", f"/plans/{plan['id']}/apply", code=409, json={"digest": plan["digest"]})
    assert problem["code"] == "TU-STALE"
    assert problem["changed"] == [{"key": "b", "why": "local was changed"}]
    assert files(site.remote) == {}
    assert client.ask("GET", f"/runs/{problem['run']}")["state"] == "refused"
    done = client.apply(plan, skip_stale=True)
    assert (done["state"], files(site.remote)) == ("partial", {"a": "1"})


def test_an_approval_names_the_digest_that_was_seen(site: Site, client: Client) -> None:
    fill(site.local, a="1")
    plan = client.plan(str(site))
    problem = client.ask("POST", f"/plans/{plan['id']}/apply", code=409, json={"digest": "0" * 16})
    assert problem["code"] == "TU-STALE"
    assert files(site.remote) == {}


def test_a_guard_refuses_and_names_itself(site: Site, client: Client) -> None:
    fill(site.local, **{f"f{n}": str(n) for n in range(20)})
    client.run(f"/targets/{site}/sync")
    for path in (site.local).glob("f*"):
        path.unlink()
    plan = client.plan(str(site))
    problem = client.ask("POST", f"/plans/{plan['id']}/apply", code=409, json={"digest": plan["digest"]})
    assert problem["code"] == "TU-GUARD"
    assert "max-delete" in [one["guard"] for one in problem["refusals"]]
    assert len(files(site.remote)) == 20
    allow = [one["guard"] for one in problem["refusals"]]
    assert client.apply(plan, allow=allow)["state"] == "succeeded"
    assert files(site.remote) == {}


def test_what_deletes_waits_for_an_approval(site: Site, client: Client) -> None:
    fill(site.local, a="1", b="2")
    client.run(f"/targets/{site}/sync")
    (site.local / "a").unlink()
    run = client.run(f"/targets/{site}/sync")
    assert run["state"] == "awaiting_approval"
    assert files(site.remote) == {"a": "1", "b": "2"}
    assert client.apply(client.ask("GET", f"/plans/{run['plan']}"))["state"] == "succeeded"
    (site.local / "b").unlink()
    assert client.run(f"/targets/{site}/sync", {"approve": "all"})["state"] == "succeeded"
    assert files(site.remote) == {}


def test_nothing_to_do_needs_no_approval(site: Site, client: Client) -> None:
    run = client.run(f"/targets/{site}/plans")
    assert (run["state"], run["ended"]) == ("planned", True)
    assert client.run(f"/targets/{site}/sync")["state"] == "succeeded"
    assert client.ask("GET", f"/targets/{site}")["sync"] == "in_sync"


def test_a_run_is_undone_and_so_is_the_undo(site: Site, client: Client) -> None:
    fill(site.local, a="1")
    run = client.run(f"/targets/{site}/sync")
    shown = client.run(f"/runs/{run['id']}/undo", {"dry_run": True})
    assert (shown["state"], files(site.remote)) == ("planned", {"a": "1"})
    plan = client.ask("GET", f"/plans/{shown['plan']}")
    client.ask("POST", f"/plans/{plan['id']}/apply", code=409, json={"digest": plan["digest"]})
    undone = client.run(f"/runs/{run['id']}/undo")
    assert (undone["state"], files(site.remote)) == ("succeeded", {})
    assert client.ask("GET", f"/targets/{site}")["outdated"] is True
    assert client.run(f"/history/{undone['history']}/undo")["state"] == "succeeded"
    assert files(site.remote) == {"a": "1"}


def test_a_run_that_wrote_nothing_cannot_be_undone(site: Site, client: Client) -> None:
    run = client.run(f"/targets/{site}/plans")
    assert client.ask("POST", f"/runs/{run['id']}/undo", code=409, json={})["code"] == "TU-STAGE"


def test_conflicts_are_listed_and_resolved(site: Site, client: Client) -> None:
    fill(site.local, a="1", b="1")
    client.run(f"/targets/{site}/sync")
    for name in ("a", "b"):
        fill(site.local, **{name: "mine, longer"})
        fill(site.remote, **{name: "theirs, longer still"})
    assert client.ask("GET", f"/targets/{site}/conflicts")["rows"] == []
    client.plan(str(site))
    assert [row["key"] for row in client.ask("GET", f"/targets/{site}/conflicts")["rows"]] == ["a", "b"]
    assert client.ask("GET", f"/targets/{site}")["sync"] == "conflicts"
    run = client.run(f"/targets/{site}/conflicts/resolve", {"keys": ["a"], "keep": "local"})
    assert run["state"] == "succeeded"
    assert files(site.remote) == {"a": "mine, longer", "b": "theirs, longer still"}
    (kept,) = client.ask("GET", f"/targets/{site}/trash")["items"]
    assert (kept["side"], kept["key"]) == ("remote", "a")
    client.ask("POST", f"/targets/{site}/conflicts/resolve", code=422, json={"keys": ["b"]})


def test_trash_is_restored_and_pruned(site: Site, client: Client) -> None:
    fill(site.local, a="1")
    client.run(f"/targets/{site}/sync")
    (site.local / "a").unlink()
    client.run(f"/targets/{site}/sync", {"approve": "all"})
    (kept,) = client.ask("GET", f"/targets/{site}/trash")["items"]
    would = client.ask("POST", f"/targets/{site}/trash/prune", json={})
    assert (would["removed"], len(would["refused"])) == (0, 1), "the last copy stays"
    body = {"side": kept["side"], "handle": kept["handle"]}
    client.ask("POST", f"/targets/{site}/trash/restore", code=204, json=body)
    assert files(site.remote) == {"a": "1"}
    client.ask("POST", f"/targets/{site}/trash/restore", code=409, json=body)
    gone = client.ask("POST", f"/targets/{site}/trash/prune", json={"dry_run": False})
    assert gone["removed"] == 1
    assert client.ask("GET", f"/targets/{site}/trash")["total"] == 0


@pytest.mark.parametrize("path", ["/targets/nothing", "/runs/r1", "/plans/p1", "/history/last", "/targets/actor:1"])
def test_what_is_not_there_is_not_found(client: Client, path: str) -> None:
    assert client.ask("GET", path, code=404)["code"] == "TU-NOT-FOUND"


def test_pages_of_a_plan(site: Site, client: Client) -> None:
    fill(site.local, **{f"f{n:03}": "x" for n in range(250)})
    plan = client.plan(str(site))
    assert (plan["total"], len(plan["rows"]), plan["limit"]) == (250, 200, 200)
    rest = client.ask("GET", f"/plans/{plan['id']}", params={"offset": 200})
    assert [row["n"] for row in rest["rows"]] == list(range(200, 250))
    found = client.ask("GET", f"/plans/{plan['id']}", params={"q": "F01"})
    assert (found["total"], found["rows"][0]["key"]) == (10, "f010")


def test_events_replay_from_the_last_one_that_was_heard(site: Site, client: Client) -> None:
    fill(site.local, a="1")
    run = client.run(f"/targets/{site}/sync")
    everything = list(client.events(run["id"]))
    numbers = [number for number, _, _ in everything]
    assert numbers == sorted(set(numbers))
    states = [data["state"] for _, kind, data in everything if kind == "state"]
    assert list(dict.fromkeys(states)) == ["queued", "observing", "applying", "succeeded"]
    assert list(client.events(run["id"], after=numbers[1])) == everything[2:]
    answer = client.get(f"/api/v1/runs/{run['id']}/events", headers={"last-event-id": str(numbers[-1])})
    assert answer.status_code == 204, "a browser then stops asking"


def test_the_same_idempotency_key_does_it_once(site: Site, client: Client) -> None:
    fill(site.local, a="1")
    key = {"idempotency-key": "k1"}
    first = client.post(f"/api/v1/targets/{site}/sync", headers=key, json={})
    client.until(first.json()["id"])
    again = client.post(f"/api/v1/targets/{site}/sync", headers=key, json={})
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert len(client.ask("GET", f"/targets/{site}/runs")["runs"]) == 1
    other = client.post(f"/api/v1/targets/{site}/sync", headers=key, json={"verify": True})
    assert (other.status_code, other.json()["code"]) == (422, "TU-REQUEST")


def test_metrics_and_health(served: Served, site: Site, client: Client) -> None:
    client.run(f"/targets/{site}/sync")
    text = client.get("/api/v1/metrics").text
    assert f'trueup_runs_total{{state="succeeded",target="{site}"}} 1.0' in text
    assert "trueup_streams 0.0" in text
    assert served.bare().get("/api/v1/health").json() == {"status": "ok"}
