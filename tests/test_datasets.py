"""Datasets on folders: every row of the table, looks that read nothing, verification, guards, and the Python call."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.actors import ID, NAME, WORDS, Actor, files, md5, trashed

from trueup import datasets
from trueup.api import Engine
from trueup.api.datasets import actors, done, needless, planned
from trueup.config import Config
from trueup.core.check import Guard
from trueup.core.errors import ConfigError, NotFound, PlanRefused, TrueupError, UsageError
from trueup.core.model import LOCAL, Fingerprint, Key, Side
from trueup.core.plan import Plan
from trueup.core.report import Ending, Report
from trueup.core.strategy import Conflict
from trueup.engine import digests
from trueup.stores.manifest import ManifestStore
from trueup.targets.datasets import MANIFEST, Datasets

KEYS = [
    *("uploaded", "downloaded", "added_to_manifest", "updated_in_manifest", "removed_from_manifest"),
    *("deleted_local", "deleted_s3", "errors"),
]
NAMES = {f"image {word} é.png": word for word in WORDS}


@pytest.fixture
def actor(tmp_path: Path) -> Actor:
    return Actor(tmp_path)


@pytest.fixture
def config(actor: Actor, tmp_path: Path) -> Config:
    return Config(tmp_path / "state", datasets=actor.layout)


def named(word: str) -> str:
    return f"image {word} é.png"


async def run(actor: Actor, spec: Datasets | None = None, **options: Any) -> Report:
    async with Engine(state_dir=actor.root / "state") as engine:
        return await engine.run(spec or actor.spec, **options)


async def look(actor: Actor, spec: Datasets | None = None, **options: Any) -> Plan:
    async with Engine(state_dir=actor.root / "state") as engine:
        return await engine.plan(spec or actor.spec, **options)


# -- the table on real files ---------------------------------------------------------------------------------------


async def test_one_drift_of_each_row_is_synced_as_the_dry_run_said(actor: Actor) -> None:
    actor.spell(NAMES)
    plan = await look(actor)
    before = (files(actor.local), files(actor.remote), actor.manifest.read_text())
    report = await run(actor)
    assert before[0] != files(actor.local)
    assert done(report).document == planned(plan).document
    assert done(report).document == {
        "uploaded": 4,
        "downloaded": 4,
        "added_to_manifest": 3,
        "updated_in_manifest": 5,
        "removed_from_manifest": 1,
        "deleted_local": 0,
        "deleted_s3": 0,
        "errors": [
            f"conflict: {named(word)}: {why}: which one holds?"
            for word, why in (
                ("-ab", "different on local and remote, and not recorded"),
                ("abc", "local and remote differ, and neither is as recorded"),
            )
        ],
    }
    local, remote, recorded = files(actor.local), files(actor.remote), actor.recorded()
    settled = {named(word) for word in WORDS} - {named("abc"), named("-ab"), named("a--")}
    assert settled <= set(local)
    for name in settled:
        assert local[name] == remote[name]
        assert recorded[name]["md5_hash"] == md5(local[name])
        assert recorded[name]["size_bytes"] == len(local[name].encode())
    assert named("a--") not in recorded
    assert named("-ab") not in recorded


@pytest.mark.parametrize(("conflict", "delete_orphans"), list(product(Conflict, [False, True])))
async def test_nothing_is_lost_and_a_second_run_does_nothing(
    actor: Actor, conflict: Conflict, *, delete_orphans: bool
) -> None:
    spec = _with(actor.orphaning if delete_orphans else actor.spec, conflict)
    actor.spell(NAMES)
    held = {*files(actor.local).values(), *files(actor.remote).values()}
    first = await run(actor, spec)
    assert first.ending is Ending.APPLIED
    kept = {*files(actor.local).values(), *files(actor.remote).values(), *trashed(actor.local), *trashed(actor.remote)}
    assert held <= kept
    manifest = actor.manifest.read_text()
    again = await run(actor, spec)
    assert not again.plan.changes
    assert {item.key for item in again.plan.items} <= {named("abc"), named("-ab")}
    assert actor.manifest.read_text() == manifest


def _with(spec: Datasets, conflict: Conflict) -> Datasets:
    from dataclasses import replace

    return replace(spec, conflict=conflict)


async def test_pruning_keeps_the_last_copy_of_every_orphan(actor: Actor) -> None:
    actor.spell(NAMES)
    orphans = {f"{named(word)} {letter}" for word in WORDS if word[0] == "-" for letter in word if letter != "-"}
    async with Engine(state_dir=actor.root / "state") as engine:
        await engine.run(actor.orphaning)
        await engine.prune(actor.orphaning)
    assert orphans <= {*trashed(actor.local), *trashed(actor.remote)}


async def test_an_entry_of_the_manifest_is_no_copy(actor: Actor) -> None:
    actor.put(actor.local, "a.png", "only copy")
    async with Engine(state_dir=actor.root / "state") as engine:
        await engine.run(actor.orphaning)
        actor.record({"a.png": "only copy"})
        pruned = await engine.prune(actor.spec)
    assert (pruned.removed, len(pruned.refused)) == (0, 1)
    assert trashed(actor.local) == ["only copy"]


async def test_a_run_is_taken_back_whole(actor: Actor) -> None:
    actor.spell(NAMES)
    before = (files(actor.local), files(actor.remote), actor.recorded())
    await run(actor)
    async with Engine(state_dir=actor.root / "state") as engine:
        undone = await engine.undo("last")
    assert undone.ok or undone.plan.undoes
    assert (files(actor.local), files(actor.remote), actor.recorded()) == before


async def test_the_newest_wins_by_time(actor: Actor) -> None:
    actor.record({"a": "x", "b": "x"})
    for name, here, there in (("a", 1000.0, 5000.0), ("b", 5000.0, 1000.0)):
        actor.put(actor.local, name, "local", age_seconds=here)
        actor.put(actor.remote, name, "remote", age_seconds=there)
    await run(actor, _with(actor.spec, Conflict.NEWEST_WINS))
    assert files(actor.local) == files(actor.remote) == {"a": "local", "b": "remote"}


async def test_a_person_settles_one_conflict(actor: Actor) -> None:
    actor.spell({"a": "abc", "b": "abc"})
    report = await run(actor, resolve={Key("a"): Conflict.REMOTE_WINS})
    assert files(actor.local)["a"] == files(actor.remote)["a"] == "a c"
    assert [item.key for item in report.plan.conflicts] == ["b"]


async def test_only_what_is_chosen_is_synced(actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    actor.put(actor.local, "a.txt", "b")
    await run(actor, select=lambda item: item.key.endswith(".png"))
    assert list(files(actor.remote)) == list(actor.recorded()) == ["a.png"]


# -- what is not known ---------------------------------------------------------------------------------------------


async def test_a_side_that_cannot_be_seen_changes_nothing(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    actor.spell(NAMES)
    before = (files(actor.local), files(actor.remote), actor.manifest.read_text())
    blocked = actor.remote / "blocked"
    blocked.mkdir()
    blocked.rename(actor.remote.with_name("aside"))
    for path in actor.remote.iterdir():
        path.rename(actor.remote.with_name("aside") / path.name)
    actor.remote.rmdir()
    actor.remote.write_text("a file, where the folder was")
    with pytest.raises(TrueupError):
        await run(actor, actor.orphaning)
    assert (files(actor.local), actor.manifest.read_text()) == (before[0], before[2])


async def test_what_cannot_be_read_is_unknown_and_stays(actor: Actor) -> None:
    (actor.local / "link.png").symlink_to("elsewhere")
    actor.record({"link.png": "x"})
    report = await run(actor, actor.orphaning)
    assert [item.key for item in report.plan.unknown] == ["link.png"]
    assert list(actor.recorded()) == ["link.png"]
    assert done(report).errors
    assert done(report).errors[0].startswith("unknown: link.png: ")


async def test_a_damaged_manifest_stops_the_run(actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    actor.manifest.write_text('{"training_data": [')
    with pytest.raises(ConfigError):
        await run(actor)
    assert files(actor.remote) == {}
    assert actor.manifest.read_text() == '{"training_data": ['


async def test_sides_that_became_empty_remove_nothing(actor: Actor) -> None:
    actor.record({f"{n}.png": str(n) for n in range(20)})
    with pytest.raises(PlanRefused) as caught:
        await run(actor)
    assert [refusal.guard for refusal in caught.value.refusals] == [Guard.EMPTIED]  # type: ignore[attr-defined]
    assert len(actor.recorded()) == 20


async def test_another_folder_in_place_of_the_agreed_one_is_refused(actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    await run(actor)
    actor.remote.rename(actor.root / "unmounted")
    with pytest.raises(PlanRefused) as caught:
        await run(actor)
    assert [refusal.guard for refusal in caught.value.refusals] == [Guard.OTHER_ROOT]  # type: ignore[attr-defined]


# -- looks that read nothing, and one that reads everything --------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is read to be compared."""
    seen: list[str] = []
    original = digests._hashed

    def counted(sources: Any) -> Any:
        seen.extend("read" for _ in sources)
        return original(sources)

    monkeypatch.setattr(digests, "_hashed", counted)
    return seen


async def test_a_status_reads_nothing(actor: Actor, reads: list[str]) -> None:
    actor.spell(NAMES)
    await look(actor, glance=True)
    assert reads == []
    await run(actor)
    before = len(reads)
    assert before
    plan = await look(actor, glance=True)
    assert len(reads) == before
    assert not plan.changes


async def test_a_sync_reads_each_version_once(actor: Actor, reads: list[str]) -> None:
    actor.spell({"a.png": "aaa", "b.png": "aaa"})
    await run(actor)
    assert len(reads) == 4, "both copies of both: no folder tells digests"
    await run(actor)
    assert len(reads) == 4
    actor.put(actor.local, "a.png", "edited", age_seconds=100)
    await run(actor)
    assert len(reads) == 5


async def test_a_status_sees_an_edit_by_time_and_size(actor: Actor) -> None:
    actor.spell({"a.png": "aaa", "b.png": "aaa"})
    await run(actor)
    actor.put(actor.local, "a.png", "a.png x", age_seconds=50)
    plan = await look(actor, glance=True)
    assert [(item.key, item.reason) for item in plan.changes] == [("a.png", "local_changed")]


async def test_verification_finds_what_size_and_time_hide(actor: Actor) -> None:
    actor.spell({"a.png": "aaa", "b.png": "aaa"})
    await run(actor)
    path = actor.local / "a.png"
    status = path.stat()
    assert not (await look(actor, verify=True)).items
    async with Engine(state_dir=actor.root / "state") as engine:
        plan = await engine.plan(actor.spec)
        assert not plan.items
        job = await engine._job(actor.spec)
        number = await job.number()
        assert number is not None
        entry = await job.stores[LOCAL].stat(Key("b.png"))
        assert entry is not None
        wrong = Fingerprint(digests.ALGORITHM, "0" * 96)
        await job.ambient.threads(job.state.cache_digests, number, LOCAL, [(Key("b.png"), entry.token, wrong)])
    plan = await look(actor, verify=True)
    (item,) = plan.items
    assert item.key == "b.png"
    assert "damaged?" in item.why
    assert not item.steps
    assert status.st_size


async def test_a_verification_that_was_stopped_goes_on(actor: Actor, reads: list[str]) -> None:
    actor.spell({f"{n}.png": "aaa" for n in range(5)})
    async with Engine(state_dir=actor.root / "state") as engine:
        job = await engine._job(actor.spec)
        number = await job.ambient.threads(job.state.remember_target, job.target)
        entries = {}
        for n in range(3):
            entry = await job.stores[LOCAL].stat(Key(f"{n}.png"))
            assert entry is not None
            entries[Key(f"{n}.png")] = entry
        await digests.read(job, number, LOCAL, entries, shelf=Side("verify local"))
    reads.clear()
    assert not (await look(actor, verify=True)).items
    assert len(reads) == 2 + 5
    reads.clear()
    assert not (await look(actor, verify=True)).items
    assert len(reads) == 10, "one that came to its end begins afresh"


# -- the manifest during a run -------------------------------------------------------------------------------------


async def test_a_manifest_that_cannot_be_written_fails_the_items_and_stops_nothing_else(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor.put(actor.local, "a.png", "a")

    def refused(store: ManifestStore, taken: Any) -> None:
        taken.update(store._staged)
        from trueup.core.errors import AccessDenied

        raise AccessDenied("no permission")

    monkeypatch.setattr(ManifestStore, "_write_staged", refused)
    report = await run(actor)
    monkeypatch.undo()
    assert done(report).document == dict.fromkeys(KEYS, 0) | {"uploaded": 1, "errors": ["failed: a.png: no permission"]}
    assert not actor.manifest.exists()
    assert done(await run(actor)).document == dict.fromkeys(KEYS, 0) | {"added_to_manifest": 1, "errors": []}


async def test_an_entry_that_is_edited_during_the_run_stays(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    actor.spell({"a.png": "aba", "b.png": "aaa"})
    original = ManifestStore._write_staged

    def edited(store: ManifestStore, taken: Any) -> None:
        monkeypatch.undo()
        text = actor.manifest.read_text()
        actor.manifest.write_text(text.replace('"filename": "a.png"', '"filename": "a.png", "caption": "mine"'))
        original(store, taken)

    monkeypatch.setattr(ManifestStore, "_write_staged", edited)
    report = await run(actor)
    assert [
        outcome.status.value for outcome in report.outcomes if outcome.step == report.plan.items[0].steps[-1].id
    ] == ["changed"]
    assert actor.recorded()["a.png"]["caption"] == "mine"
    assert not done(await run(actor)).errors
    assert actor.recorded()["a.png"]["caption"] == "mine"
    assert actor.recorded()["a.png"]["md5_hash"] == md5("a.png b")


async def test_a_kept_entry_is_brought_back_into_the_file(actor: Actor) -> None:
    actor.spell({"a.png": "a--", "b.png": "aaa"})
    await run(actor)
    assert list(actor.recorded()) == ["b.png"]
    async with Engine(state_dir=actor.root / "state") as engine:
        (kept,) = await engine.trash(actor.spec)
        await engine.restore(actor.spec, kept.item.handle, side=MANIFEST)
    assert list(actor.recorded()) == ["a.png", "b.png"]


# -- places and actors ---------------------------------------------------------------------------------------------


async def test_a_folder_that_is_not_there_yet_comes_with_the_first_write(actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    actor.remote.rmdir()
    assert planned(await look(actor)).uploaded == 1
    assert not actor.remote.exists()
    await run(actor)
    assert files(actor.remote) == {"a.png": "a"}


async def test_a_name_that_does_not_fit_its_id_must_be_the_manifests(actor: Actor) -> None:
    spec = actor.layout.actor(ID, "somebody")
    with pytest.raises(UsageError):
        await look(actor, spec)
    actor.manifest.write_text(json.dumps({"actor_name": "somebody", "training_data": []}))
    assert not (await look(actor, spec)).items


async def test_a_manifest_among_the_images_is_refused(actor: Actor) -> None:
    from dataclasses import replace

    spec = replace(actor.spec, manifest=str(actor.local / "manifest.json"))
    with pytest.raises(UsageError, match="lies in local"):
        await look(actor, spec)


def test_all_actors_are_found_by_their_manifests(actor: Actor) -> None:
    folder = actor.manifest.parent
    (folder / "1_manifest.json").write_text('{"actor_name": "1_told"}')
    (folder / "2_manifest.json").write_text("{}")
    (actor.root / "data/actors/2_found/training_data").mkdir(parents=True)
    (actor.root / "data/actors/22_other/training_data").mkdir(parents=True)
    (folder / "3_manifest.json").write_text("{}")
    (folder / "notes.json").write_text("{}")
    found = list(actors(actor.layout))
    assert found[:2] == [("1", "1_told"), ("2", "2_found")]
    assert isinstance(found[2], UsageError)
    assert len(found) == 3


# -- questions -----------------------------------------------------------------------------------------------------


async def test_nobody_is_asked_unless_something_is_deleted_or_many_entries_go(actor: Actor) -> None:
    actor.spell(NAMES)
    assert needless(await look(actor), actor.spec.limits)
    assert not needless(await look(actor, actor.orphaning), actor.spec.limits)
    actor.record({f"{n}.png": "x" for n in range(40)} | dict.fromkeys(files(actor.local), "x"))
    assert not needless(await look(actor), actor.spec.limits)


# -- the Python call -----------------------------------------------------------------------------------------------


async def test_the_call_answers_with_exactly_the_eight_keys(actor: Actor, config: Config) -> None:
    actor.put(actor.local, "a.png", "a")
    expected = dict.fromkeys(KEYS, 0) | {"uploaded": 1, "added_to_manifest": 1, "errors": []}
    assert await datasets.comprehensive_sync(ID, NAME, False, True, config=config) == expected
    assert files(actor.remote) == {}
    answer = await datasets.comprehensive_sync(ID, NAME, config=config)
    assert list(answer) == KEYS
    assert answer == expected
    nothing: dict[str, object] = dict.fromkeys(KEYS, 0) | {"errors": []}
    assert await datasets.comprehensive_sync(ID, NAME, config=config) == nothing


async def test_the_call_deletes_orphans_if_it_is_told_to(actor: Actor, config: Config) -> None:
    actor.spell({"a.png": "aaa", "b.png": "-a-", "c.png": "-ab"})
    answer = await datasets.comprehensive_sync(ID, NAME, delete_orphans=True, config=config)
    assert (answer["deleted_local"], answer["deleted_s3"], answer["errors"]) == (2, 1, [])
    assert sorted([*trashed(actor.local), *trashed(actor.remote)]) == ["b.png a", "c.png a", "c.png b"]


async def test_the_call_leaves_what_would_need_a_question_and_does_the_rest(actor: Actor, config: Config) -> None:
    actor.record({f"{n}.png": str(n) for n in range(40)})
    for n in range(20):
        actor.put(actor.local, f"{n}.png", str(n))
        actor.put(actor.remote, f"{n}.png", str(n))
    actor.put(actor.local, "new.png", "new")
    answer = await datasets.comprehensive_sync(ID, NAME, config=config)
    assert (answer["uploaded"], answer["removed_from_manifest"]) == (1, 0)
    assert "20 entries of the manifest have no copy anywhere" in str(answer["errors"])
    assert len(actor.recorded()) == 41


@pytest.mark.parametrize(
    ("actor_id", "actor_name", "error"),
    [("0043", "0043_nobody", NotFound), ("..", "x", UsageError), ("0042", "a/b", UsageError), ("1", "2", UsageError)],
)
async def test_the_call_refuses_what_is_no_actor(
    actor: Actor, config: Config, actor_id: str, actor_name: str, error: type[Exception]
) -> None:
    for dry_run in (True, False):
        with pytest.raises(error):
            await datasets.comprehensive_sync(actor_id, actor_name, dry_run=dry_run, config=config)
    assert [path.name for path in (actor.root / "data/actors").iterdir()] == [NAME]


async def test_without_a_layout_the_call_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nobody has said where"):
        await datasets.comprehensive_sync(ID, NAME, config=Config(tmp_path / "state"))
