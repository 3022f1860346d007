"""Each preset against the library whose keys it names: what should go goes, and nothing else."""

import hashlib
import importlib
import json
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tests.stores.cache.conftest import HOSTILE, Caching
from tests.valkey import Server

from trueup.stores.cache.presets import PRESETS
from trueup.targets import Caches
from trueup.targets.caches import Library

pytestmark = pytest.mark.engine


def test_what_the_configuration_offers_is_what_there_is() -> None:
    assert {library.value for library in Library} == set(PRESETS)


# -- Django ------------------------------------------------------------------------------------------------------------


def django_cache(server: Server, prefix: str, version: int = 1) -> Any:
    settings: Any = importlib.import_module("django.conf").settings
    if not settings.configured:
        settings.configure()
    return importlib.import_module("django.core.cache.backends.redis").RedisCache(
        server.url, {"KEY_PREFIX": prefix, "VERSION": version}
    )


def written_by_django(server: Server, prefix: str, names: Iterable[str], version: int = 1) -> set[bytes]:
    before = server.all_keys()
    cache = django_cache(server, prefix, version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that memcached could not have
        for name in names:
            cache.set(name, {"some": "value"})
    cache.close()
    return server.all_keys() - before


@pytest.mark.parametrize("prefix", ["", "shop", *HOSTILE])
async def test_clearing_djangos_keys_takes_one_prefix_and_one_version(
    valkey: Server, caching: Caching, prefix: str
) -> None:
    mine = written_by_django(valkey, prefix, HOSTILE)
    others = written_by_django(valkey, prefix, HOSTILE, version=2)
    others |= written_by_django(valkey, prefix, HOSTILE, version=11)
    for other in {"other", "shop2", "axb", "ab", "aXb", "a", "xshop"} - {prefix}:
        others |= written_by_django(valkey, other, HOSTILE)
    others |= valkey.put("1:key", f"{prefix}1:key" + "!", "sessions")
    result = await caching(Caches(url=valkey.url, preset="django", app=prefix), operation="clear")
    assert result.is_success, result.errors
    assert valkey.all_keys() == others
    assert {key.encode("utf-8", "surrogateescape") for key in result.invalidated_keys} == mine
    assert result.cleared_namespaces == ["cache"]


async def test_another_version_of_djangos_keys_can_be_meant(valkey: Server, caching: Caching) -> None:
    others = written_by_django(valkey, "shop", ["a", "b"])
    written_by_django(valkey, "shop", ["a", "b"], version=2)
    await caching(Caches(url=valkey.url, preset="django", app="shop", version="2"), operation="clear")
    assert valkey.all_keys() == others


# -- aiocache ----------------------------------------------------------------------------------------------------------


AIOCACHE = """
import asyncio, json, sys
from aiocache import RedisCache

async def main(port, namespaces, names):
    for namespace in namespaces:
        cache = RedisCache(endpoint="127.0.0.1", port=port, db=3, namespace=namespace)
        for name in names:
            await cache.set(name, "value")

asyncio.run(main(*json.loads(sys.argv[1])))
"""
"""A process of its own, because it calls what its client has deprecated, and leaves connections to the collector."""


def written_by_aiocache(server: Server, namespaces: Iterable[str], names: Iterable[str]) -> set[bytes]:
    before = server.all_keys()
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    given = json.dumps([port, list(namespaces), list(names)])
    subprocess.run([sys.executable, "-c", AIOCACHE, given], check=True)
    return server.all_keys() - before


async def test_clearing_aiocaches_keys_takes_one_namespace_after_the_other(valkey: Server, caching: Caching) -> None:
    others = written_by_aiocache(valkey, ["other", "shop2", "axb", "ab", "xshop"], HOSTILE)
    others |= valkey.put("plain", "!shop:x", "shop")
    namespaces = ["shop", *(name for name in HOSTILE if name != "x:y:z")]
    left = {namespace: written_by_aiocache(valkey, [namespace], ["x", *HOSTILE]) for namespace in namespaces[:1]}
    left |= {"": written_by_aiocache(valkey, namespaces[1:], HOSTILE)}
    mine = left.pop("shop")
    remaining = left.pop("")
    result = await caching(Caches(url=valkey.url, preset="aiocache", app="shop"), operation="clear")
    assert len(result.invalidated_keys) == len(mine) == len(HOSTILE) + 1
    assert valkey.all_keys() == others | remaining
    for namespace in namespaces[1:]:
        result = await caching(Caches(url=valkey.url, preset="aiocache", app=namespace), operation="clear")
        assert len(result.invalidated_keys) == len(HOSTILE), namespace
    assert valkey.all_keys() == others


# -- cashews -----------------------------------------------------------------------------------------------------------


CASHEWS = """
import asyncio, sys
from cashews import Cache

async def main(url, app, tag, *names):
    cache = Cache()
    cache.setup(url)
    cache.register_tag(tag, app + ":{name}")
    for name in names:
        await cache.set(f"{app}:{name}", "value", tags=(tag,))

asyncio.run(main(*sys.argv[1:]))
"""
"""A process of its own, because the library leaves its connections to the garbage collector, which complains."""


def written_by_cashews(server: Server, app: str, names: Iterable[str], tag: str) -> set[bytes]:
    before = server.all_keys()
    subprocess.run([sys.executable, "-c", CASHEWS, server.url, app, tag, *names], check=True)
    return server.all_keys() - before


async def test_clearing_cashews_takes_keys_and_their_tags(valkey: Server, caching: Caching) -> None:
    mine = written_by_cashews(valkey, "shop", ["one", "two"], "shop:all")
    assert b"_tag:shop:all" in mine
    others = written_by_cashews(valkey, "other", ["one", "two"], "other:all")
    others |= valkey.put("_tag:shops:all", "shop")
    result = await caching(Caches(url=valkey.url, preset="cashews", app="shop"), operation="clear")
    assert result.is_success, result.errors
    assert valkey.all_keys() == others


async def test_a_tag_takes_its_members_and_nothing_of_another_application(valkey: Server, caching: Caching) -> None:
    written_by_cashews(valkey, "shop", ["one"], "shop:some")
    others = written_by_cashews(valkey, "shop", ["two"], "shop:rest")
    others |= valkey.put("other:key")
    valkey.client.sadd("_tag:shop:some", "other:key")
    spec = Caches(url=valkey.url, preset="cashews", app="shop")
    result = await caching(spec, operation="invalidate", keys=["_tag:shop:some"])
    assert valkey.all_keys() == others
    assert set(result.invalidated_keys) == {"_tag:shop:some", "shop:one"}
    assert any("not of this application" in note for note in result.skipped)


# -- FastBlocks --------------------------------------------------------------------------------------------------------


def fastblocks_response(app: str, method: str, url: str, vary: str) -> str:
    """As `generate_cache_key` of FastBlocks' ``caching.py`` makes it."""
    crc = str(zlib.crc32(url.encode()))
    return f"{app}:cached:{method}.{crc}.{str(zlib.crc32(vary.encode())) if vary else ''}"


@pytest.mark.parametrize("app", ["shop", *HOSTILE])
async def test_clearing_responses_of_fastblocks_takes_those_of_one_application(
    valkey: Server, caching: Caching, app: str
) -> None:
    pages = [("GET", "http://x/a", ""), ("HEAD", "http://x/b", "accept:html")]
    mine = [fastblocks_response(app, *page) for page in pages]
    valkey.put(*mine)
    others = valkey.put(
        *(
            fastblocks_response(other, *page)
            for other in ("other", "axb", "shop2", "ab")
            for page in pages
            if other != app
        )
    )
    others |= valkey.put(f"{app}:cached:GET.x.y", f"{app}:cached", f"{app}:session", "bccache:a.html", "template:a")
    spec = Caches(url=valkey.url, app=app)
    result = await caching(spec, operation="clear", namespaces=["responses"])
    assert valkey.all_keys() == others
    assert sorted(result.invalidated_keys) == sorted(mine)


class FastBlocksBytecode(jinja2.BytecodeCache):
    """As `AsyncRedisBytecodeCache` of jinja2-async-environment, which FastBlocks uses: its names and its checksum."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        return filename or name

    def get_source_checksum(self, source: str) -> str:
        return hashlib.sha256(source.encode()).hexdigest()

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        if code := self.client.get(f"bccache:{bucket.key}"):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self.client.set(f"bccache:{bucket.key}", bucket.bytecode_to_string())


SOURCES = {"a.html": "{% extends 'base.html' %}", "base.html": "base {{ x }}", "we*ird[1].html": "weird", "[": "x"}


async def test_a_refresh_of_fastblocks_replaces_the_bytecode_that_is_old_and_no_other(
    valkey: Server, caching: Caching
) -> None:
    sources = dict(SOURCES)
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), bytecode_cache=FastBlocksBytecode(valkey.client), cache_size=0
    )
    spec = Caches(url=valkey.url, app="shop", environment=lambda: environment)
    warmed = await caching(spec, operation="warm")
    assert set(warmed.warmed_keys) == {f"bccache:{name}" for name in sources}
    assert valkey.all_keys() == {key.encode() for key in warmed.warmed_keys}
    before = {key: valkey.client.get(key) for key in valkey.all_keys()}
    others = valkey.put("bccache:of another environment", "bccachex", "xbccache:a.html")
    sources["base.html"] = "another base"
    rehearsed = await caching(spec, operation="refresh")
    assert rehearsed.invalidated_keys == ["bccache:base.html"]
    after = {key: valkey.client.get(key) for key in valkey.all_keys() - others}
    assert {key for key in before if before[key] != after[key]} == {b"bccache:base.html"}
    assert after.keys() == before.keys()
    assert not (await caching(spec, operation="refresh")).invalidated_keys


async def test_what_cannot_say_of_which_source_it_is_goes_as_a_whole(valkey: Server, caching: Caching) -> None:
    others = valkey.put("shop:else", "gather:routes")
    valkey.put("template:a.html", fastblocks_response("shop", "GET", "x", ""), "bccache:orphan")
    result = await caching(Caches(url=valkey.url, app="shop"), operation="refresh")
    assert len(result.invalidated_keys) == 3
    assert valkey.all_keys() == others
    assert any("names no environment" in note for note in result.skipped)


# -- Jinja2 ------------------------------------------------------------------------------------------------------------


async def test_bytecode_files_of_jinja_go_by_what_has_changed(tmp_path: Path, caching: Caching) -> None:
    folder = tmp_path / "bytecode"
    folder.mkdir()
    sources = dict(SOURCES)
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), bytecode_cache=jinja2.FileSystemBytecodeCache(str(folder)), cache_size=0
    )
    for name in sources:
        environment.get_template(name)
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(written) == len(sources)
    others = {
        "notes.txt",
        "__jinja2_short.cache",
        "__jinja2_" + "g" * 40 + ".cache",
        "x__jinja2_" + "a" * 40 + ".cache",
    }
    for name in others:
        (folder / name).write_text("mine")
    (folder / ("__jinja2_" + "a" * 40 + ".cache")).symlink_to(folder / "notes.txt")
    (folder / ("__jinja2_" + "b" * 40 + ".cache")).mkdir()
    left = others | {path.name for path in folder.iterdir() if path.is_symlink() or path.is_dir()}
    sources["a.html"] = "changed"
    spec = Caches(url=str(folder), preset="jinja2", environment=lambda: environment)
    result = await caching(spec, operation="refresh")
    assert result.invalidated_keys == [f"__jinja2_{hashlib.sha1(b'a.html').hexdigest()}.cache"]  # noqa: S324
    changed = {name for name, content in written.items() if (folder / name).read_bytes() != content}
    assert changed == set(result.invalidated_keys)
    cleared = await caching(spec, operation="clear")
    assert set(cleared.invalidated_keys) == set(written)
    assert {path.name for path in folder.iterdir()} == left


async def test_bytecode_that_servers_share_goes_by_its_prefix(valkey: Server, caching: Caching) -> None:
    class Client:
        def get(self, key: str) -> Any:
            return valkey.client.get(key)

        def set(self, key: str, value: bytes, timeout: int | None = None) -> None:
            valkey.client.set(key, value)

    environment = jinja2.Environment(
        loader=jinja2.DictLoader(SOURCES), bytecode_cache=jinja2.MemcachedBytecodeCache(Client()), cache_size=0
    )
    for name in SOURCES:
        environment.get_template(name)
    assert len(valkey.all_keys()) == len(SOURCES)
    others = valkey.put("jinja2/bytecode/other", "jinja2/bytecodes/" + "a" * 40, "x")
    await caching(Caches(url=valkey.url, preset="jinja2-shared"), operation="clear")
    assert valkey.all_keys() == others
