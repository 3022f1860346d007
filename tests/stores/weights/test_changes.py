"""Weights are proved by reading them, leave by a rename, and come back by one."""

import errno
import json
import os
from pathlib import Path

import pytest
from anyio import to_thread
from tests.stores.weights.conftest import OPENVLA, WHOLE, Models

from trueup.core.errors import Corrupt, NotFound, PreconditionFailed, ReadOnly, StoreError
from trueup.core.model import Content, Entry, Key, Kind, Token
from trueup.core.table import Verb
from trueup.protocols import Move, Put, Remove, Source, Trash, document
from trueup.stores.records import Kept
from trueup.stores.weights import Cache, Verified

RUN = Trash("20261121T101500-0123abcd")


def verify(models: Models, cache: Cache | None = None) -> tuple[Verified, list[tuple[str, int]]]:
    told: list[tuple[str, int]] = []
    done = models.store.verify(OPENVLA, {} if cache is None else cache, lambda name, size: told.append((name, size)))
    return done, told


def rewrite(path: Path, data: bytes, seconds: int) -> None:
    """At a time of its own: two writes in one tick of the clock look alike."""
    path.write_bytes(data)
    os.utime(path, (seconds, seconds))


# -- verify -----------------------------------------------------------------------------------------------------------


def test_what_was_verified_shows_its_fingerprint(models: Models) -> None:
    models.pull()
    found, told = verify(models)
    assert told == [("config.json", 2), ("model.safetensors", len(WHOLE))]
    assert models.seen() == {OPENVLA: (Kind.FILE, str(found.fingerprint))}
    assert found.differing == ()
    assert models.rows()[OPENVLA][1] == found.token


def test_the_fingerprint_is_of_names_and_contents(models: Models) -> None:
    folder = models.pull()
    fingerprints = [verify(models)[0].fingerprint]
    os.utime(folder / "config.json", ns=(1, 1))
    models.store.forget(OPENVLA)
    fingerprints.append(verify(models)[0].fingerprint)
    (folder / "config.json").rename(folder / "other.json")
    models.store.forget(OPENVLA)
    fingerprints.append(verify(models)[0].fingerprint)
    (folder / "other.json").write_bytes(b"[]")
    models.store.forget(OPENVLA)
    fingerprints.append(verify(models)[0].fingerprint)
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3


def test_files_that_were_read_are_not_read_again(models: Models) -> None:
    folder = models.pull()
    cache: Cache = {}
    first, _ = verify(models, cache)
    assert sorted(Path(path).name for path, *_ in cache) == ["config.json", "model.safetensors"]
    marked = dict.fromkeys(cache, "00" * 32)
    assert verify(models, marked)[0].fingerprint != first.fingerprint
    rewrite(folder / "config.json", b"[]", 1)
    models.store.forget(OPENVLA)
    again, told = verify(models, cache)
    assert len(cache) == 3
    assert again.fingerprint != first.fingerprint
    assert sum(size for _, size in told) == len(WHOLE) + 2


def test_other_content_of_the_same_size_is_damage_until_it_changes_or_is_accepted(models: Models) -> None:
    folder = models.pull()
    first, _ = verify(models)
    rewrite(folder / "config.json", b"[]", 1)
    assert models.seen() == {OPENVLA: (Kind.FILE, "")}
    found, _ = verify(models)
    assert found.differing == ("config.json",)
    assert models.seen() == {OPENVLA: (Kind.DAMAGED, "config.json is not what was verified before")}
    models.store.accept(OPENVLA, found)
    assert models.seen() == {OPENVLA: (Kind.FILE, str(found.fingerprint))}
    rewrite(folder / "config.json", b"{}", 2)
    found, _ = verify(models)
    assert found.differing == ("config.json",)
    models.store.forget(OPENVLA)
    assert models.seen() == {OPENVLA: (Kind.FILE, "")}
    assert verify(models)[0].fingerprint == first.fingerprint


def test_another_size_than_verified_is_damage_at_once(models: Models) -> None:
    folder = models.pull()
    verify(models)
    (folder / "config.json").write_bytes(b"{} ")
    assert models.seen() == {OPENVLA: (Kind.DAMAGED, "config.json has 3 bytes, 2 were verified before")}
    (folder / "config.json").unlink()
    assert models.seen() == {OPENVLA: (Kind.DAMAGED, "config.json is not there, which was verified before")}
    rewrite(folder / "config.json", b"{}", 1)
    assert models.seen() == {OPENVLA: (Kind.FILE, "")}
    assert verify(models)[0].differing == ()


def test_what_cannot_be_verified(models: Models) -> None:
    with pytest.raises(NotFound, match="openvla:7b has no weights"):
        verify(models)
    models.pull(files={"model.safetensors": WHOLE[:-1]})
    with pytest.raises(Corrupt, match=r"is damaged - model.safetensors is cut off"):
        verify(models)
    with pytest.raises(NotFound):
        models.store.verify(Key("..:x"), {}, lambda *_: None)


def test_a_file_that_changes_while_it_is_read(models: Models) -> None:
    config = models.pull() / "config.json"

    def edit(name: str, size: int) -> None:
        config.write_bytes(b"longer")

    with pytest.raises(PreconditionFailed, match="changed while it was read"):
        models.store.verify(OPENVLA, {}, edit)
    assert models.seen() == {OPENVLA: (Kind.FILE, "")}


def test_a_memory_that_another_version_wrote_counts_for_nothing(models: Models) -> None:
    models.pull()
    found, _ = verify(models)
    memory = models.store._memory
    for text in ("{", "[]", json.dumps({"unknown": 1})):
        memory.update(dict.fromkeys(memory, text))
        assert models.seen() == {OPENVLA: (Kind.FILE, "")}
    assert verify(models)[0].fingerprint == found.fingerprint


# -- remove and restore -----------------------------------------------------------------------------------------------


async def test_weights_leave_and_come_back_by_a_rename(models: Models) -> None:
    pulled = models.pull()
    row = await models.one()
    inode = (pulled / "model.safetensors").stat().st_ino
    written = await models.store.remove(OPENVLA, expect=row[1], trash=RUN)
    assert written.kept is not None
    assert not pulled.parent.exists()
    assert await models.store.stat(OPENVLA) is None
    (kept,) = await models.store.kept()
    assert (kept.handle, kept.run, kept.key, kept.size) == (written.kept, RUN.run, OPENVLA, len(WHOLE) + 2)
    assert kept.discarded_ns > 0

    source = models.store.kept_source(kept.handle, Entry(row[1], Content(Kind.FILE, row[3])))
    assert isinstance(source, Kept)
    assert source.size == row[3]
    with pytest.raises(ReadOnly, match="put back, not read"):
        source.open()
    written = await models.store.write(OPENVLA, source, expect=None, trash=None)
    assert written.token == row[1]
    assert await models.one() == row
    assert (pulled / "model.safetensors").stat().st_ino == inode
    assert await models.store.kept() == []
    assert not (models.root / ".trueup" / "trash" / RUN.run).exists()


async def test_weights_are_put_in_the_place_of_damaged_ones(models: Models) -> None:
    models.pull()
    row = await models.one()
    kept = (await models.store.remove(OPENVLA, expect=row[1], trash=RUN)).kept
    assert kept is not None
    models.pull(files={"x.part": b"1"})
    broken = await models.one()
    source = models.store.kept_source(kept, Entry(row[1], Content(Kind.FILE, row[3])))
    with pytest.raises(PreconditionFailed, match="has weights by now"):
        await models.store.write(OPENVLA, source, expect=None, trash=RUN)
    with pytest.raises(PreconditionFailed, match="changed meanwhile"):
        await models.store.write(OPENVLA, source, expect=Token("other"), trash=RUN)
    assert await models.one() == broken
    written = await models.store.write(OPENVLA, source, expect=broken[1], trash=RUN)
    assert (await models.one())[:3] == row[:3]
    assert [one.handle for one in await models.store.kept()] == [written.kept]


async def test_a_lost_race_is_refused(models: Models) -> None:
    pulled = models.pull()
    row = await models.one()
    (pulled / "config.json").write_bytes(b"longer")
    with pytest.raises(PreconditionFailed, match="changed meanwhile"):
        await models.store.remove(OPENVLA, expect=row[1], trash=RUN)
    assert pulled.exists()
    with pytest.raises(PreconditionFailed, match="has no weights by now"):
        await models.store.remove(Key("openvla:8b"), expect=row[1], trash=RUN)
    assert await models.store.kept() == []


async def test_an_edit_in_the_last_instant_comes_back(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled = models.pull()
    row = await models.one()
    rename = os.rename

    def late(source: str, target: str) -> None:
        monkeypatch.undo()
        (pulled / "config.json").write_bytes(b"edited")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(PreconditionFailed, match="changed meanwhile"):
        await models.store.remove(OPENVLA, expect=row[1], trash=RUN)
    assert (pulled / "config.json").read_bytes() == b"edited"
    assert await models.store.kept() == []


async def test_other_versions_stay(models: Models) -> None:
    pulled = models.pull()
    other = models.pull(Key("openvla:8b"))
    row = await models.one()
    written = await models.store.remove(OPENVLA, expect=row[1], trash=None)
    assert (written.kept, written.token) == (None, None)
    assert not pulled.exists()
    assert other.exists()
    assert await models.store.kept() == []


async def test_the_trash_holds_a_version_twice_and_is_pruned_one_by_one(models: Models) -> None:
    handles = []
    for _ in range(2):
        models.pull()
        row = await models.one()
        handles.append((await models.store.remove(OPENVLA, expect=row[1], trash=RUN)).kept)
    first, second = handles
    assert first != second
    assert first is not None
    assert second is not None
    await models.store.prune(first)
    assert [one.handle for one in await models.store.kept()] == [second]
    with pytest.raises(NotFound):
        await models.store.prune(first)
    await models.store.prune(second)
    assert not (models.root / ".trueup" / "trash" / RUN.run).exists()


@pytest.mark.parametrize(
    "handle", ["", "..", "../../../x", "a/b/../..", "a/b/c/d", "/etc/a/b/c", "a/0/b/c\0", "a/0/./."]
)
async def test_handles_lead_nowhere_else(models: Models, handle: str) -> None:
    pulled = models.pull()
    with pytest.raises(NotFound):
        await models.store.prune(handle)
    source = models.store.kept_source(handle, Entry(Token("t"), Content(Kind.FILE, 1)))
    with pytest.raises(NotFound):
        await models.store.write(Key("a:b"), source, expect=None, trash=None)
    assert pulled.exists()


async def test_weights_outside_the_root_are_not_touched(models: Models, tmp_path: Path) -> None:
    outside = models.pull(root=tmp_path / "volume")
    models.recorded[OPENVLA] = outside
    row = await models.one()
    with pytest.raises(ReadOnly, match=r"are outside .* - they are at ") as caught:
        await models.store.remove(OPENVLA, expect=row[1], trash=RUN)
    assert caught.value.attempt.endswith(f"rm -r {outside}")
    assert outside.exists()
    assert await to_thread.run_sync(models.store.path_of, OPENVLA) == str(outside)


@pytest.mark.parametrize("level", ["openvla", "openvla/7b"])
async def test_weights_behind_a_link_are_not_touched(models: Models, tmp_path: Path, level: str) -> None:
    outside = models.pull(root=tmp_path / "volume")
    link = models.root / level
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "volume" / level)
    row = await models.one()
    with pytest.raises(ReadOnly, match=f"{level} is a link"):
        await models.store.remove(OPENVLA, expect=row[1], trash=RUN)
    assert outside.exists()


async def test_weights_never_cross_to_another_volume(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_volume(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)

    pulled = models.pull()
    row = await models.one()
    monkeypatch.setattr(os, "rename", other_volume)
    with pytest.raises(ReadOnly, match="is on another volume"):
        await models.store.remove(OPENVLA, expect=row[1], trash=RUN)
    assert pulled.exists()


@pytest.mark.parametrize("key", ["..:x", "a/b:c", "x", ".trueup:trash"])
async def test_hostile_names_are_not_removed(models: Models, key: str) -> None:
    with pytest.raises(ReadOnly, match="not a possible folder"):
        await models.store.remove(Key(key), expect=Token("t"), trash=RUN)


async def test_weights_are_not_written(models: Models) -> None:
    with pytest.raises(ReadOnly, match="pulled, not written") as caught:
        await models.store.write(OPENVLA, document("x"), expect=None, trash=None)
    assert caught.value.attempt == "maple pull policy openvla:7b"
    assert models.store.properties.verbs == {Verb.PUT, Verb.DELETE, Verb.SAVE}


async def test_a_batch_does_each(models: Models) -> None:
    models.pull()
    row = await models.one()
    removed, moved, put = await models.store.batch(
        [Remove(OPENVLA, row[1], RUN), Move(OPENVLA, Key("a:b"), row[1]), Put(OPENVLA, document("x"), None, None)]
    )
    assert not isinstance(removed, StoreError)
    assert isinstance(moved, ReadOnly)
    assert isinstance(put, ReadOnly)
    assert len(await models.store.kept()) == 1


# -- identity ---------------------------------------------------------------------------------------------------------


async def test_the_root_has_an_identity_once(models: Models) -> None:
    assert await models.store.marker() is None
    assert await models.store.set_marker("one") == "one"
    assert await models.store.set_marker("two") == "one"
    assert await models.store.marker() == "one"
    assert (models.root / ".trueup" / "id").read_text() == "one\n"
    room = await models.store.free_bytes()
    assert room is not None
    assert room > 0


async def test_a_root_that_is_not_there_has_none(models: Models) -> None:
    models.root.rmdir()
    assert await models.store.marker() is None
    assert await models.store.set_marker("one") == ""
    assert await models.store.free_bytes() is None
    assert await models.store.kept() == []


def test_a_source_of_kept_weights_is_a_source() -> None:
    assert issubclass(Kept, Source)
