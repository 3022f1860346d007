"""``trueup sync cache``, and caches in the configuration."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.cli.home import Home

from trueup.caches import register
from trueup.core.errors import Unavailable
from trueup.stores.cache import engines
from trueup.stores.cache.engines import MemoryCache
from trueup.stores.cache.names import Pattern

TARGET = """
[targets.web]
kind = "cache"
url = "memory://web"
app = "shop"
"""
APPLICATION = """
import jinja2
env = jinja2.Environment(loader=jinja2.DictLoader({"a.html": "x"}), bytecode_cache=jinja2.FileSystemBytecodeCache("bc"))
"""


@pytest.fixture
def cache() -> dict[str, bytes]:
    cache = {"template:a": b"1", "bccache:a": b"2", "shop:cached:GET.1.2": b"3", "session": b"4"}
    register("web", cache)
    return cache


def test_a_dry_run_shows_the_keys(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    shown = home("sync", "cache", "web", "--dry-run").stdout
    for key in ("template:a", "bccache:a", "shop:cached:GET.1.2"):
        assert key in shown
    assert "session" not in shown
    assert "cannot be brought back by undo" in shown
    assert len(cache) == 4


def test_only_the_namespace_that_is_named_goes_and_the_history_shows_it(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    done = home("sync", "cache", "web", "--operation", "clear", "--namespace", "responses", "--yes").stdout
    assert "undo: trueup" not in done
    assert cache == {"template:a": b"1", "bccache:a": b"2", "session": b"4"}
    assert "sync cache web --operation clear" in home("history", "ls").stdout
    assert "clear 1 key: shop:cached:GET.1.2" in home("history", "show", "last", "--json").stdout
    assert "undo" not in home("history", "show", "last").stdout, "there is nothing to take back"
    assert "nothing that could be taken back" in home("undo", "last", code=64).stderr


def test_a_question_that_nobody_sees_ends_with_nothing_done(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    home("sync", "cache", "web", code=64)
    assert len(cache) == 4


def test_one_document_says_it_all(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    said = json.loads(home("sync", "cache", "--key", "template:a", "--operation", "invalidate", "-y", "--json").stdout)
    assert said["deleted"] == ["template:a"]
    assert said["planned"] == {"templates": {"count": 1, "keys": ["template:a"]}}
    assert "template:a" not in cache


def test_a_cache_need_not_be_configured(home: Home, cache: dict[str, bytes]) -> None:
    home("sync", "cache", "--url", "memory://web", "--app", "shop", "--operation", "clear", "-y")
    assert cache == {"session": b"4"}
    home("sync", "cache", code=64)
    home("sync", "cache", "site", code=64)


def test_a_key_of_another_application_is_refused(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    home("sync", "cache", "web", "--operation", "invalidate", "--key", "session", "-y", code=64)
    assert len(cache) == 4


def test_stats_by_namespace(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    said = json.loads(home("sync", "cache", "web", "--stats", "--json").stdout)
    assert said["namespaces"]["templates"] == {"keys": 1, "bytes": 1, "exact": True, "hit_rate": None}
    assert "templates" in home("sync", "cache", "web", "--stats").stdout
    assert len(cache) == 4


class DiesAfterOneKey(MemoryCache):
    """A cache that is gone after the first key."""

    deleted = 0

    def pages(self, pattern: Pattern) -> Iterator[list[bytes]]:
        for page in super().pages(pattern):
            yield from ([key] for key in page)

    def delete(self, keys: Sequence[bytes]) -> int:
        if DiesAfterOneKey.deleted:
            raise Unavailable("the cache is gone")
        DiesAfterOneKey.deleted += 1
        return super().delete(keys)


def test_a_cache_that_dies_in_the_middle_ends_with_2_and_says_what_is_gone(
    home: Home, cache: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(TARGET)
    cache["template:b"] = b"5"
    monkeypatch.setattr(DiesAfterOneKey, "deleted", 0)
    monkeypatch.setattr(engines, "MemoryCache", DiesAfterOneKey)
    clear = ("sync", "cache", "web", "--operation", "clear", "--namespace", "templates", "-y", "--json")
    assert json.loads(home(*clear, code=2).stdout)["deleted"] == ["template:a"]
    assert json.loads(home(*clear, code=1).stdout)["deleted"] == []
    assert "template:b" in cache


def test_other_commands_know_caches(home: Home, cache: dict[str, bytes]) -> None:
    home.configure(TARGET)
    assert "web cache" in home("doctor", "web").stdout
    home("status", "web")
    home("sync", "web", "--yes")
    home("plan", "web")
    assert len(cache) == 4


def test_code_is_run_only_for_a_file_that_is_trusted(home: Home, cache: dict[str, bytes]) -> None:
    (home.path / "an_application.py").write_text("raise SystemExit('it was run')")
    home.configure(TARGET + 'environment = "an_application:env"\nurls = "http://127.0.0.1:9/"\n')
    refused = home("sync", "cache", "web", "--yes", code=78)
    assert "may not run code" in refused.stderr
    refused = home("sync", "cache", "web", "--operation", "warm", "--namespace", "responses", "--yes", code=78)
    assert "may not run code" in refused.stderr
    assert len(cache) == 4


def test_templates_are_compiled_through_the_environment_of_a_trusted_file(home: Home) -> None:
    (home.path / "a_web_application.py").write_text(APPLICATION)
    folder = home.path / "bc"
    folder.mkdir()
    home.configure(
        '[targets.files]\nkind = "cache"\nurl = "bc"\npreset = "jinja2"\nenvironment = "a_web_application:env"\n'
    )
    shown = home("trust").stdout
    assert "a_web_application:env" in shown
    home("sync", "cache", "files", "--yes")
    (written,) = Path(folder).iterdir()
    assert written.name.startswith("__jinja2_")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('environment = "x"', "module:attribute"),
        ('urls = "file:///etc/passwd"', "http:// or https://"),
        ('preset = "odd"', "one of fastblocks, django"),
        ('url = "redis://:secret@h/0"', "a password does not belong in a URL"),
        ("local = 'x'", "no setting of this kind"),
    ],
)
def test_a_wrong_setting_is_refused(home: Home, line: str, said: str) -> None:
    target = TARGET.replace('url = "memory://web"\n', "") if line.startswith("url =") else TARGET
    home.configure(target + line + "\n")
    refused = home("config", "check", code=78)
    assert said in refused.stderr + refused.stdout
    assert "secret" not in (refused.stderr + refused.stdout).replace("[buckets]", "")
