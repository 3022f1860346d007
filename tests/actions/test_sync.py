"""The calls as their document writes them: parameters, results, and what each option does."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from tests.actions.team import Team

from trueup import ConflictStrategy, SyncDirection, SyncStrategy, sync
from trueup.actions import sync as module
from trueup.core.errors import ConfigError, ConflictError, PlanRefused, StoreError, UsageError
from trueup.core.model import Key, Token
from trueup.engine.wrap import Wrapper
from trueup.protocols import Source, Trash, Written

MANUAL = SyncStrategy(conflict_strategy=ConflictStrategy.MANUAL)


def test_the_names_are_those_of_the_document() -> None:
    assert module.sync is sync
    assert [member.name for member in SyncDirection] == ["PULL", "PUSH", "BIDIRECTIONAL"]
    assert {member.name for member in ConflictStrategy} == {
        "REMOTE_WINS",
        "LOCAL_WINS",
        "NEWEST_WINS",
        "MANUAL",
        "BACKUP_BOTH",
    }
    strategy = SyncStrategy()
    assert (strategy.direction, strategy.conflict_strategy) == ("bidirectional", "newest_wins")
    assert (strategy.dry_run, strategy.backup_on_conflict, strategy.parallel) == (False, True, True)
    assert (strategy.max_concurrent, strategy.timeout) == (5, 30.0)
    assert (strategy.retry_attempts, strategy.retry_delay) == (2, 0.5)


def test_the_parameters_and_their_defaults_are_those_of_the_document() -> None:
    found = {
        name: {p.name: p.default for p in inspect.signature(getattr(sync, name)).parameters.values()}
        for name in ("templates", "settings")
    }
    assert (
        found["templates"].items()
        >= {
            "template_paths": None,
            "patterns": None,
            "strategy": None,
            "storage_bucket": "templates",
        }.items()
    )
    assert (
        found["settings"].items()
        >= {
            "settings_path": None,
            "adapter_names": None,
            "strategy": None,
            "storage_bucket": "settings",
            "reload_config": True,
        }.items()
    )


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, trueup; print([name for name in sys.modules if name.startswith(('trueup.', 'anyio'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [str, Path, anyio.Path])
async def test_paths_of_every_make_are_taken(team: Team, path: Any) -> None:
    team.here("pages/a.html", "a")
    team.here("config/cache.yml", "size: 1\n")
    team.here("dist/a.css", "a{}")
    await sync.templates(template_paths=[path("pages")])
    await sync.settings(settings_path=path("config"))
    await sync.static(static_paths=[path("dist")])
    assert team.files("there") == {
        "settings/cache.yml": "size: 1\n",
        "static/a.css": "a{}",
        "templates/a.html": "a",
    }


async def test_a_result_counts_what_it_says(team: Team) -> None:
    team.here("templates/up.html", "up")
    team.there("templates/down.html", "down")
    team.here("templates/bad.html", "{% if %}")
    team.here("templates/tie.html", "one!", age=500)
    team.there("templates/tie.html", "two!", age=500)
    result = await sync.templates()
    assert result.synced_items == ["PULL: down.html", "PUSH: up.html"]
    assert list(map(str, result.errors)) == [
        "bad.html: local: line 1: Expected an expression, got 'end of statement block'"
    ]
    (conflict,) = result.conflicts
    assert set(conflict) == {"path", "local_mtime", "remote_mtime", "reason"}
    assert (conflict["path"], conflict["reason"]) == ("tie.html", "conflict"), "a tie stays open, and does not raise"
    assert conflict["local_mtime"] == team.here("templates/tie.html").stat().st_mtime
    assert (result.success_count, result.total_processed, result.is_success) == (2, 4, False)
    assert (result.has_conflicts, result.has_errors, result.partial, result.ok) == (True, True, True, False)
    assert (result.skipped, result.backed_up, result.cache_invalidated, result.bytecode_cleared) == ([], [], [], [])
    with pytest.raises(StoreError, match=r"bad\.html"):
        result.raise_for_status()


async def test_what_a_direction_leaves_is_skipped_with_its_reason(team: Team) -> None:
    team.here("templates/a.html", "a")
    result = await sync.templates(strategy=SyncStrategy(direction=SyncDirection.PULL))
    assert (result.skipped, result.synced_items, result.is_success) == (["a.html: only_local"], [], True)
    assert result.raise_for_status() is result


async def test_manual_raises_after_everything_else_is_done(team: Team) -> None:
    team.here("templates/a.html", "mine")
    team.there("templates/a.html", "theirs")
    team.here("templates/b.html", "b")
    with pytest.raises(ValueError, match="Manual conflict resolution required") as raised:
        await sync.templates(strategy=MANUAL)
    assert isinstance(raised.value, ConflictError)
    assert team.files("there/templates") == {"a.html": "theirs", "b.html": "b"}
    result = raised.value.result
    assert isinstance(result, module.TemplateSyncResult)
    assert result.synced_items == ["PUSH: b.html"]
    with pytest.raises(ConflictError):
        result.raise_for_status()


async def test_a_dry_run_with_manual_tells_of_conflicts_and_does_not_raise(team: Team) -> None:
    team.here("templates/a.html", "mine")
    team.there("templates/a.html", "theirs")
    result = await sync.templates(strategy=MANUAL, dry_run=True)
    assert [conflict["path"] for conflict in result.unresolved] == ["a.html"]


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backup", [True, False])
async def test_backup_on_conflict_is_about_the_losers_of_conflicts(team: Team, backup: bool) -> None:
    team.here("templates/a.html", "old")
    await sync.templates()
    team.there("templates/a.html", "changed", age=60)
    team.here("templates/b.html", "mine")
    team.there("templates/b.html", "theirs")
    chosen = SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS, backup_on_conflict=backup)
    result = await sync.templates(strategy=chosen)
    kept = {path.name: path.read_text() for path in (team.path / "templates/.trueup/trash").rglob("*.html")}
    assert kept == ({"a.html": "old", "b.html": "mine"} if backup else {"a.html": "old"})
    assert len(result.backed_up) == backup
    assert result.report is not None
    assert result.report.plan.destroys == (not backup)


class Slow(Wrapper):
    """Counts writes at once, and lets some fail or hang."""

    now = 0
    most = 0
    tried: ClassVar[list[str]] = []
    fails: ClassVar[dict[str, int]] = {}
    hangs: frozenset[str] = frozenset()

    async def batch(self, effects: Any) -> Any:
        from trueup.protocols import one_by_one

        return await one_by_one(self, effects)

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        Slow.tried.append(key)
        Slow.now += 1
        Slow.most = max(Slow.most, Slow.now)
        try:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            if key in Slow.hangs:
                await anyio.sleep_forever()
            if Slow.fails.get(key, 0):
                Slow.fails[key] -= 1
                from trueup.core.errors import Unavailable

                raise Unavailable("not now")
            return await self.inner.write(key, source, expect=expect, trash=trash)
        finally:
            Slow.now -= 1


@pytest.fixture
def slow(team: Team, monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    """All stores of the engine are slow, within their limits of time."""
    from dataclasses import replace

    from trueup.api import opening
    from trueup.targets.folders import Tuning

    Slow.now, Slow.most, Slow.tried, Slow.fails, Slow.hangs = 0, 0, [], {}, frozenset()
    limited = opening._limited

    def wrapped(store: Any, tuning: Tuning, ambient: Any) -> Any:
        return limited(Slow(store), replace(tuning), ambient)

    monkeypatch.setattr(opening, "_limited", wrapped)
    for number in range(12):
        team.here(f"templates/{number:02}.html", str(number))
    return Slow


@pytest.mark.parametrize(
    ("strategy", "most"),
    [
        (SyncStrategy(), 5),
        (SyncStrategy(max_concurrent=2), 2),
        (SyncStrategy(parallel=False), 1),
        (SyncStrategy(max_concurrent=1), 1),
    ],
)
async def test_so_many_items_go_beside_each_other(slow: type[Slow], strategy: SyncStrategy, most: int) -> None:
    assert (await sync.templates(strategy=strategy)).success_count == 12
    assert slow.most == most


@pytest.mark.parametrize(("attempts", "done"), [(2, True), (1, False), (0, False)])
async def test_a_failed_item_is_tried_again_so_often(slow: type[Slow], attempts: int, done: bool) -> None:
    slow.fails["03.html"] = 2
    result = await sync.templates(strategy=SyncStrategy(retry_attempts=attempts, retry_delay=0.0))
    assert result.is_success == done
    assert slow.tried.count("03.html") == attempts + 1
    assert result.success_count == (12 if done else 11)


async def test_retry_delay_is_waited_for(slow: type[Slow], monkeypatch: pytest.MonkeyPatch) -> None:
    from trueup.engine.ambient import SystemClock

    waited: list[float] = []

    async def sleep(self: object, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    slow.fails["03.html"] = 2
    await sync.templates(strategy=SyncStrategy(retry_attempts=2, retry_delay=7.0))
    delays = [seconds for seconds in waited if seconds > 1]
    assert len(delays) == 2
    assert delays[0] < delays[1]
    assert 3.5 <= delays[0] <= 14


async def test_an_item_that_hangs_is_given_up_and_the_others_are_done(slow: type[Slow]) -> None:
    slow.hangs = frozenset({"03.html"})
    result = await sync.templates(strategy=SyncStrategy(timeout=1.0, retry_attempts=0))
    assert result.success_count == 11
    assert result.exit_code == 2
    (error,) = result.errors
    assert str(error).startswith("03.html: ")
    assert "took longer than 1 s" in str(error)


# -- where things are ------------------------------------------------------------------------------------------------


async def test_a_configured_target_says_what_the_call_leaves_open(team: Team) -> None:
    team.configure(
        '[targets.pages]\nkind = "templates"\nlocal = "pages"\nremote = "bucket:templates/live"\nconflict = "manual"\n'
        'include = "*.xml"\n'
    )
    team.here("pages/a.xml", "mine")
    team.there("templates/live/a.xml", "theirs")
    with pytest.raises(ConflictError):
        await sync.templates()
    result = await sync.templates(strategy=SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS))
    assert result.synced_items == ["PULL: a.xml"]
    result = await sync.templates(target="pages", patterns=["*.html"])
    assert result.synced_items == []
    with pytest.raises(UsageError, match="there is no target nope"):
        await sync.templates(target="nope")


async def test_a_bucket_may_be_a_name_a_url_or_a_path(team: Team) -> None:
    team.here("templates/a.html", "a")
    (team.path / "x/y").mkdir(parents=True)
    (team.path / "z").mkdir()
    await sync.templates(storage_bucket="static")
    await sync.templates(storage_bucket="x/y")
    await sync.templates(storage_bucket=f"file://{team.path}/z")
    assert team.files("there/static") == team.files("x/y") == team.files("z") == {"a.html": "a"}
    with pytest.raises(ConfigError, match="there is no bucket statik"):
        await sync.templates(storage_bucket="statik")
    with pytest.raises(UsageError, match="must stay in its bucket"):
        await sync.templates(storage_bucket="static/../secret")


async def test_several_targets_of_a_kind_have_to_be_named(team: Team) -> None:
    for name in ("one", "two"):
        team.configure(f'[targets.{name}]\nkind = "static"\nlocal = "static"\nremote = "there/{name}"\n')
        (team.path / "there" / name).mkdir()
    team.here("static/a.css", "a{}")
    with pytest.raises(UsageError, match="which target of kind static"):
        await sync.static()
    assert (await sync.static(target="two")).synced_items == ["PUSH: a.css"]


async def test_adapter_names_choose_files(team: Team) -> None:
    for name in ("cache.yml", "mail.yaml", "odd[1].yml", "deep/cache.yaml"):
        team.here(f"settings/{name}", "a: 1\n")
    result = await sync.settings(adapter_names=["cache", "odd[1]"])
    assert result.synced_items == ["PUSH: cache.yml", "PUSH: deep/cache.yaml", "PUSH: odd[1].yml"]
    assert result.adapters_affected == ["cache", "odd[1]"]


# -- templates and settings ------------------------------------------------------------------------------------------


async def test_a_template_that_cannot_be_parsed_is_published_only_without_the_check(team: Team) -> None:
    team.here("templates/a.html", "{{ oops")
    assert (await sync.templates()).synced_items == []
    assert team.files("there/templates") == {}
    assert (await sync.templates(check=False)).synced_items == ["PUSH: a.html"]


async def test_what_was_held_is_published_once_it_is_repaired(team: Team) -> None:
    team.here("templates/a.html", "{{ oops")
    assert (await sync.templates()).errors
    team.here("templates/a.html", "{{ fine }}")
    assert (await sync.templates()).is_success
    assert team.files("there/templates") == {"a.html": "{{ fine }}"}


async def test_a_failed_reload_puts_the_previous_settings_back(team: Team) -> None:
    team.here("settings/cache.yml", "size: 1\n")
    await sync.settings(reload=lambda: None)
    team.there("settings/cache.yml", "size: 2\n", age=60)
    team.there("settings/new.yml", "a: 1\n")
    team.here("settings/mine.yml", "b: 1\n")
    calls = []

    def reload() -> None:
        calls.append(team.files("settings")["cache.yml"])
        if len(calls) == 1:
            raise RuntimeError("size is odd")

    result = await sync.settings(reload=reload)
    assert team.files("settings") == {"cache.yml": "size: 1\n", "mine.yml": "b: 1\n"}
    assert calls == ["size: 2\n", "size: 1\n"], "the previous settings are read again, too"
    assert (result.rolled_back, result.config_reloaded, result.is_success) == (True, False, False)
    assert any("RuntimeError: size is odd" in str(error) for error in result.errors)
    assert team.files("there/settings")["mine.yml"] == "b: 1\n", "what was written there is nobody's reload"


async def test_a_reload_may_be_a_coroutine(team: Team) -> None:
    team.there("settings/cache.yml", "size: 1\n")
    calls: list[int] = []

    async def reload() -> None:
        await anyio.lowlevel.checkpoint()
        calls.append(1)

    assert (await sync.settings(reload=reload)).config_reloaded
    assert calls == [1]


async def test_nothing_is_reloaded_where_that_is_not_wanted(team: Team) -> None:
    team.there("settings/cache.yml", "size: 1\n")
    calls: list[int] = []
    result = await sync.settings(reload_config=False, reload=lambda: calls.append(1))
    assert (result.config_reloaded, calls, result.synced_items) == (False, [], ["PULL: cache.yml"])
    result = await sync.settings(reload=lambda: calls.append(1))
    assert (result.config_reloaded, calls) == (False, []), "nothing was written"


async def test_a_dry_run_reloads_nothing(team: Team) -> None:
    team.there("settings/cache.yml", "size: 1\n")
    calls: list[int] = []
    result = await sync.settings(dry_run=True, reload=lambda: calls.append(1))
    assert (result.config_reloaded, calls, result.adapters_affected) == (False, [], ["cache"])


async def test_a_guard_stops_the_run_before_the_first_write(team: Team) -> None:
    for number in range(30):
        team.here(f"templates/{number}.html", "x")
    await sync.templates()
    for path in (team.path / "templates").glob("*.html"):
        path.unlink()
    from trueup.core.strategy import Deletes

    with pytest.raises(PlanRefused):
        await sync.templates(strategy=SyncStrategy(deletes=Deletes.PROPAGATE))
    assert len(team.files("there/templates")) == 30
