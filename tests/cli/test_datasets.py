"""``trueup sync dataset`` and its faces: the document's command lines, questions, exit codes, many actors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.actors import ID, NAME, WORDS, Actor, files
from tests.cli.home import Home

from trueup.scripts import comprehensive_sync_training_data as script

WHO = ("dataset", ID, NAME)
COUNTS = [
    *("uploaded", "downloaded", "added_to_manifest", "updated_in_manifest", "removed_from_manifest"),
    *("deleted_local", "deleted_s3"),
]


@pytest.fixture
def actor(home: Home) -> Actor:
    actor = Actor(home.path)
    actor.configure()
    return actor


def test_the_documents_commands(home: Home, actor: Actor) -> None:
    actor.spell({word: word for word in WORDS if word not in ("abc", "-ab")})
    told = home("sync", *WHO, "--dry-run").output
    assert "Would be: uploaded 4, downloaded 4, added to manifest 3" in told
    assert files(actor.remote) != files(actor.local)
    told = home("sync", *WHO).output
    assert "Sync complete: uploaded 4, downloaded 4, added to manifest 3" in told
    assert "Sync complete: nothing to do" in home("sync", *WHO).output
    actor.put(actor.local, "orphan.png", "x")
    home("sync", *WHO, "--delete-orphans", "--yes")
    assert "orphan.png" not in files(actor.local)


def test_json_is_exactly_the_documents_answer(home: Home, actor: Actor) -> None:
    actor.spell({"a.png": "-a-", "b.png": "abc"})
    answer = json.loads(home("sync", *WHO, "--json", code=4).stdout)
    assert list(answer) == [*COUNTS, "errors"]
    assert (answer["uploaded"], answer["added_to_manifest"]) == (1, 1)
    assert answer["errors"] == [
        "conflict: b.png: local and remote differ, and neither is as recorded: which one holds?"
    ]


def test_a_question_is_due_only_where_something_is_deleted(home: Home, actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    told = home("sync", *WHO, "--delete-orphans", code=64).output
    assert "--yes" in told
    assert list(files(actor.local)) == ["a.png"]
    home("sync", *WHO)
    actor.put(actor.local, "b.png", "b")
    home("sync", *WHO, "--delete-orphans", "--yes")
    assert list(files(actor.local)) == ["a.png"]
    home("undo", "last", "--yes")
    assert list(files(actor.local)) == ["a.png", "b.png"]


def test_more_deletions_than_the_limit_are_refused(home: Home, actor: Actor) -> None:
    actor.spell({"known": "aaa"})
    for n in range(30):
        actor.put(actor.local, f"{n}.png", "x")
    assert "max-delete" in home("sync", *WHO, "--delete-orphans", "--yes", code=5).output
    assert len(files(actor.local)) == 31
    home("sync", *WHO, "--delete-orphans", "--yes", "--allow", "max-delete")
    assert list(files(actor.local)) == ["known"]


def test_only_what_matches(home: Home, actor: Actor) -> None:
    for name in ("a.png", "a.txt", "deep/b.png"):
        actor.put(actor.local, name, "x")
    home("sync", *WHO, "--only", "*.png")
    assert sorted(files(actor.remote)) == ["a.png", "deep/b.png"]


def test_status_and_verify(home: Home, actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    assert "out of sync" in home("status", *WHO).output
    home("sync", *WHO)
    assert "in sync by metadata" in home("status", *WHO, "--exit-code").output
    assert "in sync by content" in home("verify", *WHO).output
    assert "there is no actor" in home("status", "dataset", "1", "1_x", code=1).output
    assert "ACTOR_NAME" in home("status", "dataset", "1", code=64).output


def test_a_configured_actor_is_planned_applied_and_chosen_from(home: Home, actor: Actor) -> None:
    home.configure(f'\n[targets.faces]\nkind = "dataset"\nactor_id = "{ID}"\nactor_name = "{NAME}"\n')
    actor.put(actor.local, "a.png", "a")
    actor.put(actor.local, "b.png", "b")
    home("plan", "faces", "-o", "faces.plan")
    home("apply", "faces.plan", "--select", "a.png", "--yes")
    assert list(files(actor.remote)) == list(actor.recorded()) == ["a.png"]
    home("sync", "faces", "--yes")
    assert list(files(actor.remote)) == ["a.png", "b.png"]
    assert "in sync" in home("status").output
    home("doctor")


def test_a_plan_of_an_actor_that_is_no_target_is_applied(home: Home, actor: Actor) -> None:
    actor.put(actor.local, "a.png", "a")
    home("plan", *WHO, "-o", "a.plan")
    home("apply", "a.plan", "--yes")
    assert list(actor.recorded()) == ["a.png"]


def test_conflicts_wait_and_are_resolved(home: Home, actor: Actor) -> None:
    actor.spell({"a.png": "abc"})
    home("sync", *WHO, code=4)
    home("conflicts", "resolve", *WHO, "a.png", "--keep", "remote", "--yes")
    assert files(actor.local) == files(actor.remote) == {"a.png": "a.png c"}
    home("sync", *WHO)


def test_a_damaged_manifest_is_a_matter_of_configuration(home: Home, actor: Actor) -> None:
    actor.manifest.write_text('{\n"training_data": [}')
    told = home("sync", *WHO, code=78).output
    assert f"{actor.manifest}:2" in told.replace("\n", "")
    assert actor.manifest.read_text() == '{\n"training_data": [}'


@pytest.mark.parametrize("words", [(), (ID,), (ID, NAME, "more"), ("--all", ID, NAME)])
def test_who_is_meant_must_be_said(home: Home, actor: Actor, words: tuple[str, ...]) -> None:
    assert "ACTOR_ID and ACTOR_NAME" in home("sync", "dataset", *words, code=64).output


def test_twenty_actors_at_once(home: Home, actor: Actor) -> None:
    for n in range(20):
        name = f"{n:04}_somebody"
        (actor.manifest.parent / f"{n:04}_manifest.json").write_text(json.dumps({"actor_name": name}))
        folder = home.path / "data/actors" / name / "training_data"
        folder.mkdir(parents=True)
        (folder / "a b.png").write_text(name)
    (actor.manifest.parent / "0007_manifest.json").write_text("{")
    answer = json.loads(home("sync", "dataset", "--all", "--json", code=78).stdout)
    assert [one["actor_id"] for one in answer["actors"]][:3] == ["0000", "0001", "0002"]
    done = [one for one in answer["actors"] if one["uploaded"] == 1 and not one["errors"]]
    assert len(done) == 19
    (bad,) = [one for one in answer["actors"] if one["errors"]]
    assert bad["exit_code"] == 78
    assert len(json.loads(home("history", "ls", "--json").stdout)["runs"]) == 19
    (actor.manifest.parent / "0007_manifest.json").unlink()
    told = home("sync", "dataset", "--all").output
    assert "19 actors" in told
    assert "0003_somebody  Sync complete: nothing to do" in told


def test_all_asks_for_each_that_loses_something(home: Home, actor: Actor) -> None:
    actor.record({})
    actor.put(actor.local, "a.png", "x")
    home("sync", "dataset", "--all", "--delete-orphans", code=64)
    assert list(files(actor.local)) == ["a.png"]
    home("sync", "dataset", "--all", "--delete-orphans", "--yes")
    assert files(actor.local) == {}


# -- init and the script -------------------------------------------------------------------------------------------


def test_init_writes_the_layout_and_the_documents_script(home: Home, actor: Actor) -> None:
    (home.path / "trueup.toml").unlink()
    home("init", "--dataset", "--remote", "remote")
    home("config", "check")
    actor.put(actor.local, "a.png", "a")
    done = subprocess.run(
        [sys.executable, "scripts/comprehensive_sync_training_data.py", ID, NAME, "--dry-run"],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Would be: uploaded 1" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", script.__name__, ID, NAME],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Sync complete: uploaded 1" in done.stdout
    assert files(actor.remote) == {"a.png": "a"}


def test_init_adds_to_a_configuration_once_and_replaces_no_other_script(home: Home) -> None:
    (home.path / "scripts").mkdir()
    (home.path / "scripts/comprehensive_sync_training_data.py").write_text("theirs")
    home("init", "--dataset", code=64)
    home("init", "--dataset", "--remote", "s3://bucket/x", code=64)
    before = (home.path / "trueup.toml").read_text()
    home("init", "--dataset", "--remote", "s3://bucket/x", "--force")
    assert (home.path / "trueup.toml").read_text().startswith(before)
    assert "s3://bucket/x/{actor_name}/" in (home.path / "trueup.toml").read_text()
    home("init", "--dataset", "--remote", "s3://bucket/x", code=64)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[datasets]\nlocal = "x"\nremote = "r/{actor_name}"\nmanifest = "m/{actor_id}"\n',
            "all actors would share it",
        ),
        (
            '[datasets]\nlocal = "x/{name}"\nremote = "r/{actor_name}"\nmanifest = "m/{actor_id}"\n',
            "there is no {name}",
        ),
        ('[datasets]\nlocal = "x/{actor_name}"\n', "datasets has no remote"),
        ('[datasets]\nloca = "x/{actor_name}"\n', "datasets.loca is no setting"),
        ('[targets.a]\nkind = "dataset"\nactor_id = "1"\nactor_name = "1"\n', "there is no [datasets]"),
        ('[targets.a]\nkind = "dataset"\nactor_id = 1\nactor_name = "1"\n', "in quotes"),
        ('[targets.a]\nkind = "dataset"\nactor_id = "../1"\nactor_name = "1"\n', "it holds a slash"),
    ],
)
def test_what_is_wrong_with_a_layout_is_said(home: Home, text: str, said: str) -> None:
    (home.path / "trueup.toml").write_text(text)
    assert said in home("config", "check", code=78).output.replace("\n", " ")


def test_paths_of_a_layout_are_relative_to_its_file(home: Home, actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.path / "trueup.toml").unlink()
    home("init", "--dataset", "--remote", "remote")
    actor.put(actor.local, "a.png", "a")
    below = home.path / "somewhere/below"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    home("sync", *WHO)
    assert files(actor.remote) == {"a.png": "a"}
    assert actor.recorded()["a.png"]["local_path"] == f"data/actors/{NAME}/training_data/a.png"
    assert Path(actor.recorded()["a.png"]["s3_url"]).is_absolute()
