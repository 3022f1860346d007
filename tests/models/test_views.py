"""``trueup models``: tables, CSV and JSON over the catalogue."""

from __future__ import annotations

import csv
import io
import sqlite3
from typing import Any

import pytest
from tests.models.home import HOUR_NS, Models
from tests.models.server import openai

DAY_NS = 24 * HOUR_NS


@pytest.fixture
def one(models: Models) -> Models:
    """Two syncs, a day apart: m0 goes, m2 comes, m1 has another owner."""
    models.has("openai", "/v1")
    models.server.says("/v1/models", openai(["m0", "m1", "=HYPERLINK(1)", "m3", "m4"], owned_by="a"))
    models("sync", "models")
    with sqlite3.connect(models.state / "catalogue.db") as connection:
        for table in ("versions", "changes"):
            connection.execute(f"DROP TRIGGER {table}_stay")
            connection.execute(f"UPDATE {table} SET at_ns = at_ns - ?", (DAY_NS,))  # noqa: S608  # two constants
    connection.close()
    document = openai(["m1", "=HYPERLINK(1)", "m3", "m4", "m2"], owned_by="a")
    document["data"][0]["owned_by"] = "b"
    models.server.says("/v1/models", document)
    models("sync", "models", "--force")
    models("sync", "models", "--force")
    return models


def day_of(models: Models, kind: str, *, first: bool) -> str:
    changes = models.json("models", "history", "--kind", kind)["changes"]
    return stamp(changes[0 if first else -1]["at_ns"])


def stamp(ns: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ns / 1e9 + 0.001, UTC).isoformat()


def names(document: Any) -> list[str]:
    return [model["model"] for model in document["models"]]


def test_at_a_date_the_models_of_that_date_are_listed(one: Models) -> None:
    then = day_of(one, "added", first=True)
    assert names(one.json("models", "at", then)) == ["=HYPERLINK(1)", "m0", "m1", "m3", "m4"]
    assert names(one.json("models", "ls")) == ["=HYPERLINK(1)", "m1", "m2", "m3", "m4"]
    assert names(one.json("models", "at", "2001-01-01")) == []


def test_two_dates_are_compared(one: Models) -> None:
    then = day_of(one, "added", first=True)
    found = [
        (d["sign"], d["model"], d["fact"], d["old"], d["new"]) for d in one.json("models", "diff", then)["differences"]
    ]
    assert found == [("-", "m0", "", "", ""), ("~", "m1", "owner", "a", "b"), ("+", "m2", "", "", "")]
    assert one.json("models", "diff", then, then)["differences"] == []


def test_csv_can_be_read_and_holds_no_formulas(one: Models) -> None:
    rows = list(csv.DictReader(io.StringIO(one("models", "ls", "--csv").stdout)))
    assert [row["model"] for row in rows] == ["'=HYPERLINK(1)", "m1", "m2", "m3", "m4"]
    assert rows[0]["provider"] == "openai"
    history = list(csv.DictReader(io.StringIO(one("models", "history", "m0", "--csv").stdout)))
    assert [row["kind"] for row in history] == ["added", "missing", "removed"]


def test_a_model_is_shown_and_explained_with_its_sources(one: Models) -> None:
    (model,) = one.json("models", "explain", "m1")["models"]
    assert model["facts"]["owner"]["value"] == "b"
    assert model["facts"]["owner"]["source"] == "native"
    assert model["facts"]["created"]["date"] == model["since"][:10]
    assert '"owned_by": "b"' in one("models", "show", "m1", "-v").stdout


def test_a_model_that_is_not_there_is_an_error_with_the_nearest(one: Models) -> None:
    assert "there is no model m11 - did you mean m1?" in one("models", "show", "m11", code=1).stderr


def test_history_can_be_limited_by_kind_date_and_number(one: Models) -> None:
    assert [c["model"] for c in one.json("models", "history", "--kind", "removed")["changes"]] == ["m0"]
    assert len(one.json("models", "history", "--limit", "2")["changes"]) == 2
    assert one.json("models", "history", "--since", "2101-01-01")["changes"] == []
    assert one.json("models", "history", "--provider", "gemini")["changes"] == []


@pytest.mark.parametrize(
    ("hours", "state"), [(0, "fresh"), (13, "stale"), (71, "stale"), (73, "expired"), (-5, "expired")]
)
def test_a_list_grows_old(one: Models, hours: int, state: str) -> None:
    one.older("openai", hours)
    assert one.json("models", "stats")["providers"][0]["state"] == state


def test_without_a_catalogue_everything_is_empty_and_says_what_to_do(models: Models) -> None:
    assert "Try: trueup sync models" in models("models", "stats").stdout
    assert models.json("models", "ls")["models"] == []
    assert "trueup sync models" in models("models", "show", "x", code=1).stderr
    assert not (models.state / "catalogue.db").exists()


@pytest.mark.parametrize("arguments", [("at", "yesterday"), ("diff", "x"), ("ls", "--provider", "opneai")])
def test_what_makes_no_sense_is_refused(models: Models, arguments: tuple[str, ...]) -> None:
    models("models", *arguments, code=64)


def test_csv_and_json_are_not_had_at_once(one: Models) -> None:
    one("models", "ls", "--csv", "--json", code=64)
