"""Agents that work offline and meet at a remote: nothing that any of them wrote is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agents import served
from tests.targets.agent_world import Make, Replica, settled

from trueup import BlockingEngine
from trueup.api.agents import pulls, pushes
from trueup.core.strategy import Conflict, Deletes, Policy
from trueup.targets.agents import POLICY

pytestmark = pytest.mark.engine


@pytest.fixture(params=["reference", "ours"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same scenarios, with the reference server and with a file that we serve."""
    if request.param == "ours":
        yield f"file://{tmp_path}/team/team.db"
        return
    with served(tmp_path / "server" / "team.db") as url:
        yield url


@pytest.fixture
def make(tmp_path: Path, remote: str) -> Make:
    return lambda name, policy=POLICY: Replica(tmp_path / name, remote, policy)


def test_two_who_add_different_files_offline_both_get_both(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/notes/a.txt", "from one"), ("set", "one", 1), ("call", "search", 100, 1))
    two.does(("write", "/notes/b.txt", "from two"), ("set", "two", 2), ("call", "search", 100, 2))
    settled(one, two)
    assert one.files() == {":kv/one": "1", ":kv/two": "2", "notes/a.txt": "from one", "notes/b.txt": "from two"}
    assert len([key for key in one.holds() if key.startswith(":calls/")]) == 2


def test_what_both_changed_is_there_twice(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/plan", "old"), ("set", "k", "old"))
    settled(one, two)
    one.does(("write", "/plan", "by one"), ("set", "k", "by one"))
    two.does(("write", "/plan", "by two"), ("set", "k", "by two"))
    settled(one, two)
    assert sorted(one.files().values()) == ['"by one"', '"by two"', "by one", "by two"]
    assert one.files()["plan"] == "by one"
    assert b"old" in one.trash()


def test_an_edit_beats_a_deletion(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/a", "old"), ("write", "/b", "old"))
    settled(one, two)
    one.does(("remove", "/a"), ("write", "/b", "newer"))
    two.does(("write", "/a", "newer"), ("remove", "/b"))
    settled(one, two)
    assert one.files() == {"a": "newer", "b": "newer"}


def test_a_deletion_is_repeated_and_what_is_deleted_is_kept(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/d/a", "text"), ("write", "/stays", "1"), ("set", "k", 1))
    settled(one, two)
    one.does(("remove", "/d/a"), ("delete", "k"))
    settled(one, two)
    assert two.files() == {"stays": "1"}
    assert {b"text", b"1"} <= two.trash()


def test_directories_of_one_name_are_one_directory(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("mkdir", "/work"), ("write", "/work/deep/a", "1"))
    two.does(("mkdir", "/work"), ("write", "/work/deep/b", "2"), ("mkdir", "/empty"))
    settled(one, two)
    assert one.files() == {"work/deep/a": "1", "work/deep/b": "2"}
    assert "empty/" in one.holds()


def test_a_file_and_a_directory_of_one_name_wait_for_a_person(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/x", "a file"))
    two.does(("write", "/x/y", "below"), ("write", "/z", "1"))
    one.sync()
    rounds = two.sync()
    assert [item.key for item in rounds.last.plan.conflicts]
    assert rounds.troubles
    assert one.files() == {"x": "a file"}
    assert two.files() == {"x/y": "below", "z": "1"}
    rounds = one.sync()
    assert one.files() == {"x": "a file", "z": "1"}


def test_equal_tool_calls_count(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("call", "search", 100, 1), ("call", "search", 100, 1))
    settled(one, two)
    assert len([key for key in two.holds() if key.startswith(":calls/")]) == 2
    two.does(("call", "search", 100, 1))
    settled(one, two)
    assert len([key for key in one.holds() if key.startswith(":calls/")]) == 3


def test_a_call_that_is_running_travels_when_it_has_ended(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("start", "search"), ("write", "/a", "1"))
    settled(one, two)
    assert two.files() == {"a": "1"}
    assert not [key for key in two.holds() if key.startswith(":calls/")]


def test_links_modes_and_further_names_travel(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/a", "text"), ("write", "/run", "#!"))
    one.sql(
        ("INSERT INTO fs_inode (ino, mode, nlink, size, atime, mtime, ctime) VALUES (90, 41471, 1, 1, 9, 9, 9)", ()),
        ("INSERT INTO fs_symlink VALUES (90, 'a')", ()),
        ("INSERT INTO fs_dentry (name, parent_ino, ino) VALUES ('link', 1, 90)", ()),
        ("UPDATE fs_inode SET mode = 33261 WHERE ino = (SELECT ino FROM fs_dentry WHERE name = 'run')", ()),
        ("INSERT INTO fs_dentry (name, parent_ino, ino) SELECT 'same', 1, ino FROM fs_dentry WHERE name = 'a'", ()),
        ("UPDATE fs_inode SET nlink = 2 WHERE ino = (SELECT ino FROM fs_dentry WHERE name = 'a')", ()),
    )
    settled(one, two)
    assert two.holds()["link"] == (b"a", 0o120777)
    assert two.holds()["run"] == (b"#!", 0o755)
    two.does(("write", "/same", "through the other name"))
    settled(one, two)
    assert one.files()["a"] == "through the other name"
    two.sql(("UPDATE fs_inode SET mode = 33188 WHERE ino = (SELECT ino FROM fs_dentry WHERE name = 'run')", ()))
    settled(one, two)
    assert one.holds()["run"] == (b"#!", 0o644)


def test_a_renamed_file_is_moved(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/a", "a" * 5000), ("write", "/b", "b"))
    settled(one, two)
    one.does(("mkdir", "/d"), ("rename", "/a", "/d/z"))
    rounds = one.sync()
    assert [step.verb.value for item in rounds.last.plan.changes for step in item.steps] == ["put", "move"]
    settled(one, two)
    assert sorted(two.files()) == ["b", "d/z"]


def test_a_pull_writes_the_agent_only_and_a_push_the_rest(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/a", "old"))
    settled(one, two)
    one.does(("write", "/a", "by one"), ("write", "/new", "1"))
    two.does(("write", "/a", "by two"), ("write", "/other", "2"))
    one.sync()
    two.sync(pulls)
    assert two.files() == {"a": "by two", "new": "1", "other": "2"}
    one.sync(pulls)
    assert one.files() == {"a": "by one", "new": "1"}
    two.sync(pushes)
    one.sync(pulls)
    assert one.files() == two.files()
    assert sorted(one.files().values()) == ["1", "2", "by one", "by two"]


def test_a_plain_database_is_adopted_without_loss(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/a", "1"), ("write", "/both", "same"))
    one.sync()
    two.does(("write", "/b", "2"), ("write", "/both", "same"))
    settled(one, two)
    assert one.files() == {"a": "1", "b": "2", "both": "same"}


@pytest.mark.slow
def test_five_who_work_offline_end_alike(make: Make) -> None:
    replicas = [make(f"agent{n}") for n in range(5)]
    for n, replica in enumerate(replicas):
        replica.does(
            ("write", f"/own/{n}", str(n)), ("write", "/shared", f"by {n}"), ("set", "k", n), ("call", "t", 9, n)
        )
    settled(*replicas)
    contents = set(replicas[0].files().values())
    assert {f"by {n}" for n in range(5)} | {str(n) for n in range(5)} <= contents
    assert len([key for key in replicas[0].holds() if key.startswith(":calls/")]) == 5


@pytest.mark.parametrize("conflict", [Conflict.LOCAL_WINS, Conflict.REMOTE_WINS, Conflict.MANUAL])
def test_every_strategy_keeps_what_loses(make: Make, conflict: Conflict) -> None:
    one, two = make("one"), make("two", Policy(conflict=conflict, deletes=Deletes.PROPAGATE))
    one.does(("write", "/a", "old"))
    settled(one, two)
    one.does(("write", "/a", "by one"))
    two.does(("write", "/a", "by two"))
    one.sync()
    rounds = two.sync()
    winner = {Conflict.LOCAL_WINS: "by two", Conflict.REMOTE_WINS: "by one", Conflict.MANUAL: "by two"}[conflict]
    assert two.files()["a"] == winner
    assert rounds.troubles == (["conflict: a"] if conflict is Conflict.MANUAL else [])
    if conflict is not Conflict.MANUAL:
        assert {b"by one", b"by two"} - {winner.encode()} <= two.trash()


def test_a_run_is_undone(make: Make) -> None:
    one, two = make("one"), make("two")
    one.does(("write", "/a", "old"))
    settled(one, two)
    one.does(("write", "/a", "new"), ("write", "/b", "1"))
    one.sync()
    two.sync()
    with BlockingEngine(state_dir=two.folder / "state") as engine:
        report = engine.undo("last")
    assert report.ok
    assert two.files() == {"a": "old"}
