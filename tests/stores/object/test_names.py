"""Keys that cannot be addressed are found, shown and left alone; none is ever taken for another."""

import pytest
from anyio import to_thread
from tests.services import Service
from tests.stores.object.conftest import Opened
from tests.stores.object.test_errors import harmed

from trueup.core.errors import Unaddressable
from trueup.core.model import Key, Kind
from trueup.stores.object.names import KEY_BYTES, ODD, TRASH_ROOM, problem
from trueup.testing.expect import create, rows, source_of
from trueup.testing.proxy import InjectedKeys, Rule

FINE = [
    "a",
    "a/b",
    ".a",
    "a.",
    "a..b",
    "...",
    "..x/y",
    "a/ b",
    "%2e%2e",
    "\u00e9",
    "a+b c?#&",
    "back\\slash",
    "tab\tin",
]
BAD = {
    "a//b": "empty name component",
    "/lead": "empty name component",
    "": "empty name component",
    "../e": "would leave the root",
    "a/./b": "would leave the root",
    "a/..": "would leave the root",
    "nul\0": "control character",
    "a\x01b": "control character",
    "a\rb": "control character",
    "a\ufffdb": "control character",
    "trailing ": "blank",
    "new\n": "blank",
    "no\u2003break\u2003": "blank",
    "d/": "no directories",
    ".trueup/x": "reserved",
    "\udcff": "not UTF-8",
    "x" * 256: "longer than 255",
    "/".join(["x" * 200] * 5): "longer than",
}


@pytest.mark.parametrize("key", FINE)
def test_what_can_be_addressed_has_no_problem(key: str) -> None:
    assert problem("", Key(key)) is None
    assert problem("p/", Key(key)) is None


@pytest.mark.parametrize(("key", "why"), BAD.items())
def test_what_cannot_be_addressed_says_why(key: str, why: str) -> None:
    assert why in (problem("", Key(key)) or "")
    long = len(key.encode("utf-8", "replace")) > 200
    assert long or key in ("\udcff", ".trueup/x") or ODD.search(key), "the lister lets the main process look at it"


def test_a_blank_in_front_is_lost_only_at_the_root_of_a_bucket() -> None:
    assert problem("", Key(" a")) is not None
    assert problem("p/", Key(" a")) is None


def test_the_length_counts_the_prefix_and_leaves_room_for_the_trash() -> None:
    key = Key("/".join(["x" * 100] * 9))
    assert problem("", key) is None
    assert problem("p" * (KEY_BYTES - TRASH_ROOM - len(key)), key) is None
    assert problem("p" * (KEY_BYTES - TRASH_ROOM - len(key) + 1), key) is not None


def test_a_service_that_turns_backslashes_gets_none() -> None:
    assert problem("", Key("a\\b"), backslashes=False) is not None


@pytest.mark.engine
async def test_hostile_keys_of_others_are_shown_and_refused(strong_s3: Service, opened: Opened) -> None:
    plain = opened(strong_s3)
    await create(plain, Key("a/b"), b"real")
    prefix = plain.place.prefix
    keys = tuple(prefix + name for name in ("../e", "a//b", "/lead", "trailing ", "x" * 300, "d/"))
    async with harmed(strong_s3, Rule(InjectedKeys(keys=keys))) as service:
        store = service.store(prefix.rstrip("/"))
        found = {row[0].decode(): row for row in await rows(store)}
        assert set(found) == {"../e", "a//b", "/lead", "trailing ", "x" * 300, "a/b"}
        assert {name for name, row in found.items() if row[2] is Kind.FILE} == {"a/b"}
        assert all(row[6] for row in found.values() if row[2] is Kind.UNREADABLE)
        for name in found.keys() - {"a/b"}:
            assert await store.stat(Key(name)) is None
            with pytest.raises(Unaddressable):
                await store.write(Key(name), source_of(b"evil"), expect=None, trash=None)


@pytest.mark.engine
async def test_the_markers_of_folders_are_no_items(strong_s3: Service, opened: Opened) -> None:
    store = opened(strong_s3)
    await create(store, Key("d/a"), b"1")
    await to_thread.run_sync(store._bucket.operator.create_dir, f"{store.place.prefix}empty/")
    assert [row[0] for row in await rows(store)] == [b"d/a"]
