"""A server that is killed at every step of a push, an unmodified client, and what is there afterwards."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import turso
from tests.replication.clients import Remote, replica, rows, write
from tests.replication.dying import ANY_MOMENT, POINTS
from tests.replication.test_database import FILL, bitmap, content, file_of, pulled, run

from trueup.replication import Database
from trueup.replication.frames import FRAME_BYTES, HEADER_BYTES
from trueup.replication.revisions import Revisions
from trueup.replication.wire import PAGE_BYTES

ROUNDS = 33
TABLE = "CREATE TABLE note (id INTEGER PRIMARY KEY, text)"
ALL = "SELECT id, text FROM note ORDER BY id"


@contextmanager
def server(path: Path, point: str = "", count: int = 0, *, ends: list[int] | None = None) -> Iterator[Remote]:
    """Our server as a process of its own; how it ended is added to ``ends``."""
    command = [sys.executable, str(Path(__file__).with_name("dying.py")), str(path), point, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Remote(process.stdout.readline().strip(), process.stdout.readline().strip())
        finally:
            process.stdin.close()
            status = process.wait(60)
            if ends is not None:
                ends.append(status)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_it_is_killed_at_nothing_is_lost_and_all_agree(tmp_path: Path) -> None:
    """One life of a database, with a death in every round; the dice are always the same."""
    team, dice = tmp_path / "team.db", random.Random(9)
    points = [*POINTS, ANY_MOMENT]
    with server(team) as remote, replica(tmp_path / "a.db", remote) as writer, replica(tmp_path / "b.db", remote):
        write(writer, TABLE)
        writer.push()
    expected: dict[int, bytes] = {}
    ends: list[int] = []
    for turn in range(ROUNDS):
        point = points[turn % len(points)]
        count = dice.randint(1, 40) if point == ANY_MOMENT else dice.randint(1, 6) if "statement" in point else 1
        with server(team, point, count, ends=ends) as remote, replica(tmp_path / "a.db", remote) as writer:
            _edit(writer, dice, expected)
            with suppress(turso.DatabaseError):
                writer.push()
        assert ends[-1] == -signal.SIGKILL or point == ANY_MOMENT
        with (
            server(team) as remote,
            replica(tmp_path / "a.db", remote) as writer,
            replica(tmp_path / "b.db", remote) as reader,
        ):
            reader.pull()
            _same(reader, remote, tmp_path / "seen.db")
            writer.push()
            reader.pull()
            assert rows(reader, ALL) == sorted(expected.items())
            _same(reader, remote, tmp_path / "clone.db")
    with closing(sqlite3.connect(team)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute(ALL).fetchall() == sorted(expected.items())


def _edit(connection: Any, dice: random.Random, expected: dict[int, bytes]) -> None:
    for _ in range(dice.randint(5, 20)):
        key, text = dice.randrange(200), dice.randbytes(dice.randrange(9000))
        expected[key] = text
        write(connection, ("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, text)))
    for _ in range(dice.randrange(3)):
        key = dice.choice(list(expected))
        del expected[key]
        write(connection, ("DELETE FROM note WHERE id = ?", (key,)))


def _same(connection: Any, remote: Remote, path: Path) -> None:
    """Who came step by step has what one gets who comes now."""
    with replica(path, remote) as clone:
        assert rows(clone, ALL) == rows(connection, ALL)
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()


# -- what a kill leaves, made by hand --------------------------------------------------------------------------------


class _Killed(Exception):
    pass


def _die(*_: object, **__: object) -> None:
    raise _Killed


def _push(database: Database) -> None:
    run(database, "BEGIN", "UPDATE t SET text = zeroblob(4500) WHERE id % 3 = 0", "COMMIT")
    database.tidy()


def image(folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> tuple[Path, str, dict[int, bytes]]:
    """The files as a kill at this step leaves them, and the revision and pages before the push."""
    folder.mkdir(exist_ok=True)
    database = Database(folder / "team.db")
    before = run(database, *FILL)
    database.tidy()
    pulled(database, selector=bitmap(0))
    pages = pulled(database)
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, _die)
        with pytest.raises(_Killed):
            _push(database)
        left = _left(folder)
    database.close()
    return left, before, pages


def _left(folder: Path) -> Path:
    """A copy of the files as they are now, without shared memory, which does not outlive its processes."""
    left = folder / "left"
    left.mkdir()
    for path in folder.glob("team.db*"):
        if not path.name.endswith(("-shm", "-lock")):
            shutil.copy2(path, left / path.name)
    return left / "team.db"


def check_since(database: Database, before: str, pages: dict[int, bytes], folder: Path) -> list[tuple[object, ...]]:
    """Who had the pages from before comes to what is there now, and the old revision is still what it was."""
    now = pulled(database)
    assert {**pages, **pulled(database, client_revision=before)} == now
    assert pulled(database, server_revision=before) == pages
    return content(folder / "copy.db", file_of(now), "SELECT count(*) FROM t WHERE length(text) = 4500")


def test_a_commit_that_was_not_recorded_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, pages = image(tmp_path, monkeypatch, Revisions, "record")
    with closing(Database(path)) as database:
        assert database.revision != before
        assert check_since(database, before, pages, tmp_path) == [(33,)]


def test_a_record_that_was_not_copied_is_copied_under_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before, pages = image(tmp_path, monkeypatch, Database, "_checkpoint")
    with closing(Database(path)) as database:
        assert int(database.revision.rpartition(".")[2]) == int(before.rpartition(".")[2]) + 1
        assert check_since(database, before, pages, tmp_path) == [(33,)]
        assert path.with_name("team.db-wal").stat().st_size == 0


def test_a_copy_that_was_broken_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, pages = image(tmp_path, monkeypatch, Database, "_checkpoint")
    log = path.with_name("team.db-wal").read_bytes()
    with path.open("r+b") as file:
        for at in range(HEADER_BYTES, len(log), 2 * FRAME_BYTES):  # every other frame has reached the file
            file.seek((int.from_bytes(log[at : at + 4], "big") - 1) * PAGE_BYTES)
            file.write(log[at + 24 : at + FRAME_BYTES])
    with closing(Database(path)) as database:
        assert check_since(database, before, pages, tmp_path) == [(33,)]


def test_a_copy_that_was_not_noted_is_the_same_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, pages = image(tmp_path, monkeypatch, Revisions, "note")
    with closing(Database(path)) as database:
        assert check_since(database, before, pages, tmp_path) == [(33,)]
        noted = database.revision
    with closing(Database(path)) as database:
        assert database.revision == noted


def test_a_log_of_which_a_part_is_recorded_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit is recorded and stays in the log, as somebody reads; the next is killed before its record."""
    database = Database(tmp_path / "team.db")
    run(database, *FILL)
    database.tidy()
    with closing(sqlite3.connect(tmp_path / "team.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchall()
        before = run(database, "UPDATE t SET text = zeroblob(3900)")
        pulled(database, selector=bitmap(0))
        pages = pulled(database)
        with monkeypatch.context() as patched:
            patched.setattr(Revisions, "record", _die)
            with pytest.raises(_Killed):
                _push(database)
            left = _left(tmp_path)
    database.close()
    with closing(Database(left)) as database:
        assert check_since(database, before, pages, tmp_path) == [(33,)]


def test_another_program_that_cleans_up_makes_another_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have written as well, and nobody can tell."""
    path, before, _ = image(tmp_path, monkeypatch, Revisions, "record")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM t").fetchall() == [(100,)]
    with closing(Database(path)) as database:
        assert database.revision.rpartition(".")[0] != before.rpartition(".")[0]


def test_a_torn_log_is_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, pages = image(tmp_path, monkeypatch, Revisions, "record")
    log = path.with_name("team.db-wal").read_bytes()
    dice = random.Random(4)
    for turn, size in enumerate([0, 10, HEADER_BYTES, len(log) - 1, *(dice.randrange(len(log)) for _ in range(20))]):
        folder = tmp_path / f"torn-{turn}"
        shutil.copytree(path.parent, folder)
        (folder / "team.db-wal").write_bytes(log[:size])
        with closing(Database(folder / "team.db")) as database:
            assert database.revision == before
            assert check_since(database, before, pages, folder) == [(0,)]


def test_a_damaged_log_is_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, pages = image(tmp_path, monkeypatch, Revisions, "record")
    log = bytearray(path.with_name("team.db-wal").read_bytes())
    log[len(log) // 2] ^= 1
    path.with_name("team.db-wal").write_bytes(log)
    with closing(Database(path)) as database:
        assert database.revision == before
        assert check_since(database, before, pages, tmp_path) == [(0,)]


def test_a_log_that_lost_what_clients_have_seen_makes_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before, _ = image(tmp_path, monkeypatch, Database, "_checkpoint")
    log = path.with_name("team.db-wal").read_bytes()
    path.with_name("team.db-wal").write_bytes(log[: len(log) // 2])
    with closing(Database(path)) as database:
        assert database.revision.rpartition(".")[0] != before.rpartition(".")[0]


def test_nor_does_it_help_that_an_earlier_commit_is_left(tmp_path: Path) -> None:
    database = Database(tmp_path / "team.db")
    run(database, *FILL)
    database.tidy()
    with closing(sqlite3.connect(tmp_path / "team.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchall()
        run(database, "UPDATE t SET text = zeroblob(3900)")
        first = (tmp_path / "team.db-wal").stat().st_size
        seen = run(database, "UPDATE t SET text = zeroblob(3800)")
        left = _left(tmp_path)
    database.close()
    log = left.with_name("team.db-wal")
    assert first < log.stat().st_size
    log.write_bytes(log.read_bytes()[:first])
    with closing(Database(left)) as database:
        assert database.revision.rpartition(".")[0] != seen.rpartition(".")[0]
        assert content(tmp_path / "copy.db", file_of(pulled(database)), "SELECT DISTINCT length(text) FROM t") == [
            (3900,)
        ]
