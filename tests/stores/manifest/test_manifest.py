"""The manifest: both shapes, what a person sees in a diff, damage, and two who write at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from anyio import to_thread

from trueup.core.errors import ConfigError, NoSpace, PreconditionFailed, StoreError
from trueup.core.model import Key, Kind, Record
from trueup.engine.ambient import Ambient
from trueup.engine.filter import DEFAULT_EXCLUDES, PatternFilter
from trueup.protocols import Opening, Put, Remove, Trash, Written, document
from trueup.stores.manifest import ManifestStore
from trueup.stores.records import version

LISTED = """\
{
  "actor_id": "0042",
  "notes": {
    "by": "curator"
  },
  "training_data": [
    {
      "filename": "a.png",
      "size_bytes": 1,
      "md5_hash": "0cc175b9c0f1b6a831c399e269772661",
      "caption": "tasse à café"
    },
    {
      "filename": "b c.png",
      "size_bytes": 2,
      "md5_hash": "92eb5ffee6ae2fec3ad71c777531578f",
      "tags": [
        "cup",
        "pot"
      ]
    }
  ],
  "version": 3
}
"""
NAMED = """\
{
  "images": {
    "a.png": {
      "s3_url": "s3://bucket/a.png",
      "s3_key": "a.png",
      "size": 1,
      "last_modified": "2026-01-01T00:00:00+00:00",
      "etag": "0cc175b9c0f1b6a831c399e269772661",
      "width": 640
    },
    "b c.png": {
      "s3_url": "s3://bucket/b c.png",
      "size": 2
    }
  },
  "base": "x"
}
"""


def opening(path: Path, **head: object) -> ManifestStore:
    ambient = Ambient()
    bounds = PatternFilter(exclude=DEFAULT_EXCLUDES)
    return ManifestStore(path, Opening(ambient.clock, ambient.threads, ambient.unique, filter=bounds), head=head)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifests" / "0042_manifest.json"


async def opened(path: Path, **head: object) -> ManifestStore:
    return await to_thread.run_sync(lambda: opening(path, **head))


async def written(path: Path, text: str) -> ManifestStore:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return await opened(path)


async def read(store: ManifestStore) -> Mapping[Key, Record]:
    return await to_thread.run_sync(store.read)


async def put(store: ManifestStore, name: str, fields: Mapping[str, object]) -> Written | StoreError:
    old = (await read(store)).get(Key(name))
    effect = Put(Key(name), document(json.dumps(fields)), None if old is None else version(old), Trash("run"))
    (answer,) = await store.batch([effect])
    return answer


async def remove(store: ManifestStore, name: str) -> None:
    await store.remove(Key(name), expect=version((await read(store))[Key(name)]), trash=Trash("run"))


@pytest.mark.parametrize("text", [LISTED, NAMED])
async def test_both_shapes_are_read(path: Path, text: str) -> None:
    store = await written(path, text)
    rows = [row async for batch in store.scan() for row in batch]
    assert [(row[0], row[2]) for row in rows] == [(b"a.png", Kind.RECORD), (b"b c.png", Kind.RECORD)]
    assert json.loads(rows[0][6]) == (await read(store))[Key("a.png")].fields


@pytest.mark.parametrize(("text", "name"), [(LISTED, "filename"), (NAMED, "s3_key")])
async def test_added_changed_removed_and_back_is_the_same_to_the_byte(path: Path, text: str, name: str) -> None:
    store = await written(path, text)
    old = (await read(store))[Key("a.png")].fields
    await put(store, "aa.png", {name: "aa.png"})
    await put(store, "a.png", old | {"caption": "changed"})
    await store.flush()
    between = path.read_text()
    added = {"+" + line for line in between.splitlines()} - {"+" + line for line in text.splitlines()}
    assert added, "something was written"
    assert '"b c.png"' in between
    await remove(store, "aa.png")
    await put(store, "a.png", old)
    await store.flush()
    assert path.read_text() == text


@pytest.mark.parametrize("text", [LISTED, NAMED])
async def test_a_diff_shows_only_the_entry_that_changed(path: Path, text: str) -> None:
    store = await written(path, text)
    fields = (await read(store))[Key("b c.png")].fields
    await put(store, "b c.png", {name: 7 if value == 2 else value for name, value in fields.items()})
    await store.flush()
    assert path.read_text() == text.replace('": 2', '": 7')


async def test_a_manifest_that_is_not_there_is_empty_and_made_with_its_head(path: Path) -> None:
    store = await opened(path, actor_id="0042")
    assert (await read(store)) == {}
    await store.flush()
    assert not path.exists()
    await put(store, "é.png", {"filename": "é.png"})
    assert not path.exists(), "nothing is written before the flush"
    await store.flush()
    assert json.loads(path.read_text()) == {"actor_id": "0042", "training_data": [{"filename": "é.png"}]}
    assert "é.png" in path.read_text()


async def test_a_name_that_is_not_utf_8_comes_back(path: Path) -> None:
    store = await opened(path)
    await put(store, "caf\udce9.png", {"filename": "caf\udce9.png"})
    await store.flush()
    assert list(await read(await opened(path))) == ["caf\udce9.png"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ('{\n  "training_data": [\n    {"filename": "a"},\n  ]\n}', 4),
        ('{\n  "training_data": [\n    {"filename": "a"},\n    {"size": 1}\n  ]\n}', 4),
        ('{\n  "training_data": [\n    {"filename": "a"},\n\n    {"filename": "a"}\n  ]\n}', 5),
        ('{\n  "images": {\n    "a": {},\n    "b": 3\n  }\n}', 4),
        ('{\n\n  "images": [1]\n}', 3),
        ('{"training_data": [{"filename": "a"}],\n "images": {"a": {}}}', 2),
        ("[]", 1),
    ],
)
async def test_a_damaged_manifest_stops_everything_with_its_line(path: Path, text: str, line: int) -> None:
    store = await written(path, text)
    with pytest.raises(ConfigError) as caught:
        await read(store)
    assert caught.value.exit_code == 78
    assert f"{path}:{line} " in caught.value.what
    assert path.read_text() == text


async def test_a_manifest_that_is_damaged_during_a_run_is_not_replaced(path: Path) -> None:
    store = await written(path, LISTED)
    await put(store, "new.png", {"filename": "new.png"})
    path.write_text("{")
    assert isinstance(await store.batch([Remove(Key("a.png"), version(Record("{}")), None)]), list)
    with pytest.raises(StoreError):
        await store.flush()
    assert path.read_text() == "{"


async def test_what_somebody_else_wrote_meanwhile_is_kept(path: Path) -> None:
    store = await written(path, LISTED)
    await put(store, "new.png", {"filename": "new.png"})
    path.write_text(LISTED.replace("tasse à café", "mug"))
    await store.flush()
    assert "mug" in path.read_text()
    assert "new.png" in path.read_text()


async def test_an_entry_that_somebody_else_changed_is_refused_and_theirs_stays(path: Path) -> None:
    store = await written(path, LISTED)
    await put(store, "a.png", {"filename": "a.png", "size_bytes": 9})
    await put(store, "new.png", {"filename": "new.png"})
    path.write_text(LISTED.replace("tasse à café", "mug"))
    with pytest.raises(PreconditionFailed, match=r"a\.png"):
        await store.flush()
    entries = {one["filename"]: one for one in json.loads(path.read_text())["training_data"]}
    assert entries["a.png"]["caption"] == "mug"
    assert "new.png" in entries
    await store.flush()  # it is said once


async def test_an_edit_of_the_same_size_and_time_is_noticed(path: Path) -> None:
    import os

    store = await written(path, LISTED)
    await put(store, "new.png", {"filename": "new.png"})
    status = path.stat()
    path.write_text(LISTED.replace("curator", "CURATOR"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    await store.flush()
    assert "CURATOR" in path.read_text()


async def test_a_lost_race_for_one_entry_is_refused(path: Path) -> None:
    store = await written(path, LISTED)
    (answer,) = await store.batch([Put(Key("a.png"), document('{"filename": "a.png"}'), None, None)])
    assert isinstance(answer, PreconditionFailed)
    await store.flush()
    assert path.read_text() == LISTED


async def test_a_flush_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await written(path, LISTED)
    await put(store, "new.png", {"filename": "new.png"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trueup.stores.manifest.os.fsync", full)
    with pytest.raises(NoSpace):
        await store.flush()
    monkeypatch.undo()
    assert path.read_text() == LISTED
    assert list(path.parent.iterdir()) == [path]
    await store.flush()
    assert path.read_text() == LISTED, "what was reported as failed is not written later"
    assert Key("new.png") not in (await read(store))


async def test_what_killed_runs_left_is_cleaned(path: Path) -> None:
    store = await written(path, LISTED)
    leftover = path.with_name(f".{path.name}.1234.trueup-new")
    leftover.write_text("half")
    await store.clean()
    assert list(path.parent.iterdir()) == [path]


async def test_many_changes_are_one_write(path: Path) -> None:
    store = await written(path, LISTED)
    before = path.stat().st_ino
    for number in range(100):
        await put(store, f"{number}.png", {"filename": f"{number}.png"})
    assert path.stat().st_ino == before
    await store.flush()
    assert len(json.loads(path.read_text())["training_data"]) == 102


async def test_the_mode_of_the_file_stays(path: Path) -> None:
    store = await written(path, LISTED)
    path.chmod(0o640)
    await put(store, "new.png", {"filename": "new.png"})
    await store.flush()
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a//b", "a\n.png", ".trueup/id", "d/"])
async def test_names_that_lead_elsewhere_are_shown_and_never_written(path: Path, name: str) -> None:
    store = await written(path, json.dumps({"training_data": [{"filename": name}]}))
    (row,) = [row async for batch in store.scan() for row in batch]
    assert row[2] is Kind.UNREADABLE
    assert isinstance(await put(await opened(path.with_name("other")), name, {"filename": name}), StoreError)


async def test_excluded_entries_are_hidden_and_stay(path: Path) -> None:
    text = LISTED.replace("b c.png", "Thumbs.db")
    store = await written(path, text)
    assert [row[0] async for batch in store.scan() for row in batch] == [b"a.png"]
    await put(store, "a.png", {"filename": "a.png"})
    await store.flush()
    assert "Thumbs.db" in path.read_text()


async def test_records_that_go_are_kept_and_come_back(path: Path) -> None:
    ambient, memory = Ambient(), dict[str, str]()
    given = Opening(ambient.clock, ambient.threads, ambient.unique, remember=memory)
    await written(path, LISTED)
    store = await to_thread.run_sync(lambda: ManifestStore(path, given))
    old = (await read(store))[Key("a.png")]
    gone = await store.remove(Key("a.png"), expect=version(old), trash=Trash("run"))
    await store.flush()
    assert "a.png" not in path.read_text()
    assert gone.kept is not None
    (kept,) = await store.kept()
    source = store.kept_source(kept.handle, (await store.stat(Key("b c.png"))) or pytest.fail("it is there"))
    await store.write(Key("a.png"), source, expect=None, trash=None)
    await store.flush()
    assert path.read_text() == LISTED
