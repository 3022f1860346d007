"""A consistent copy at any moment."""

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.replication.clients import Remote, ask, pipeline
from tests.replication.test_database import FILL, pulled, run
from tests.replication.test_kills import image, server

from trueup.core.errors import NoSpace, NotFound, StoreError, UsageError
from trueup.replication import Database, Refused, backup
from trueup.replication.revisions import Revisions

COUNT = "SELECT count(*) FROM t"
ADD = "INSERT INTO t (text) SELECT zeroblob(3000) FROM t LIMIT 50"


def asked(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(sql).fetchall()


def test_of_a_database_that_nobody_serves(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        revision = run(database, *FILL)
    backup(tmp_path / "team.db", tmp_path / "copy.db")
    assert asked(tmp_path / "copy.db", COUNT) == [(100,)]
    with closing(Database(tmp_path / "team.db")) as database:
        assert database.revision == revision


def test_of_a_database_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before, _ = image(tmp_path, monkeypatch, Revisions, "record")
    backup(path, tmp_path / "copy.db")
    assert asked(tmp_path / "copy.db", "SELECT count(*) FROM t WHERE length(text) = 4500") == [(33,)]
    with closing(Database(path)) as database:
        assert len(pulled(database, client_revision=before)) > 0


def test_of_a_database_that_another_process_serves_and_writes(tmp_path: Path) -> None:
    with server(tmp_path / "team.db") as remote:
        ask(remote, "POST", "/v2/pipeline", pipeline(*FILL))
        stop = threading.Event()
        writer = threading.Thread(target=_write_on, args=(remote, stop))
        writer.start()
        try:
            for n in range(5):
                backup(tmp_path / "team.db", tmp_path / f"copy-{n}.db")
                ((count,),) = asked(tmp_path / f"copy-{n}.db", COUNT)
                assert isinstance(count, int)
                assert count % 50 == 0  # between two pipelines, never within one
        finally:
            stop.set()
            writer.join()
        state = ask(remote, "GET", "").json["revision"]
    with closing(Database(tmp_path / "team.db")) as database:
        assert database.revision == state


def _write_on(remote: Remote, stop: threading.Event) -> None:
    while not stop.is_set():
        assert ask(remote, "POST", "/v2/pipeline", pipeline(ADD)).status == 200


def test_nothing_is_overwritten_or_left_behind(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        run(database, *FILL)
    (tmp_path / "copy.db").write_text("precious")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError):
        backup(tmp_path / "team.db", tmp_path / "copy.db")
    with pytest.raises(NotFound):
        backup(tmp_path / "none.db", tmp_path / "other.db")
    assert (tmp_path / "copy.db").read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == before


def test_damage_is_not_copied_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    with closing(Database(path)) as database:
        run(database, *FILL)
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError):
        backup(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("no permission to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small: Path, tmp_path: Path) -> None:
    with closing(Database(small / "team.db")) as database:
        run(database, *FILL)
        while "full" not in _tried(database, ADD)[1]:
            pass
    with pytest.raises(NoSpace):
        backup(small / "team.db", small / "copy.db")
    assert not list(small.glob("*copy*"))
    (tmp_path / "left").mkdir()
    for path in small.glob("team.db*"):
        shutil.copy2(path, tmp_path / "left")
    with closing(Database(tmp_path / "left" / "team.db")):
        pass
    ((rows,),) = asked(tmp_path / "left" / "team.db", COUNT)
    assert isinstance(rows, int)
    assert rows > 100
    assert rows % 50 == 0


def test_where_there_is_no_room_for_a_copy_of_the_log_it_is_read(small: Path, tmp_path: Path) -> None:
    with closing(Database(small / "team.db")) as database:
        first = run(database, *FILL)
        pages = pulled(database)
        with sqlite3.connect(f"file:{small}/team.db?mode=ro", uri=True, isolation_level=None) as reader:
            reader.execute("BEGIN")
            reader.execute(COUNT).fetchall()
            run(database, ADD)  # stays in the log, as somebody reads
            database.tidy()
            _fill(small / "filler")
            reader.execute("COMMIT")
        reader.close()
        run(database, "SELECT 1")
        database.tidy()
        assert {**pages, **pulled(database, client_revision=first)} == pulled(database)
        assert (small / "team.db-wal").stat().st_size > 0
        (small / "filler").unlink()
        run(database, "SELECT 1")
        database.tidy()
        assert (small / "team.db-wal").stat().st_size == 0


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _tried(database: Database, *statements: str) -> tuple[int, str]:
    try:
        return 200, database.pipeline(pipeline(*statements))[1].decode()
    except Refused as refused:
        return refused.status, refused.what


def test_when_there_is_room_again_it_goes_on(small: Path, tmp_path: Path) -> None:
    filler = small / "filler"
    with closing(Database(small / "team.db")) as database:
        before = run(database, *FILL)
        pages = pulled(database)
        _fill(filler)
        status, answer = _tried(database, "UPDATE t SET text = zeroblob(2000)")
        assert "full" in answer, status
        filler.unlink()
        after = run(database, "UPDATE t SET text = zeroblob(1000)")
        assert after != before
        now = pulled(database)
        assert {**pages, **pulled(database, client_revision=before)} == now
    shutil.copy(small / "team.db", tmp_path / "copy.db")
    assert asked(tmp_path / "copy.db", "SELECT DISTINCT length(text) FROM t") == [(1000,)]
