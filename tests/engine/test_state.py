"""What is remembered: ancestors with checksums, digests by version, and how damage is noticed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from trueup.core.errors import AccessDenied, ConfigError, NoSpace, StateDamaged, StoreError
from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Fingerprint,
    Key,
    Kind,
    Token,
    key_bytes,
)
from trueup.core.plan import Target
from trueup.engine.migrations import STEPS
from trueup.engine.notes import Notes
from trueup.engine.state import BATCH, State, write_ahead

TARGET = Target("0123", "site", "folder", {LOCAL: "/a", REMOTE: "/b"})
ODD = [
    Key("a"), Key("a/"), Key("a/b"), Key("a!x"), Key("two\nlines"), Key(os.fsdecode(b"caf\xe9")), Key("\U0001f600"),
    Key(" "), Key("%_'\""),
]  # fmt: skip


def ancestor(n: int) -> Ancestor:
    return Ancestor(Token(f"lt{n}"), Token(f"rt{n}"), Content(Kind.FILE, n, Fingerprint("blake3", f"{n:x}")))


def commit(state: State, number: int, pairs: list[tuple[Key, Ancestor | None]]) -> None:
    with state.transaction() as connection:
        state.commit_ancestors(connection, number, pairs)


def sql(state: State, statement: str, *arguments: object) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(state.path)
    try:
        with connection:
            return connection.execute(statement, arguments).fetchall()
    finally:
        connection.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "state")
    yield state
    state.close()


def test_a_state_is_nobody_elses_to_read(state: State) -> None:
    assert state.directory.stat().st_mode & 0o777 == 0o700
    assert state.path.stat().st_mode & 0o777 == 0o600


def test_ancestors_come_back_as_they_were_committed(state: State) -> None:
    number = state.remember_target(TARGET)
    pairs: list[tuple[Key, Ancestor | None]] = [(key, ancestor(n)) for n, key in enumerate(ODD)]
    pairs.append((Key("d/"), Ancestor(DIRECTORY_TOKEN, DIRECTORY_TOKEN, DIRECTORY_CONTENT)))
    pairs.append((Key("unprinted"), Ancestor(Token(""), Token(""), Content(Kind.FILE, 5))))
    commit(state, number, pairs)
    found, damaged = state.ancestors(number, [key for key, _ in pairs])
    assert found == dict(pairs)
    assert damaged == []
    rows = [row for batch in state.scan_ancestors(number) for row in batch]
    assert [row[0] for row in rows] == sorted(key_bytes(key) for key, _ in pairs)
    assert rows == sorted((key_bytes(key), value.local, value.remote) for key, value in pairs if value)


def test_an_ancestor_is_replaced_and_forgotten(state: State) -> None:
    number = state.remember_target(TARGET)
    commit(state, number, [(Key("a"), ancestor(1)), (Key("b"), ancestor(2))])
    commit(state, number, [(Key("a"), ancestor(3)), (Key("b"), None), (Key("never there"), None)])
    assert state.ancestors(number, [Key("a"), Key("b")])[0] == {Key("a"): ancestor(3)}


def test_what_is_agreed_below_a_name_is_found_but_for_what_is_known(state: State) -> None:
    number = state.remember_target(TARGET)
    keys = [Key(name) for name in ("x", "x!", "x/a", "x/b/c", "x0", "y/z", "z0")]
    commit(state, number, [(key, ancestor(n)) for n, key in enumerate(keys)])
    files = [Key("x"), Key("y"), Key("z"), Key("x/b")]
    assert state.first_below(number, files, set()) == ["x/a", "y/z", "x/b/c"]
    assert state.first_below(number, files, {Key("x/a"), Key("y/z")}) == ["x/b/c", "x/b/c"]
    assert state.first_below(None, files, set()) == []


def test_targets_do_not_see_each_others_ancestors(state: State) -> None:
    one = state.remember_target(TARGET)
    two = state.remember_target(Target("4567", "other", "folder", {}))
    commit(state, one, [(Key("a"), ancestor(1))])
    assert state.ancestors(two, [Key("a")]) == ({}, [])
    assert list(state.scan_ancestors(two)) == []
    assert list(state.scan_ancestors(None)) == []
    assert state.ancestors(None, [Key("a")]) == ({}, [])


def test_many_ancestors_are_listed_in_batches_and_in_order(state: State) -> None:
    number = state.remember_target(TARGET)
    count = 2 * BATCH + 7
    commit(state, number, [(Key(f"{n:06}"), ancestor(n)) for n in range(count)])
    batches = list(state.scan_ancestors(number))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 7]
    rows = [row for batch in batches for row in batch]
    assert rows == [(f"{n:06}".encode(), f"lt{n}", f"rt{n}") for n in range(count)]
    assert len(state.ancestors(number, [Key(f"{n:06}") for n in range(count)])[0]) == count


def test_a_transaction_is_all_or_nothing(state: State) -> None:
    number = state.remember_target(TARGET)
    with suppress(KeyboardInterrupt), state.transaction() as connection:
        state.commit_ancestors(connection, number, [(Key("a"), ancestor(1))])
        raise KeyboardInterrupt
    assert state.ancestors(number, [Key("a")]) == ({}, [])


@pytest.mark.parametrize("column", ["local", "remote", "content", "checksum", "key"])
def test_a_flipped_column_is_noticed(state: State, column: str) -> None:
    number = state.remember_target(TARGET)
    commit(state, number, [(Key("a"), ancestor(1)), (Key("b"), ancestor(2))])
    new = {"key": b"c", "checksum": 7, "content": "file 2 blake3:2"}.get(column, "x")
    sql(state, f"UPDATE ancestors SET {column} = ? WHERE key = x'61'", new)  # noqa: S608
    name = Key("c") if column == "key" else Key("a")
    found, damaged = state.ancestors(number, [name, Key("b")])
    assert (set(found), damaged) == ({"b"}, [name])
    state.keep_damaged(number, damaged)
    assert state.ancestors(number, [name]) == ({}, [])
    assert len(sql(state, "SELECT * FROM damaged_ancestors")) == 1


def test_a_digest_is_that_of_one_version(state: State) -> None:
    number = state.remember_target(TARGET)
    print_ = Fingerprint("blake3", "aa")
    state.cache_digests(number, LOCAL, [(Key("a"), Token("v1"), print_)])
    assert state.digests(number, LOCAL, {Key("a"): Token("v1")}) == {"a": print_}
    assert state.digests(number, LOCAL, {Key("a"): Token("v2")}) == {}
    assert state.digests(number, REMOTE, {Key("a"): Token("v1")}) == {}
    state.cache_digests(number, LOCAL, [(Key("a"), Token("v2"), print_)])
    assert state.digests(number, LOCAL, {Key("a"): Token("v1")}) == {}
    assert state.digests(None, LOCAL, {Key("a"): Token("v2")}) == {}


def test_names_of_targets_and_markers_are_kept_current(state: State) -> None:
    assert state.find_target(TARGET) is None
    assert state.markers(None) == {}
    number = state.remember_target(TARGET)
    assert state.remember_target(Target("0123", os.fsdecode(b"caf\xe9"), "folder", {})) == number
    assert state.markers(number) == {}
    state.set_markers(number, {LOCAL: "one"})
    assert state.markers(number) == {LOCAL: "one"}
    assert sql(state, "SELECT name FROM targets") == [("caf\\udce9",)]


def test_damaged_json_is_damage(state: State) -> None:
    number = state.remember_target(TARGET)
    sql(state, "UPDATE targets SET markers = '{broken'")
    with pytest.raises(StateDamaged):
        state.markers(number)


# -- opening ---------------------------------------------------------------------------------------------------------


def test_a_state_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    State(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    connection.close()
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(ConfigError, match="newer"):
        State(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_directory_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StoreError):
        State(tmp_path / "file" / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody else")
def test_a_read_only_directory_says_which_setting_helps(nobody_dir: Path) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(AccessDenied) as denied:
            State(nobody_dir / "state")
    finally:
        os.seteuid(0)
    assert "TRUEUP_STATE" in denied.value.attempt


@pytest.fixture
def nobody_dir(tmp_path: Path) -> Path:
    """A directory that nobody but its owner may write."""
    for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        path.chmod(0o755)
    return tmp_path


def test_a_state_that_is_open_elsewhere_waits_its_turn(tmp_path: Path) -> None:
    states: list[State] = []
    threads = [threading.Thread(target=lambda: states.append(State(tmp_path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(states) == 6  # all of them made the same new database
    number = states[0].remember_target(TARGET)
    for n, state in enumerate(states):
        commit(state, number, [(Key(str(n)), ancestor(n))])
        state.close()
    again = State(tmp_path)
    assert len(again.ancestors(number, [Key(str(n)) for n in range(6)])[0]) == 6
    again.close()


@pytest.mark.parametrize("garbage", [b"", b"garbage" * 1000])
def test_a_damaged_state_is_kept_aside_when_it_is_recovered(tmp_path: Path, garbage: bytes) -> None:
    State(tmp_path).close()
    (tmp_path / "state.db").write_bytes(garbage)
    recovered = State.recovered(tmp_path, "now")
    assert recovered.check() == "ok"
    recovered.close()
    if garbage:
        assert (tmp_path / "state.db.damaged-now").read_bytes() == garbage


def test_a_sound_state_is_not_set_aside(tmp_path: Path) -> None:
    state = State(tmp_path)
    number = state.remember_target(TARGET)
    commit(state, number, [(Key("a"), ancestor(1))])
    state.close()
    recovered = State.recovered(tmp_path, "now")
    assert recovered.ancestors(number, [Key("a")])[0]
    recovered.close()
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_full_disk_is_called_that(state: State) -> None:
    number = state.remember_target(TARGET)
    pages = sql(state, "PRAGMA page_count")[0][0]
    with state.reading() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NoSpace):
        commit(state, number, [(Key(f"{n}"), ancestor(n)) for n in range(5000)])


def test_a_state_of_a_newer_version_is_not_set_aside_either(tmp_path: Path) -> None:
    State(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    with pytest.raises(ConfigError, match="newer"):
        State.recovered(tmp_path, "x")
    assert not list(tmp_path.glob("*damaged*"))


def test_notes_outlive_the_process_that_took_them(tmp_path: Path) -> None:
    with closing(State(tmp_path)) as state:
        notes = Notes(state)
        notes["a"], notes["b"] = "one", "two"
        notes["a"] = "three"
        del notes["b"]
    with closing(State(tmp_path)) as state:
        assert dict(Notes(state)) == {"a": "three"}
        assert len(Notes(state)) == 1


class Switched:
    """A new database that somebody else switches to write-ahead logging at the same moment."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)

    def execute(self, _: str) -> None:
        if self.answers:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.answers.pop(0)
            raise error


def test_whoever_is_refused_while_another_one_switches_a_new_database_tries_again() -> None:
    busy = Switched(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY)
    write_ahead(busy)  # type: ignore[arg-type]
    assert busy.answers == []
    with pytest.raises(sqlite3.OperationalError):
        write_ahead(Switched(sqlite3.SQLITE_IOERR))  # type: ignore[arg-type]
