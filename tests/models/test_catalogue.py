"""The catalogue over several syncs: states, changes, guards, accounts, undo."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from tests.models.home import Models
from tests.models.server import Reply, anthropic, cohere, gemini, openai, paged

TABLES = ("models", "versions", "changes", "aliases")
TEN = [f"m{n}" for n in range(10)]


@pytest.fixture
def one(models: Models) -> Models:
    """A provider with ten models, synced once."""
    models.has("openai", "/v1")
    lists(models, TEN)
    models("sync", "models")
    return models


def lists(models: Models, ids: list[str], **more: Any) -> None:
    models.server.says("/v1/models", openai(ids, **more))


def sync(models: Models, *more: str, code: int = 0) -> str:
    return models("sync", "models", "--force", *more, code=code).stdout


def kinds(models: Models, *more: str) -> list[tuple[str, str, str]]:
    found = models.json("models", "history", "--limit", "1000", *more)["changes"]
    return [(change["model"], change["kind"], change["fact"]) for change in found]


def test_four_providers_of_many_pages_are_there_to_the_last_model(models: Models) -> None:
    ids = [f"x-{n:03}" for n in range(70)]
    for name, path in (("openai", "/o"), ("gemini", "/g"), ("anthropic", "/a/v1"), ("cohere", "/c/v1")):
        models.has(name, path)
    models.monkeypatch.setenv("CO_API_URL", models.server.address + "/c")
    models.server.says("/o/models", openai(ids))
    models.server.answers["/g/models"] = paged(ids[:63], [50, 13], "pageSize", "pageToken", gemini)
    starts = {"": 0, ids[19]: 20, ids[39]: 40}
    models.server.answers["/a/v1/models"] = lambda request: Reply(
        anthropic(ids[(start := starts[request.query.get("after_id", "")]) : min(start + 20, 45)], more=start + 20 < 45)
    )
    models.server.answers["/c/v1/models"] = paged(ids[:45], [20, 20, 5], "page_size", "page_token", cohere)
    found = models.json("sync", "models")["providers"]
    assert {one["provider"]: one["models"] for one in found} == {
        "openai": 70,
        "gemini": 63,
        "anthropic": 45,
        "cohere": 45,
    }


def test_a_second_sync_changes_nothing_and_is_no_run(one: Models) -> None:
    before = one.dump(*TABLES)
    assert one.json("sync", "models", "--force")["run"] is None
    assert one.dump(*TABLES) == before


def test_absent_once_is_missing_and_absent_twice_is_removed_and_back_is_back(one: Models) -> None:
    lists(one, TEN[1:])
    sync(one)
    assert one.states("openai")["m0"] == "missing"
    sync(one)
    assert one.states("openai")["m0"] == "removed"
    assert "m0" not in [model["model"] for model in one.json("models", "ls")["models"]]
    lists(one, TEN)
    sync(one)
    assert one.states("openai")["m0"] == "active"
    assert [kind for model, kind, _ in kinds(one) if model == "m0"] == ["added", "missing", "removed", "reactivated"]


def test_a_missing_model_that_is_listed_again_is_active_again(one: Models) -> None:
    lists(one, TEN[1:])
    sync(one)
    lists(one, TEN)
    sync(one)
    assert one.states("openai")["m0"] == "active"
    assert [kind for model, kind, _ in kinds(one) if model == "m0"] == ["added", "missing", "reactivated"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply({}, 401),
        Reply({}, 403),
        Reply({}, 429, {"retry-after": "60"}),
        Reply(b"<html>", 404),
        Reply(b'{"data": ['),
        Reply({}, 302, {"location": "/"}),
    ],
    ids=["401", "403", "429", "404", "cut", "302"],
)
def test_an_outage_leaves_all_but_the_attempt_as_it_was(one: Models, reply: Reply) -> None:
    before, success = one.dump(*TABLES), one.dump("accounts")[0][0][4]
    one.server.says("/v1/models", reply)
    sync(one, code=1)
    assert one.dump(*TABLES) == before
    ((account, *_, last_success, failing, error),) = one.dump("accounts")[0]
    assert (last_success, failing is not None, bool(error)) == (success, True, True)
    assert [attempt[-1] == "" for attempt in one.dump("attempts")[0]] == [True, False]
    assert "failing since" in one("models", "stats").stdout
    lists(one, TEN)
    sync(one)
    assert "failing since" not in one("models", "stats").stdout
    assert account.startswith("openai@")


def test_if_more_than_30_percent_vanish_nothing_is_marked_and_force_does_not_help(one: Models) -> None:
    lists(one, [*TEN[:6], "new"])
    shown = sync(one, code=5)
    assert "! 4 models vanished at once, nothing is marked; if that is right: --allow shrink\n" in shown
    assert set(one.states("openai").values()) == {"active"}
    assert "new" in one.states("openai")
    one("sync", "models", "--allow", "shrink")
    assert sorted(one.states("openai").values()).count("missing") == 4


def test_thirty_percent_may_vanish(one: Models) -> None:
    lists(one, TEN[:7])
    sync(one)
    assert sorted(one.states("openai").values()).count("missing") == 3


def test_an_empty_list_never_replaces_a_good_one_unless_it_is_allowed(one: Models) -> None:
    before = one.dump(*TABLES)
    lists(one, [])
    assert "The list is empty" in sync(one, code=5)
    assert "The list is empty" in sync(one, "--allow", "shrink", code=5)
    assert one.dump(*TABLES) == before
    sync(one, "--allow", "empty")
    sync(one, "--allow", "empty")
    assert set(one.states("openai").values()) == {"removed"}


def test_an_entry_that_cannot_be_read_keeps_the_list_from_removing_anything(one: Models) -> None:
    document = openai(TEN[1:])
    document["data"].append({"object": "model"})
    one.server.says("/v1/models", document)
    assert "! an entry has no usable id: the list is not complete, nothing is marked" in sync(one)
    assert set(one.states("openai").values()) == {"active"}


def test_the_key_of_another_organisation_is_another_account(one: Models) -> None:
    one.monkeypatch.setenv("OPENAI_ORG_ID", "org-2")
    lists(one, ["theirs"])
    one("sync", "models")
    assert one.server.requests[-1].headers["openai-organization"] == "org-2"
    assert [model["model"] for model in one.json("models", "ls")["models"]] == ["theirs"]
    states = one.json("models", "ls", "--all")["models"]
    assert len({model["account"] for model in states}) == 2
    assert {model["state"] for model in states} == {"active"}


def test_a_run_is_in_the_history_and_can_be_undone_and_redone(one: Models) -> None:
    before = [(model["model"], model["hash"], model["state"]) for model in one.json("models", "ls")["models"]]
    lists(one, [*TEN[1:], "new"], owned_by="somebody else")
    sync(one)
    sync(one)  # removes m0
    assert "m0" not in [model["model"] for model in one.json("models", "ls")["models"]]
    assert "trueup sync models --force" in one("history", "ls").stdout
    one("undo", "last", "--yes")
    assert one.states("openai")["m0"] == "missing"
    first = one.json("history", "ls")["runs"][2]["id"]
    one("undo", first, "--yes")
    after = [(model["model"], model["hash"], model["state"]) for model in one.json("models", "ls")["models"]]
    assert after == before
    sync(one)
    assert "new" in one.states("openai")


def test_the_log_can_only_grow(one: Models) -> None:
    connection = sqlite3.connect(one.state / "catalogue.db")
    for statement in ("UPDATE changes SET kind = ''", "DELETE FROM changes", "DELETE FROM versions"):
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            connection.execute(statement)
    connection.close()


def test_a_catalogue_that_is_damaged_is_not_taken_for_empty(one: Models) -> None:
    (one.state / "catalogue.db").write_bytes(b"not a database, but long enough to look at it" * 100)
    assert "could not be used" in one("sync", "models", "--force", code=1).stderr


# -- kinds of change ---------------------------------------------------------------------------------------------


def mistral(models: Models, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    models.has("mistral", "/m")
    models.server.says("/m/models", {"object": "list", "data": list(entries)})
    last = models.dump("changes")[0][-1][0] if (models.state / "catalogue.db").exists() else 0
    models("sync", "models", "--force", "--provider", "mistral")
    found: list[dict[str, Any]] = models.json("models", "history", "--limit", "1000")["changes"]
    return found[last:]


def test_what_a_provider_changes_is_told_apart_by_kind(models: Models) -> None:
    first = {
        "id": "large-1",
        "aliases": ["large-latest"],
        "max_context_length": 1000,
        "capabilities": {"vision": False},
        "deprecation": None,
    }
    second = {"id": "large-2", "aliases": [], "max_context_length": 1000, "capabilities": {"vision": True}}
    mistral(models, first, second)
    changes = mistral(
        models,
        first
        | {
            "aliases": [],
            "max_context_length": 500,
            "capabilities": {"vision": True},
            "deprecation": "2026-12-31T00:00:00Z",
        },
        second | {"aliases": ["large-latest"], "surprise": 1},
    )
    found = {(change["kind"], change["fact"]): (change["old"], change["new"]) for change in changes}
    assert found == {
        ("context", "context"): (1000, 500),
        ("capability", "vision"): (False, True),
        ("retirement date moved", "retires_at"): (None, "2026-12-31"),
        ("alias retargeted", "large-latest"): ("large-1", "large-2"),
        ("changed", "raw"): (None, None),
    }


def test_an_alias_is_retargeted_whichever_of_both_is_recorded_first(models: Models) -> None:
    a, b = {"id": "a", "aliases": []}, {"id": "b", "aliases": ["latest"]}
    mistral(models, a, b)
    (change,) = [one for one in mistral(models, a | {"aliases": ["latest"]}, b | {"aliases": []}) if one["old"]]
    assert (change["kind"], change["model"], change["old"], change["new"]) == ("alias retargeted", "a", "b", "a")


def test_a_price_change_has_its_amount_and_percent(models: Models) -> None:
    models.has("openrouter", "/r")
    for price in ("0.000002", "0.000003"):
        models.server.says("/r/models", {"data": [{"id": "m", "pricing": {"prompt": price}}]})
        models("sync", "models", "--force")
    (change,) = models.json("models", "history", "--kind", "price")["changes"]
    assert {name: change[name] for name in ("fact", "old", "new", "absolute", "percent")} == {
        "fact": "price_input",
        "old": 2.0,
        "new": 3.0,
        "absolute": 1.0,
        "percent": 50.0,
    }
    assert "price price_input 2 3 +50" in " ".join(models("models", "history").stdout.split())


def test_a_deprecation_is_told_and_sources_that_disagree_are_too(models: Models) -> None:
    models.has("cohere", "/v1")
    models.monkeypatch.setenv("CO_API_URL", models.server.address)
    for deprecated in (False, True):
        models.server.says("/v1/models", {"models": [{"name": "m", "is_deprecated": deprecated}]})
        models("sync", "models", "--force", "--provider", "cohere")
    models.has("xai", "/x")
    models.server.says("/x/models", openai(["grok"], version="1"))
    models.server.says("/x/language-models", {"models": [{"id": "grok", "version": "2"}]})
    models.server.says("/x/image-generation-models", {"models": []})
    models("sync", "models", "--force", "--provider", "xai")
    assert ("m", "deprecated", "deprecated") in kinds(models)
    assert ("grok", "source conflict", "version") in kinds(models)
    explained = " ".join(models("models", "explain", "grok").stdout.split())
    assert "grok version 2 /language-models disagrees" in explained


def test_where_nobody_was_asked_nothing_is_missing(one: Models) -> None:
    """Commands for any target look at the catalogue too, and ask no provider."""
    shown = one("status", "models", code=1).stdout
    assert "no provider was asked" in shown
    before = one.dump(*TABLES)
    plan = one.path / "models.plan"
    one("plan", "models", "-o", str(plan), code=1)
    one("apply", str(plan), "--yes", code=1)
    assert one.dump(*TABLES) == before
    assert "trueup sync models" in one("history", "ls", "models").stdout


def test_many_records_are_written_by_one_transaction(models: Models) -> None:
    """All versions of one transaction bear one time."""
    models.has("openai", "/v1")
    lists(models, [f"m{n}" for n in range(300)])
    models("sync", "models")
    times = {version[1] for version in models.dump("versions")[0]}
    assert (len(models.dump("versions")[0]), len(times)) == (300, 1)


def test_removed_records_are_in_the_trash_and_events_tell_of_each_provider(one: Models) -> None:
    lists(one, TEN[1:])
    sync(one)
    sync(one)
    assert "m0" in one("trash", "ls", "models").stdout
    lines = [json.loads(line) for line in one("sync", "models", "--force", "--output", "jsonl").stdout.splitlines()]
    assert [(e["provider"], e["status"], e["models"]) for e in lines if e["event"] == "provider"] == [
        ("openai", "synced", 9)
    ]
    assert lines[-1]["exit_code"] == 0
