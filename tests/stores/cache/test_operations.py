"""What is done with caches, what is refused, and what becomes of it when the server fails."""

import contextlib
import http.server
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
from anyio import to_thread
from tests.stores.cache.conftest import Caching
from tests.valkey import Server

from trueup.api import Engine
from trueup.api.caching import Operation, Request
from trueup.caches import CacheSyncResult, cache_stats, cache_sync, register
from trueup.config import Config
from trueup.core.errors import AccessDenied, ConfigError, TimedOut, Unavailable, UsageError
from trueup.core.plan import Plan
from trueup.stores.cache import engines
from trueup.stores.cache.engines import FolderCache, RedisCache
from trueup.stores.cache.names import Pattern, pattern
from trueup.targets import Caches
from trueup.targets.folders import Folders


@dataclass(frozen=True)
class Strategy:
    dry_run: bool = False
    timeout: float | None = None


def memory(name: str, **values: Any) -> dict[Any, Any]:
    cache = {key.replace("__", ":"): value for key, value in values.items()}
    register(name, cache)
    return cache


# -- results -----------------------------------------------------------------------------------------------------------


def test_the_result_has_the_fields_of_the_document() -> None:
    result = CacheSyncResult(["a"], ["b"], ["c"], synced_items=["x"], skipped=["y"], errors=[ValueError()])
    assert (result.total_processed, result.success_count) == (3, 1)
    assert (result.has_conflicts, result.has_errors, result.is_success) == (False, True, False)
    assert CacheSyncResult().is_success


async def test_the_examples_of_the_document_run_without_a_server(tmp_path: Path) -> None:
    cache = memory("default", template__a=b"1", bccache__a=b"2", other=b"3")
    how: dict[str, Any] = {"config": Config(tmp_path)}
    result = await cache_sync(operation="refresh", **how)
    assert result.invalidated_keys == ["template:a", "bccache:a"]
    cache["template:b"] = b"4"
    result = await cache_sync(operation="invalidate", namespaces=["templates", "bccache"], warm_templates=True, **how)
    assert result.invalidated_keys == ["template:b"]
    result = await cache_sync(operation="warm", namespaces=["templates", "responses", "gather"], **how)
    assert result.is_success
    cache["template:b"] = b"4"
    result = await cache_sync(operation="clear", namespaces=["templates"], **how)
    assert (result.invalidated_keys, result.cleared_namespaces) == (["template:b"], ["templates"])
    assert cache == {"other": b"3"}


async def test_a_dry_run_lists_the_real_keys_and_deletes_none(valkey: Server, caching: Caching) -> None:
    there = valkey.put("template:a", "template:b", "shop:cached:GET.1.2", "other")
    spec = Caches(url=valkey.url, app="shop")
    for operation in ("refresh", "invalidate", "clear"):
        result = await caching(spec, operation=operation, strategy=Strategy(dry_run=True))
        assert result.invalidated_keys == ["template:a", "template:b", "shop:cached:GET.1.2"]
        assert result.is_success
    assert valkey.all_keys() == there


async def test_only_the_named_keys_go(valkey: Server, caching: Caching) -> None:
    valkey.put("template:a", "template:b", "bccache:a")
    spec = Caches(url=valkey.url, app="shop")
    result = await caching(spec, operation="invalidate", keys=["template:a", "template:gone"])
    assert result.invalidated_keys == ["template:a"]
    assert "template:gone is not there" in result.skipped
    assert valkey.all_keys() == {b"template:b", b"bccache:a"}


async def test_a_key_of_another_application_is_refused_and_nothing_is_deleted(valkey: Server, caching: Caching) -> None:
    there = valkey.put("template:a", "session:1")
    with pytest.raises(UsageError, match="never touched"):
        await caching(Caches(url=valkey.url, app="shop"), operation="invalidate", keys=["template:a", "session:1"])
    assert valkey.all_keys() == there


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"operation": "flush"}, "no operation flush"),
        ({"operation": "clear", "namespaces": ["odd"]}, "no namespace odd"),
        ({"operation": "clear", "keys": ["template:a"]}, "for namespaces"),
        ({"operation": "warm", "keys": ["template:a"]}, "for namespaces"),
    ],
)
async def test_what_makes_no_sense_is_refused(caching: Caching, how: dict[str, Any], said: str) -> None:
    cache = memory("senseless", template__a=b"")
    with pytest.raises(UsageError, match=said):
        await caching(Caches(url="memory://senseless", app="shop"), **how)
    assert cache


async def test_a_password_in_a_url_is_refused(caching: Caching) -> None:
    with pytest.raises(UsageError, match="password"):
        await caching(Caches(url="redis://:secret@127.0.0.1:1/0", app="shop"), operation="clear")


async def test_a_target_of_another_kind_is_no_cache(tmp_path: Path) -> None:
    async with Engine(Config(tmp_path)) as engine:
        with pytest.raises(UsageError, match="no cache"):
            await engine.cache(Folders("site", ("/a",), "/b"), Request())


async def test_namespaces_of_ones_own_are_like_those_of_the_preset(valkey: Server, caching: Caching) -> None:
    others = valkey.put("shop:page:", "shops:page:x", "template:a")
    valkey.put("shop:page:x")
    spec = Caches(url=valkey.url, app="shop", keys=("pages={app}:page:{name}",))
    await caching(spec, operation="clear", namespaces=["pages"])
    assert valkey.all_keys() == others
    with pytest.raises(UsageError, match="NAME=TEMPLATE"):
        await caching(Caches(url=valkey.url, app="shop", keys=("odd",)), operation="clear")


# -- the server --------------------------------------------------------------------------------------------------------


async def test_the_server_is_scanned_in_pages_and_never_flushed(valkey: Server, caching: Caching) -> None:
    others = valkey.put("other")
    with valkey.client.pipeline(transaction=False) as pipeline:
        for number in range(10_000):
            pipeline.set(f"template:{number}", b"x")
        pipeline.execute()
    valkey.client.config_resetstat()
    result = await caching(Caches(url=valkey.url, app="shop"), operation="clear", namespaces=["templates"])
    assert len(result.invalidated_keys) == 10_000
    called = {name: about["calls"] for name, about in valkey.client.info("commandstats").items()}
    assert not {"cmdstat_flushdb", "cmdstat_flushall", "cmdstat_keys", "cmdstat_del", "cmdstat_eval"} & called.keys()
    assert called["cmdstat_scan"] <= 2 * (10_000 // 1000 + 2)
    assert called["cmdstat_unlink"] <= 12
    assert valkey.all_keys() == others


async def test_what_is_written_while_the_run_goes_on_is_told(valkey: Server, tmp_path: Path) -> None:
    valkey.put("template:a")
    spec = Caches(url=valkey.url, app="shop")

    async def meanwhile(_: Plan) -> bool:
        await to_thread.run_sync(valkey.put, "template:late", "bccache:late", "other")
        return True

    async with Engine(Config(tmp_path)) as engine:
        request = Request(Operation.CLEAR, ("templates",))
        report = await engine.cache(spec, request, confirm=meanwhile)
    assert report.deleted == ["template:a", "template:late"] or report.deleted == ["template:late", "template:a"]
    assert report.notes == ["templates: 1 of the deleted keys were written after the plan was made"]
    assert valkey.all_keys() == {b"bccache:late", b"other"}


async def test_a_named_key_that_goes_by_itself_meanwhile_is_told(valkey: Server, tmp_path: Path) -> None:
    valkey.put("template:a", "template:b")

    async def meanwhile(_: Plan) -> bool:
        await to_thread.run_sync(valkey.client.delete, "template:a")
        return True

    async with Engine(Config(tmp_path)) as engine:
        request = Request(Operation.INVALIDATE, keys=("template:a", "template:b"), warm=False)
        report = await engine.cache(Caches(url=valkey.url, app="shop"), request, confirm=meanwhile)
    assert report.notes == ["templates: 1 keys had gone before"]


class DiesAfterOnePage(RedisCache):
    """A server that is gone after the first page of deletions."""

    deleted = 0

    def delete(self, keys: Sequence[bytes]) -> int:
        if DiesAfterOnePage.deleted:
            raise Unavailable(f"{self.location} cannot be reached", why="it is gone")
        DiesAfterOnePage.deleted += 1
        return super().delete(keys)


async def test_a_server_that_dies_in_the_middle_leaves_a_true_account(
    valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey.client.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.set(f"template:{number}", b"x")
        pipeline.execute()
    monkeypatch.setattr(engines, "RedisCache", DiesAfterOnePage)
    monkeypatch.setattr(DiesAfterOnePage, "deleted", 0)
    async with Engine(Config(tmp_path)) as engine:
        report = await engine.cache(Caches(url=valkey.url, app="shop"), Request(Operation.CLEAR, ("templates",)))
        assert report.report is not None
        (summary,) = await engine.history()
        assert summary.failed == 1
    gone = {f"template:{number}".encode() for number in range(20_000)} - valkey.all_keys()
    assert {key.encode() for key in report.deleted} == gone
    assert 0 < len(gone) < 20_000
    monkeypatch.setattr(DiesAfterOnePage, "deleted", 0)
    result = await cache_sync(
        operation="clear", namespaces=["templates"], target=Caches(url=valkey.url, app="shop"), config=Config(tmp_path)
    )
    assert result.invalidated_keys
    assert not result.cleared_namespaces
    assert [type(error) for error in result.errors] == [Unavailable]


async def test_a_server_that_is_down_is_an_error_of_the_result(caching: Caching, tmp_path: Path) -> None:
    result = await caching(Caches(url=f"unix://{tmp_path}/none.sock", app="shop"), operation="clear")
    assert [type(error) for error in result.errors] == [Unavailable]
    assert not result.is_success
    assert not result.cleared_namespaces


async def test_a_strategys_timeout_ends_the_operation(caching: Caching, monkeypatch: pytest.MonkeyPatch) -> None:
    memory("slow", template__a=b"1")
    result = await caching(Caches(url="memory://slow", app="shop"), operation="clear", strategy=Strategy(timeout=0))
    assert [type(error) for error in result.errors] == [TimedOut]
    assert not result.invalidated_keys


async def test_a_user_who_may_not_is_told_so(valkey: Server, caching: Caching) -> None:
    valkey.client.execute_command("ACL", "SETUSER", "default", "-unlink")
    try:
        valkey.put("template:a")
        result = await caching(Caches(url=valkey.url, app="shop"), operation="clear", namespaces=["templates"])
    finally:
        valkey.client.execute_command("ACL", "SETUSER", "default", "+unlink")
    assert [type(error) for error in result.errors] == [AccessDenied]
    assert valkey.all_keys() == {b"template:a"}


async def test_one_node_of_a_cluster_is_refused(valkey: Server) -> None:
    cache = RedisCache(valkey.url)

    class Clustered:
        def info(self, _: str) -> dict[str, int]:
            return {"cluster_enabled": 1}

    cache.close()
    cache._client = Clustered()
    with pytest.raises(Exception, match="node of a cluster"):
        next(cache.pages(pattern("a:{key}", {})))


def test_what_a_glob_finds_too_much_is_left(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pattern, "glob", b"*")
    valkey.put("a:1", "b:1")
    with contextlib.closing(RedisCache(valkey.url)) as cache:
        assert [key for page in cache.pages(pattern("a:{key}", {})) for key in page] == [b"a:1"]


async def test_stats_count_keys_and_bytes_by_namespace(valkey: Server, tmp_path: Path) -> None:
    valkey.put("template:a", "template:b", "bccache:a", "other")
    valkey.client.get("other")
    how: dict[str, Any] = {"target": Caches(url=valkey.url, app="shop"), "config": Config(tmp_path)}
    found = await cache_stats(**how)
    assert {name: one.keys for name, one in found.items()} == {
        "templates": 2,
        "bccache": 1,
        "responses": 0,
        "gather": 0,
    }
    assert found["templates"].bytes > found["bccache"].bytes > 0 == found["responses"].bytes
    assert found["templates"].exact
    assert found["templates"].hit_rate is not None
    assert set(await cache_stats(namespaces=["gather"], **how)) == {"gather"}


async def test_bytes_of_many_keys_are_projected(tmp_path: Path) -> None:
    register("many", {f"template:{number}": b"12345" for number in range(5_000)})
    found = await cache_stats(target=Caches(url="memory://many", app="shop"), config=Config(tmp_path))
    assert (found["templates"].bytes, found["templates"].exact) == (25_000, False)


def test_a_folder_lets_nobody_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no name of a file"):
        FolderCache(str(tmp_path)).delete([b"../x"])


# -- warming -----------------------------------------------------------------------------------------------------------


async def test_a_template_that_is_no_good_is_told_with_its_line_and_the_rest_is_warmed(caching: Caching) -> None:
    memory("warm")
    environment = jinja2.Environment(loader=jinja2.DictLoader({"good": "x", "bad": "one\n{% if %}", "last": "y"}))
    spec = Caches(url="memory://warm", app="shop", environment=lambda: environment)
    result = await caching(spec, operation="warm")
    assert result.warmed_keys == ["good", "last"]
    assert [str(error).partition(" ")[0] for error in result.errors] == ["bad:2:"]


async def test_no_template_is_compiled_where_that_is_not_wanted(caching: Caching) -> None:
    memory("cold", bccache__a=b"1")
    environment = jinja2.Environment(loader=jinja2.DictLoader({"a": "x"}))
    spec = Caches(url="memory://cold", app="shop", environment=lambda: environment)
    result = await caching(spec, operation="invalidate", warm_templates=False)
    assert (result.invalidated_keys, result.warmed_keys) == (["bccache:a"], [])


@pytest.fixture
def pages() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404 if self.path == "/none" else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_responses_are_warmed_by_asking_for_pages(caching: Caching, pages: tuple[str, list[str]]) -> None:
    url, asked = pages
    memory("pages")
    spec = Caches(url="memory://pages", app="shop", urls=lambda: (f"{url}/a", f"{url}/none"))
    result = await caching(spec, operation="warm", namespaces=["responses"])
    assert (result.warmed_keys, asked) == ([f"{url}/a"], ["/a", "/none"])
    assert [str(error).partition(" - ")[0] for error in result.errors] == [f"{url}/none is not answered"]


async def test_an_environment_is_named_as_module_and_attribute(caching: Caching, tmp_path: Path) -> None:
    memory("named")
    spec = Caches(url="memory://named", app="shop")
    with pytest.raises(ConfigError, match="module:attribute"):
        await caching(spec, operation="warm", environment="jinja2")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        await caching(spec, operation="warm", environment="trueup_no_such_module:env")
    with pytest.raises(ConfigError, match="no Jinja environment"):
        await caching(spec, operation="warm", environment="trueup:__all__")
