"""``trueup sync templates|settings|static`` on real folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.home import Home

from trueup.api.content import reloading

KINDS = """
[buckets]
live = "live"

[targets.pages]
kind = "templates"
local = "pages"
remote = "bucket:live/pages"
bytecode = "bytecode"

[targets.config]
kind = "settings"
local = "config"
remote = "bucket:live/config"
"""


@pytest.fixture
def web(home: Home) -> Home:
    home.configure(KINDS)
    for name in ("pages", "config", "bytecode", "live/pages", "live/config", "live/static", "static"):
        (home.path / name).mkdir(parents=True)
    return home


def write(home: Home, name: str, text: str) -> Path:
    path = home.path / name
    path.write_text(text)
    return path


def test_nobody_is_asked_where_nothing_is_lost(web: Home) -> None:
    write(web, "pages/a.html", "a")
    assert "> 1 up" in web("sync", "templates").stdout
    assert (web.path / "live/pages/a.html").read_text() == "a"
    assert "in sync" in web("sync", "templates").stdout


def test_a_deletion_is_a_question(web: Home) -> None:
    write(web, "pages/a.html", "a")
    web("sync", "templates")
    (web.path / "pages/a.html").unlink()
    result = web("sync", "templates", "--deletes", "propagate", code=64)
    assert "a question is due: Apply 1 change?" in result.stderr
    assert (web.path / "live/pages/a.html").exists()
    web("sync", "templates", "--deletes", "propagate", "--yes")
    assert not (web.path / "live/pages/a.html").exists()


def test_a_version_that_would_be_destroyed_is_a_question(web: Home) -> None:
    write(web, "pages/a.html", "old")
    web("sync", "templates")
    write(web, "pages/a.html", "newer")
    assert "1 version destroyed for good" in web("sync", "templates", "--keep", "none", code=64).stderr
    assert (web.path / "live/pages/a.html").read_text() == "old"


def test_a_template_that_cannot_be_parsed_is_held_with_its_line(web: Home) -> None:
    write(web, "pages/a.html", "a\n{% if %}\n")
    result = web("sync", "templates", "--dry-run", code=2)
    assert "held a.html" in " ".join(result.stdout.split())
    assert "local: line 2: Expected an expression" in result.stdout
    web("sync", "templates", code=2)
    assert not (web.path / "live/pages/a.html").exists()
    web("sync", "templates", "--no-check")
    assert (web.path / "live/pages/a.html").exists()


def test_a_dry_run_lists_what_would_be_cleared(web: Home) -> None:
    import jinja2

    cache = jinja2.FileSystemBytecodeCache(str(web.path / "bytecode"))
    loader = jinja2.FileSystemLoader(str(web.path / "pages"))
    write(web, "pages/base.html", "base")
    write(web, "pages/a.html", "{% extends 'base.html' %}")
    web("sync", "templates")
    environment = jinja2.Environment(loader=loader, bytecode_cache=cache)
    for name in ("a.html", "base.html"):
        environment.get_template(name)
    write(web, "live/pages/base.html", "changed")
    shown = " ".join(web("sync", "templates", "--dry-run").stdout.split())
    assert "clear .trueup/bytecode/a.html its bytecode is cleared: it leans on base.html" in shown
    assert "clear .trueup/bytecode/base.html its bytecode is cleared: it changes" in shown
    assert len(list((web.path / "bytecode").iterdir())) == 2
    web("sync", "templates")
    assert list((web.path / "bytecode").iterdir()) == []


def test_after_steps_go_with_what_is_selected(web: Home) -> None:
    web.configure('reload_pidfile = "nobody.pid"\n')
    for name in ("cache", "mail"):
        write(web, f"live/config/{name}.yml", "a: 1\n")
    result = web("sync", "settings", "--select", "cache.yml", "--dry-run", "--json")
    items = json.loads(result.stdout)["results"][0]["report"]["report"]["plan"]["items"]
    assert [item["key"] for item in items] == ["cache.yml", ".trueup/reload"]
    assert items[1]["steps"][0]["needs"] == [items[0]["steps"][0]["id"]]
    nothing = web("sync", "settings", "--select", "other.yml", "--dry-run", "--json")
    assert json.loads(nothing.stdout)["results"][0]["report"]["report"]["plan"]["items"] == []


@pytest.mark.parametrize("said", ['reload_pidfile = "app.pid"', 'reload_url = "http://127.0.0.1:1/reload"'])
def test_nobody_is_told_for_a_file_that_is_not_trusted(web: Home, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    told: list[object] = []
    monkeypatch.setattr(reloading, "_signal", lambda *how: told.append(how))
    monkeypatch.setattr(reloading, "_post", told.append)
    web.configure(f"{said}\n")
    write(web, "live/config/cache.yml", "a: 1\n")
    assert "the settings are read again" in web("sync", "settings", "--dry-run").stdout
    web("plan", "config", "-o", "plan.json")
    for command in (["sync", "settings"], ["sync", "config", "--yes"], ["apply", "plan.json", "--yes"]):
        refused = web(*command, code=78).stderr
        assert "may not run code, ask for pages, nor signal processes" in refused
        assert "try: trueup trust " in refused
    assert not (web.path / "config/cache.yml").exists(), "nothing was done"
    assert told == []
    web("sync", "settings", "--no-reload")
    (web.path / "live/config/cache.yml").write_text("a: 22\n")
    assert f"targets.config.{said.split()[0]}: " in web("trust").stdout
    web("sync", "settings")
    assert len(told) == 1


def test_the_doctor_looks_at_what_kinds_need(web: Home) -> None:
    web.configure(
        'reload_pidfile = "app.pid"\nschemas = "schemas"\n[targets.keys]\nkind = "cache"\nurl = "unix:///no/where.sock"\n'
        'app = "shop"\n[targets.more]\nkind = "templates"\nlocal = "pages"\nremote = "live/pages"\ncache = "keys"\n'
    )
    settings = web("doctor", "config", code=1).stdout
    assert "config reload" in settings
    assert "may not run code, ask for pages, nor signal processes" in settings
    assert "there is no folder" in settings
    assert "more cache keys" in web("doctor", "more", code=1).stdout
    web("trust")
    assert "app.pid: [Errno 2]" in web("doctor", "config", code=1).stdout
    (web.path / "schemas").mkdir()
    write(web, "app.pid", str(os.getpid()))
    assert "signal HUP to the process in" in web("doctor", "config").stdout, "and nobody has got one"


def test_a_failed_reload_is_said_and_the_settings_are_back(web: Home) -> None:
    web.configure('reload_pidfile = "nobody.pid"\n')
    web("trust")
    write(web, "live/config/cache.yml", "a: 1\n")
    result = web("sync", "settings", code=2)
    assert "signal HUP to the process in" in result.stdout
    assert "the settings were not read again" in result.stdout
    assert "taken back by run " in result.stdout
    assert not (web.path / "config/cache.yml").exists()
    web("sync", "settings", "--no-reload")
    assert (web.path / "config/cache.yml").exists()


def test_only_the_settings_of_an_adapter(web: Home) -> None:
    for name in ("cache", "mail"):
        write(web, f"config/{name}.yml", "a: 1\n")
    web("sync", "settings", "--adapter", "mail")
    assert [path.name for path in (web.path / "live/config").glob("*.yml")] == ["mail.yml"]


def test_settings_that_are_not_valid_are_held_with_line_and_column(web: Home) -> None:
    write(web, "config/cache.yml", "a: 1\na: 2\n")
    result = web("sync", "settings", code=2)
    assert "local: line 2, column 1: the key 'a' is there twice, first in line 1" in result.stdout


def test_folders_and_buckets_that_no_target_names(web: Home) -> None:
    write(web, "static/a.css", "a{}")
    result = web("sync", "static", "--path", "static", "--bucket", "live/static", "--dry-run")
    assert "next: trueup sync static --path static --bucket live/static" in result.stdout
    web("sync", "static", "--path", "static", "--bucket", "live/static")
    assert (web.path / "live/static/a.css").exists()
    assert "there is no bucket lives" in web("sync", "static", "--bucket", "lives", code=78).stderr
    assert "there is no target nope of kind static" in web("sync", "static", "nope", code=64).stderr


def test_a_run_of_a_target_that_no_file_configures_can_be_taken_back(web: Home) -> None:
    write(web, "static/a.css", "a{}")
    web("sync", "static", "--bucket", "live/static")
    web("undo", "last", "--yes")
    assert not (web.path / "live/static/a.css").exists()
    assert (web.path / "static/a.css").exists()


def test_a_plan_that_was_saved_is_applied_with_its_after_steps(web: Home) -> None:
    web.configure('reload_pidfile = "nobody.pid"\n')
    web("trust")
    write(web, "live/config/cache.yml", "a: 1\n")
    web("plan", "config", "-o", "plan.json")
    result = web("apply", "plan.json", "--yes", code=2)
    assert "taken back by run " in result.stdout


def test_a_name_is_no_name_of_an_ad_hoc_folder(web: Home) -> None:
    assert "--name is for an ad hoc folder" in web("sync", "static", "--name", "x", code=64).stderr
