"""Caches above templates, on a real Valkey; the keys are written by Jinja2 itself, through the team's environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import jinja2
import pytest
from tests.actions.team import Team
from tests.valkey import Server, started

from trueup import ConflictStrategy, Engine, SyncStrategy, sync
from trueup.api.content.cached import CachedTemplates
from trueup.config import Config, load
from trueup.config.trust import trust
from trueup.core.errors import ConfigError, StoreError, UsageError
from trueup.core.plan import Plan
from trueup.core.strategy import Deletes
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening
from trueup.targets import Caches

THEIRS = SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS)

SITE = {
    "base.html": "<b>{% block a %}{% endblock %}",
    "page.html": "{% extends 'base.html' %}",
    "deep/leaf.html": "{% include 'page.html' %}",
    "lone.html": "lone",
}

CONFIGURED = """
[targets.pages]
kind = "templates"
local = "templates"
remote = "bucket:templates"
cache = ["web", "sources"]

[targets.web]
kind = "cache"
url = "{url}"
preset = "jinja2-shared"
environment = "application_above_a_cache:environment"

[targets.sources]
kind = "cache"
url = "{url}"
app = "shop"
"""

APPLICATION = """
import jinja2
import redis


class Client:
    # What `MemcachedBytecodeCache` asks of a client, on Redis.
    def __init__(self, url):
        self.redis = redis.Redis.from_url(url)

    def get(self, key):
        return self.redis.get(key)

    def set(self, key, value, timeout=None):
        self.redis.set(key, value)


def environment(url="{url}", folder="{folder}"):
    cache = jinja2.MemcachedBytecodeCache(Client(url), ignore_memcache_errors=False)
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), bytecode_cache=cache)
"""


@pytest.fixture
def site(team: Team, valkey: Server) -> Iterator[Team]:
    """Templates that agree, compiled, with keys of others beside theirs."""
    for name, source in SITE.items():
        team.here(f"templates/{name}", source)
        team.there(f"templates/{name}", source)
    team.configure(CONFIGURED.format(url=valkey.url))
    (team.path / "application_above_a_cache.py").write_text(
        APPLICATION.format(url=valkey.url, folder=team.path / "templates")
    )
    filled(team, valkey)
    yield team
    sys.modules.pop("application_above_a_cache", None)


def application(team: Team) -> jinja2.Environment:
    names: dict[str, Any] = {}
    exec((team.path / "application_above_a_cache.py").read_text(), names)  # noqa: S102 - it stands above
    made: jinja2.Environment = names["environment"]()
    return made


def filled(team: Team, valkey: Server) -> None:
    """What the application and others have put into the cache."""
    environment = application(team)
    for name in SITE:
        environment.get_template(name)
    valkey.put(*(f"template:{name}" for name in SITE), "template:other.html", "jinja2/bytecode/else", "session:1")


def bytecode(team: Team, name: str) -> bytes:
    """The key that Jinja2 gives the bytecode of a template."""
    environment = application(team)
    assert environment.bytecode_cache is not None
    path = str(team.path / "templates" / name)
    return b"jinja2/bytecode/" + environment.bytecode_cache.get_cache_key(name, path).encode()


def keys_of(team: Team, *names: str) -> set[bytes]:
    return {key for name in names for key in (bytecode(team, name), f"template:{name}".encode())}


@pytest.fixture
def approved(site: Team) -> None:
    """Somebody has read the configuration."""
    trust(site.path / "trueup.toml", Path(os.environ["TRUEUP_STATE"]))


async def configured(site: Team) -> Config:
    return await anyio.to_thread.run_sync(partial(load, site.path, env=os.environ))


# -- what goes, and when -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ("base.html", {"base.html", "page.html", "deep/leaf.html"}),
        ("page.html", {"page.html", "deep/leaf.html"}),
        ("deep/leaf.html", {"deep/leaf.html"}),
        ("lone.html", {"lone.html"}),
    ],
)
async def test_what_changed_goes_and_what_leans_on_it_and_nothing_else(
    site: Team, valkey: Server, changed: str, gone: set[str]
) -> None:
    before = valkey.all_keys()
    assert keys_of(site, *SITE) < before, "the library has written what we look for"
    site.there(f"templates/{changed}", "changed")
    dry = await sync.templates(strategy=THEIRS, dry_run=True)
    assert valkey.all_keys() == before
    result = await sync.templates(strategy=THEIRS)
    assert result.is_success
    assert before - valkey.all_keys() == keys_of(site, *gone)
    assert {key.encode() for key in result.cache_invalidated} == keys_of(site, *gone)
    assert dry.cache_invalidated == result.cache_invalidated


async def test_a_publication_into_the_bucket_invalidates_too(site: Team, valkey: Server) -> None:
    site.here("templates/lone.html", "changed", age=0)
    before = valkey.all_keys()
    result = await sync.templates(strategy=SyncStrategy(conflict_strategy=ConflictStrategy.LOCAL_WINS))
    assert result.synced_items == ["PUSH: lone.html"]
    assert before - valkey.all_keys() == keys_of(site, "lone.html")


async def test_nothing_goes_before_the_templates_are_published(
    site: Team, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    invalidate = CachedTemplates.invalidate

    def watched(self: CachedTemplates, keys: Any) -> None:
        found.append((site.path / "templates/lone.html").read_text() + (site.path / "templates/base.html").read_text())
        invalidate(self, keys)

    monkeypatch.setattr(CachedTemplates, "invalidate", watched)
    site.there("templates/lone.html", "new")
    site.there("templates/base.html", "new")
    await sync.templates(strategy=THEIRS)
    assert len(found) == 8, "four templates in two caches"
    assert set(found) == {"newnew"}


async def test_what_is_cached_between_plan_and_publication_goes_too(site: Team, valkey: Server) -> None:
    valkey.client.delete("template:lone.html")
    site.there("templates/lone.html", "changed")

    async def cached_meanwhile(_: Plan) -> bool:
        await anyio.to_thread.run_sync(valkey.put, "template:lone.html")
        return True

    config = await configured(site)
    async with Engine(config) as engine:
        pages = THEIRS.applied(config.targets["pages"])  # type: ignore[arg-type]  # two folders, as configured above
        assert (await engine.run(pages, confirm=cached_meanwhile)).ok
    assert b"template:lone.html" not in valkey.all_keys()


async def test_a_template_that_is_not_published_is_not_invalidated(site: Team, valkey: Server) -> None:
    before = valkey.all_keys()
    site.there("templates/lone.html", "{% if %}")
    result = await sync.templates(strategy=THEIRS)
    assert result.errors
    assert valkey.all_keys() == before


async def test_an_undo_invalidates_too(site: Team, valkey: Server) -> None:
    site.there("templates/lone.html", "changed")
    result = await sync.templates(strategy=THEIRS)
    filled(site, valkey)
    assert result.report is not None
    assert result.report.run is not None
    async with Engine(await configured(site)) as engine:
        await engine.undo(result.report.run)
    assert keys_of(site, "lone.html").isdisjoint(valkey.all_keys())


@pytest.fixture
def dying() -> Iterator[Any]:
    """A server of a test's own."""
    server = started()
    yield server
    if server.is_running():
        server.stop()


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_a_cache_that_dies_in_the_middle_is_told_and_is_invalidated_by_the_next_run(
    site: Team, valkey: Server, dying: Any
) -> None:
    text = (site.path / "trueup.toml").read_text()
    lost = f"redis://127.0.0.1:{dying.port}/0"
    (site.path / "trueup.toml").write_text(text.replace(valkey.url, lost))
    site.there("templates/lone.html", "changed")

    async def die(_: Plan) -> bool:
        await anyio.to_thread.run_sync(dying.stop)
        return True

    config = await configured(site)
    async with Engine(config) as engine:
        pages = THEIRS.applied(config.targets["pages"])  # type: ignore[arg-type]  # two folders, as configured above
        report = await engine.run(pages, confirm=die)
    assert [outcome.why.partition(" - ")[0] for outcome in report.outcomes if outcome.why] == [
        f"{lost} cannot be reached"
    ] * 2
    assert (site.path / "templates/lone.html").read_text() == "changed", "what is done is done"
    (site.path / "trueup.toml").write_text(text)
    result = await sync.templates(strategy=THEIRS)
    assert (result.synced_items, result.is_success) == ([], True)
    assert keys_of(site, "lone.html").isdisjoint(valkey.all_keys()), "it is not forgotten"
    assert result.report is not None
    assert all(item.why.endswith("; an earlier run has not done it") for item in result.report.plan.items)
    assert not (await sync.templates(strategy=THEIRS)).cache_invalidated


async def test_a_cache_that_cannot_be_reached_stops_no_publication(site: Team, valkey: Server) -> None:
    text = (site.path / "trueup.toml").read_text()
    (site.path / "trueup.toml").write_text(text.replace(valkey.url, "unix:///nowhere/at/all.sock"))
    site.there("templates/lone.html", "changed")
    dry = await sync.templates(strategy=THEIRS, dry_run=True)
    assert dry.report is not None
    assert "it cannot be looked at now: unix:///nowhere/at/all.sock cannot be reached" in dry.report.plan.items[-1].why
    result = await sync.templates(strategy=THEIRS)
    assert (result.synced_items, result.exit_code, len(result.errors)) == (["PULL: lone.html"], 2, 2)


async def test_a_cache_that_is_no_longer_named_is_owed_nothing(site: Team, valkey: Server) -> None:
    text = (site.path / "trueup.toml").read_text()
    (site.path / "trueup.toml").write_text(text.replace(valkey.url, "unix:///nowhere/at/all.sock"))
    site.there("templates/lone.html", "changed")
    await sync.templates(strategy=THEIRS)
    (site.path / "trueup.toml").write_text(text.replace('cache = ["web", "sources"]', ""))
    assert (await sync.templates(strategy=THEIRS)).is_success


def test_keys_of_other_applications_are_refused_whatever_a_plan_says(valkey: Server) -> None:
    valkey.put("session:1", "template:a")
    ambient = Ambient()
    cache = CachedTemplates(
        Caches("web", valkey.url, app="shop"), Opening(ambient.clock, ambient.threads, ambient.unique)
    )
    for keys in ({"templates": ["template:a", "session:1"]}, {"odd": ["template:a"]}):
        with pytest.raises(StoreError, match="has no such keys"):
            cache.invalidate(keys)
    assert valkey.all_keys() == {b"session:1", b"template:a"}


async def test_a_cache_that_is_none_is_refused(site: Team) -> None:
    with pytest.raises(UsageError, match="there is no cache nope - there are web, sources"):
        await sync.templates(caches=["nope"])
    site.configure('\n[targets.more]\nkind = "templates"\nlocal = "more"\nremote = "else"\ncache = "webb"\n')
    with pytest.raises(ConfigError, match=r'targets\.more\.cache names "webb", which is no target of kind cache'):
        await sync.templates()


# -- warming -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("approved")
async def test_what_was_invalidated_is_compiled_again(site: Team, valkey: Server) -> None:
    old = {name: valkey.client.get(bytecode(site, name)) for name in SITE}
    site.there("templates/base.html", "<i>{% block a %}{% endblock %}")
    result = await sync.templates(strategy=THEIRS, warm=True)
    assert result.is_success
    assert result.cache_warmed == ["base.html", "deep/leaf.html", "page.html"]
    new = {name: valkey.client.get(bytecode(site, name)) for name in SITE}
    assert all(new.values())
    assert {name for name in SITE if new[name] != old[name]} == {"base.html"}, "the others compile to the same"
    assert application(site).get_template("deep/leaf.html").render() == "<i>"


@pytest.mark.usefixtures("approved")
async def test_a_template_that_is_gone_is_not_compiled(site: Team, valkey: Server) -> None:
    await sync.templates()
    (site.path / "there/templates/lone.html").unlink()
    strategy = SyncStrategy(deletes=Deletes.PROPAGATE)
    result = await sync.templates(strategy=strategy, warm=True)
    assert result.synced_items == ["DELETE local: lone.html"]
    assert (result.is_success, result.cache_warmed) == (True, [])
    assert keys_of(site, "lone.html").isdisjoint(valkey.all_keys())


async def test_no_code_is_loaded_for_a_file_that_is_not_trusted(site: Team, valkey: Server) -> None:
    before = valkey.all_keys()
    (site.path / "application_above_a_cache.py").write_text("raise SystemExit('it was loaded')")
    site.there("templates/lone.html", "changed")
    with pytest.raises(ConfigError, match="may not run code"):
        await sync.templates(strategy=THEIRS, warm=True)
    assert (site.path / "templates/lone.html").read_text() == "lone", "nothing is done"
    assert valkey.all_keys() == before


async def test_the_program_s_own_environment_forgets_what_it_had_loaded(site: Team, valkey: Server) -> None:
    environment = application(site)
    environment.auto_reload = False
    assert environment.get_template("lone.html").render() == "lone"
    site.there("templates/lone.html", "changed")
    result = await sync.templates(strategy=THEIRS, warm=True, environment=environment)
    assert result.cache_warmed == ["lone.html"]
    assert environment.get_template("lone.html").render() == "changed"
    assert bytecode(site, "lone.html") in valkey.all_keys()


async def test_whatever_the_application_raises_is_an_error_of_that_template(site: Team) -> None:
    class Broken(jinja2.BytecodeCache):
        def load_bytecode(self, bucket: Any) -> None:
            raise ValueError("odd")

        def dump_bytecode(self, bucket: Any) -> None:
            pass

    loader = jinja2.FileSystemLoader(str(site.path / "templates"))
    environment = jinja2.Environment(loader=loader, bytecode_cache=Broken())
    site.there("templates/lone.html", "changed")
    result = await sync.templates(strategy=THEIRS, warm=True, environment=environment)
    assert result.synced_items == ["PULL: lone.html"]
    assert [str(error) for error in result.errors] == [
        ".trueup/warm/lone.html: lone.html was not compiled - ValueError: odd"
    ]


async def test_a_template_that_cannot_be_compiled_is_tried_again_until_it_can_or_is_gone(
    site: Team, valkey: Server
) -> None:
    environment = application(site)
    for name in ("lone.html", "page.html"):
        site.there(f"templates/{name}", "{{ 1 | unknown }}")
    how: dict[str, Any] = {"strategy": THEIRS, "warm": True, "environment": environment}
    assert len((await sync.templates(check=False, **how)).errors) == 2
    result = await sync.templates(**how)
    assert (result.synced_items, result.exit_code) == ([], 1), "nothing else is due"
    for side in ("templates", "there/templates"):
        (site.path / side / "lone.html").unlink()
    environment.filters["unknown"] = str
    assert (await sync.templates(**how)).is_success
    assert bytecode(site, "page.html") in valkey.all_keys()
    result = await sync.templates(**how)
    assert result.report is not None
    assert not result.report.plan.changes, "nothing is owed any more"


async def test_to_compile_there_must_be_an_environment(site: Team) -> None:
    site.there("templates/lone.html", "changed")
    with pytest.raises(UsageError, match="no templates can be compiled"):
        await sync.templates(strategy=THEIRS, warm=True, caches=["sources"])
    assert (site.path / "templates/lone.html").read_text() == "lone", "nothing is done"
