"""What the action whose calls these are got wrong, as it was observed; ours must not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import jinja2
import pytest
from tests.actions.team import Team
from tests.valkey import Server

from trueup import ConflictStrategy, SyncDirection, SyncStrategy, sync
from trueup.core.errors import ConflictError, UsageError
from trueup.core.strategy import Deletes

PULL = SyncStrategy(direction=SyncDirection.PULL, conflict_strategy=ConflictStrategy.REMOTE_WINS)
PUSH = SyncStrategy(direction=SyncDirection.PUSH, conflict_strategy=ConflictStrategy.LOCAL_WINS)
WEB = """
[targets.web]
kind = "cache"
url = "{url}"
app = "shop"
"""


async def test_pull_into_an_empty_folder_brings_everything(team: Team) -> None:
    team.there("templates/a.html", "a")
    team.there("templates/below/b.html", "b")
    result = await sync.templates(strategy=PULL)
    assert result.synced_items == ["PULL: a.html", "PULL: below/b.html"]
    assert team.files("templates") == {"a.html": "a", "below/b.html": "b"}


@pytest.mark.parametrize("strategy", [ConflictStrategy.LOCAL_WINS, ConflictStrategy.MANUAL])
async def test_neither_local_wins_nor_manual_overwrites_local(team: Team, strategy: ConflictStrategy) -> None:
    team.here("templates/a.html", "mine", age=7200)
    team.there("templates/a.html", "theirs", age=60)
    chosen = SyncStrategy(conflict_strategy=strategy)
    if strategy is ConflictStrategy.MANUAL:
        with pytest.raises(ConflictError):
            await sync.templates(strategy=chosen)
    else:
        await sync.templates(strategy=chosen)
    assert team.files("templates") == {"a.html": "mine"}


@pytest.mark.parametrize(
    ("strategy", "holds"), [(ConflictStrategy.LOCAL_WINS, "mine!"), (ConflictStrategy.REMOTE_WINS, "other")]
)
async def test_a_strategy_holds_whatever_the_times_are(team: Team, strategy: ConflictStrategy, holds: str) -> None:
    for name, age in (("a.html", 10), ("b.html", 5000)):
        team.here(f"templates/{name}", "mine!", age=age)
        team.there(f"templates/{name}", "other", age=1000)
    result = await sync.templates(strategy=SyncStrategy(conflict_strategy=strategy))
    assert [conflict["reason"] for conflict in result.conflicts] == [strategy.value] * 2
    assert team.files("templates") == team.files("there/templates") == {"a.html": holds, "b.html": holds}


async def test_an_outage_of_the_storage_is_not_a_missing_remote(team: Team) -> None:
    team.here("templates/a.html", "a")
    await sync.templates()
    (team.path / "there/templates").rename(team.path / "there/away")
    result = await sync.templates()
    assert result.has_errors
    assert not result.is_success
    assert result.exit_code == 1
    assert not result.synced_items
    assert not (team.path / "there/templates").exists()
    assert team.files("there/away") == team.files("templates") == {"a.html": "a"}


async def test_dry_run_beside_a_strategy_writes_nothing(team: Team) -> None:
    team.here("templates/a.html", "mine")
    team.there("templates/b.html", "theirs")
    before = team.everything()
    result = await sync.templates(strategy=PUSH, dry_run=True)
    assert result.synced_items == ["PUSH: a.html"]
    result = await sync.templates(strategy=SyncStrategy(dry_run=True))
    assert result.synced_items == ["PUSH: a.html", "PULL: b.html"]
    assert team.everything() == before


async def test_backup_both_keeps_both_versions(team: Team) -> None:
    team.here("templates/a.html", "mine")
    team.there("templates/a.html", "theirs")
    result = await sync.templates(strategy=SyncStrategy(conflict_strategy=ConflictStrategy.BACKUP_BOTH))
    assert sorted(team.files("templates").values()) == ["mine", "theirs"]
    assert team.files("templates") == team.files("there/templates")
    assert team.files("templates")["a.html"] == "theirs"
    assert any(text.startswith("local: a.conflict-local-") for text in result.backed_up)


async def test_a_second_backup_does_not_overwrite_the_first(team: Team) -> None:
    backups = []
    for number in range(3):
        team.here("templates/a.html", f"mine {number}", age=100 - number)
        team.there("templates/a.html", f"theirs {number}", age=90 - number)
        result = await sync.templates(strategy=SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS))
        backups += result.backed_up
    assert len(set(backups)) == 3
    trash = team.path / "templates/.trueup/trash"
    assert [(trash / name.removeprefix("local: ")).read_text() for name in backups] == ["mine 0", "mine 1", "mine 2"]


async def test_a_reader_never_sees_a_template_that_is_half_written(team: Team) -> None:
    """The name always leads to a whole file: it is exchanged, never written in place."""
    old, new = "o" * 300_000, "n" * 300_000
    here = team.here("templates/a.html", old)
    await sync.templates()
    team.there("templates/a.html", new)
    with here.open() as reader:
        half = reader.read(1000)
        await sync.templates()
        assert half + reader.read() == old
    assert here.read_text() == new


async def test_settings_that_are_the_same_are_not_pushed_again(team: Team) -> None:
    team.here("settings/cache.yml", "size: 3\n", age=50)
    team.there("settings/cache.yml", "size: 3\n", age=5000)
    result = await sync.settings(strategy=PUSH)
    assert (result.synced_items, result.conflicts, result.is_success) == ([], [], True)
    assert abs(team.there("settings/cache.yml").stat().st_mtime - time.time()) > 4000


async def test_the_reload_is_carried_out(team: Team) -> None:
    team.there("settings/cache.yml", "size: 3\n")
    seen = []
    result = await sync.settings(reload=lambda: seen.append(team.here("settings/cache.yml").read_text()))
    assert not result.errors
    assert seen == ["size: 3\n"]
    assert result.config_reloaded
    assert result.adapters_affected == ["cache"]


async def test_broken_yaml_here_does_not_block_the_pull_that_repairs_it(team: Team) -> None:
    team.here("settings/cache.yml", "size: [3\n")
    team.there("settings/cache.yml", "size: 3\n")
    result = await sync.settings(strategy=PULL)
    assert result.is_success
    assert team.files("settings") == {"cache.yml": "size: 3\n"}


@pytest.mark.parametrize("side", ["here", "there"])
async def test_broken_yaml_never_replaces_anything(team: Team, side: str) -> None:
    team.here("settings/cache.yml", "size: 3\n")
    team.here("settings/mail.yml", "port: 25\n")
    await sync.settings()
    getattr(team, side)("settings/cache.yml", "size: 3\nname: [3\n", age=60)
    getattr(team, side)("settings/mail.yml", "port: 26\n", age=60)
    result = await sync.settings(strategy=SyncStrategy(conflict_strategy=ConflictStrategy.NEWEST_WINS))
    where = "local" if side == "here" else "remote"
    assert list(map(str, result.errors)) == [
        f"cache.yml: {where}: line 3, column 1: expected ',' or ']', but got '<stream end>'"
    ]
    assert (result.partial, result.exit_code) == (True, 2)
    other = "there/settings" if side == "here" else "settings"
    assert team.files(other) == {"cache.yml": "size: 3\n", "mail.yml": "port: 26\n"}


async def test_two_folders_with_the_same_names_in_them_are_told_apart(team: Team) -> None:
    team.here("templates/a.html", "one")
    team.here("custom/a.html", "two")
    result = await sync.templates(template_paths=["templates", "custom"])
    assert result.synced_items == ["PUSH: custom/a.html", "PUSH: templates/a.html"]
    assert team.files("there/templates") == {"custom/a.html": "two", "templates/a.html": "one"}


async def test_two_folders_of_one_name_are_refused(team: Team) -> None:
    team.here("old/templates/a.html", "one")
    with pytest.raises(UsageError, match="two local folders are named templates"):
        await sync.templates(template_paths=["templates", "old/templates"])


async def test_version_control_is_not_pushed(team: Team) -> None:
    team.here("templates/.git/hooks/a.html", "no")
    team.here("templates/a.html", "yes")
    await sync.templates()
    assert team.files("there/templates") == {"a.html": "yes"}


@pytest.mark.parametrize(("deletes", "left"), [(None, {"a.html", "b.html"}), (Deletes.PROPAGATE, {"b.html"})])
async def test_a_deletion_is_propagated_if_that_is_wanted(team: Team, deletes: Deletes | None, left: set[str]) -> None:
    for name in ("a", "b"):
        team.here(f"templates/{name}.html", name)
    await sync.templates()
    team.here("templates/a.html").unlink()
    result = await sync.templates(strategy=SyncStrategy(deletes=deletes))
    assert result.synced_items == (["PULL: a.html"] if deletes is None else ["DELETE remote: a.html"])
    assert set(team.files("there/templates")) == set(team.files("templates")) == left


async def test_other_files_than_templates_stay_where_they_are(team: Team) -> None:
    team.here("templates/notes.txt", "mine")
    team.here("templates/a.j2", "a")
    await sync.templates()
    assert set(team.files("there/templates")) == {"a.j2"}
    assert Path("templates/notes.txt").exists()


async def test_settings_of_50_megabytes_are_held_unread(team: Team) -> None:
    team.here("settings/cache.yml", "size: 3\n")
    bomb = team.there("settings/cache.yml", "")
    os.truncate(bomb, 50 * 1024 * 1024)
    result = await sync.settings(strategy=PULL)
    (error,) = result.errors
    assert str(error) == "cache.yml: remote: 52428800 bytes are more than the 1048576 that are read"
    assert team.files("settings") == {"cache.yml": "size: 3\n"}


async def test_namespaces_are_really_invalidated(team: Team, valkey: Server) -> None:
    team.configure(WEB.format(url=valkey.url))
    valkey.put("template:a.html", "bccache:a.html", "shop:cached:GET.1.2", "session:1")
    result = await sync.cache(operation="invalidate", namespaces=["templates", "bccache"])
    assert result.invalidated_keys == ["template:a.html", "bccache:a.html"]
    assert valkey.all_keys() == {b"shop:cached:GET.1.2", b"session:1"}


async def test_a_dry_run_of_a_cache_reports_its_keys(team: Team, valkey: Server) -> None:
    team.configure(WEB.format(url=valkey.url))
    before = valkey.put("template:a.html", "template:b.html", "session:1")
    result = await sync.cache(operation="clear", namespaces=["templates"], strategy=SyncStrategy(dry_run=True))
    assert result.invalidated_keys == ["template:a.html", "template:b.html"]
    assert (await sync.cache(operation="clear", dry_run=True)).invalidated_keys == result.invalidated_keys
    assert valkey.all_keys() == before


async def test_warming_is_of_the_templates_that_there_are(team: Team, valkey: Server) -> None:
    team.configure(WEB.format(url=valkey.url))
    environment = jinja2.Environment(loader=jinja2.DictLoader({"our/own.html": "a", "other.html": "b"}))
    result = await sync.cache(operation="warm", environment=environment)
    assert result.warmed_keys == ["other.html", "our/own.html"]
