"""Alerts: what is told, where, and only once."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.models.home import Models
from tests.models.server import Reply

from trueup.api.alerts import notices
from trueup.config.hidden import Delivery
from trueup.config.secret import Place
from trueup.config.sections import Alert
from trueup.core.model import Record
from trueup.stores.catalogue.library import Model

TODAY = date(2026, 11, 21)


def alert(**more: Any) -> Alert:
    return Alert("x", Delivery("file", "x", Place(Path(), {}, Path())), **more)


def model(retires: str | None) -> Model:
    facts = {"retires_at": {"value": retires}} if retires else {}
    return Model("openai@f", "m", "active", Record.of({"facts": facts}))


@pytest.mark.parametrize(
    ("left", "threshold"),
    [(200, None), (91, None), (90, 90), (61, 90), (60, 60), (30, 30), (8, 30), (7, 7), (0, 7), (-3, 7)],
)
def test_each_threshold_is_told_once(left: int, threshold: int | None) -> None:
    retires = (TODAY + timedelta(left)).isoformat()
    found = [one.about for one in notices(alert(), [model(retires)], [], TODAY)]
    assert found == ([] if threshold is None else [f"retires openai@f m {retires} {threshold}"])


def test_without_a_date_there_is_nothing_to_tell() -> None:
    assert notices(alert(), [model(None), model("soon")], [], TODAY) == []


def mistral(models: Models, retires: str | None, *ids: str) -> None:
    models.has("mistral", "/m")
    models.server.says("/m/models", {"data": [{"id": i, "deprecation": retires} for i in ids or ["large"]]})


def soon() -> str:
    return (datetime.now(UTC) + timedelta(days=20, hours=1)).isoformat()


def test_a_file_hears_of_a_retirement_once(models: Models) -> None:
    models.configure("[alerts.log]\ndeliver = { file = 'alerts.jsonl' }\n")
    mistral(models, soon())
    models("sync", "models")
    models("sync", "models", "--force")
    (line,) = (models.config.parent / "alerts.jsonl").read_text().splitlines()
    (told,) = json.loads(line)["alerts"]
    assert (told["event"], told["provider"], told["model"], told["days"]) == ("retires", "mistral", "large", 20)


def test_a_webhook_hears_of_it_and_a_failed_delivery_is_tried_again(models: Models) -> None:
    models.configure(f"[alerts.chat]\ndeliver = {{ webhook = '{models.server.address}/hook/s3cret' }}\n")
    mistral(models, soon())
    models.server.says("/hook/s3cret", Reply({}, 500), Reply({}))
    result = models("sync", "models", code=2)
    assert "alert chat was not delivered - HTTP 500" in result.stderr
    assert "s3cret" not in result.output
    models("sync", "models", "--force")
    models("sync", "models", "--force")
    heard = models.server.asked("/hook/s3cret")
    assert len(heard) == 2
    assert "large retires in 20 days" in json.loads(heard[1].body)["text"]


def test_a_command_hears_the_changes_that_are_wanted_on_stdin(models: Models) -> None:
    script = models.path / "hear.py"
    script.write_text("import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())")
    command = json.dumps([sys.executable, str(script), str(models.path / "heard.json")])
    models.configure(f"[alerts.c]\ndeliver = {{ command = {command} }}\nchanges = ['missing']\n")
    mistral(models, None, "a", "b", "c", "d")
    models("sync", "models")
    assert not (models.path / "heard.json").exists()
    mistral(models, None, "b", "c", "d")
    models("sync", "models", "--force")
    (told,) = json.loads((models.path / "heard.json").read_text())["alerts"]
    assert (told["event"], told["model"], told["text"]) == ("missing", "a", "mistral: a missing")


def test_a_file_that_nobody_approved_delivers_nothing(models: Models) -> None:
    (models.path / "trueup.toml").write_text("[alerts.log]\ndeliver = { file = 'alerts.jsonl' }\n")
    mistral(models, soon())
    assert "may not deliver alerts" in models("sync", "models", code=2).stderr
    assert not (models.path / "alerts.jsonl").exists()


@pytest.mark.parametrize(
    "wrong",
    ["deliver = 'x'", "deliver = { post = 'x' }", "deliver = { webhook = 'x' }", "deliver = { file = '' }", "days = 7"],
)
def test_what_is_no_alert_is_refused(models: Models, wrong: str) -> None:
    models.configure(f"[alerts.x]\n{wrong}\n")
    models("models", "ls", code=78)


@pytest.mark.parametrize("days", ["-1", "'x'", "[7, true]"])
def test_days_are_whole_numbers(models: Models, days: str) -> None:
    models.configure(f"[alerts.x]\ndeliver = {{ file = 'x' }}\ndays = {days}\n")
    models("models", "ls", code=78)
