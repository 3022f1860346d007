"""Revisions, epochs, and what is found when a database is opened."""

import errno
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.replication.clients import pipeline, status_of

from trueup.core.errors import Corrupt, Locked, NotFound, StoreError, UsageError
from trueup.replication import Database, Limits, Refused
from trueup.replication.pages import messages_bytes
from trueup.replication.revisions import Revisions
from trueup.replication.wire import PAGE_BYTES, PullRequest, page_head

ROWS = """INSERT INTO t SELECT value, zeroblob(3000) FROM (WITH RECURSIVE n(value) AS
    (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 100) SELECT value FROM n)"""
LARGER = "UPDATE t SET text = zeroblob(6000) WHERE id = N"
FILL = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, text)",
    ROWS,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "team.db")) as opened:
        yield opened


def run(database: Database, *statements: str) -> str:
    """The revision after them; none of them may fail."""
    revision, answer = database.pipeline(pipeline(*statements))
    (result,) = json.loads(answer)["results"]
    assert not any(result["response"]["result"]["step_errors"])
    return revision


def pulled(database: Database, **request: object) -> dict[int, bytes]:
    """Pages by number."""
    _, body = database.pull(PullRequest(**request))  # type: ignore[arg-type]
    raw = b"".join(body.chunks())
    assert len(raw) == body.size
    return pages_of(raw)


def pages_of(raw: bytes) -> dict[int, bytes]:
    """Of an answer, read as the protocol says and not by our own reader."""
    messages = []
    while raw:
        size = shift = used = 0
        while True:
            size |= (raw[used] & 0x7F) << shift
            shift += 7
            used += 1
            if raw[used - 1] < 0x80:
                break
        messages.append(raw[used : used + size])
        raw = raw[used + size :]
    pages = {}
    for message in messages[1:]:
        content = message[-PAGE_BYTES:]
        number = message[1 : -PAGE_BYTES - 3]
        pages[sum((byte & 0x7F) << 7 * n for n, byte in enumerate(number))] = content
    return pages


def file_of(pages: dict[int, bytes]) -> bytes:
    assert sorted(pages) == list(range(len(pages)))
    return b"".join(pages[number] for number in sorted(pages))


def content(path: Path, raw: bytes, sql: str = "SELECT count(*) FROM t") -> list[tuple[object, ...]]:
    path.write_bytes(raw)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(sql).fetchall()


def bitmap(*pages: int) -> bytes:
    """A roaring bitmap with one array."""
    head = (12346).to_bytes(4, "little") + (1).to_bytes(4, "little")
    head += (0).to_bytes(2, "little") + (len(pages) - 1).to_bytes(2, "little") + (16).to_bytes(4, "little")
    return head + b"".join(page.to_bytes(2, "little") for page in pages)


# -- revisions -------------------------------------------------------------------------------------------------------


def test_each_change_is_a_revision_and_looking_is_none(database: Database) -> None:
    epoch, _, number = database.revision.rpartition(".")
    assert number == "1"
    assert run(database, *FILL) == f"{epoch}.2"
    assert run(database, "SELECT * FROM t") == f"{epoch}.2"
    assert run(database, "UPDATE t SET text = NULL WHERE id = 5") == f"{epoch}.3"


def test_all_pages_are_the_file(tmp_path: Path, database: Database) -> None:
    run(database, *FILL)
    assert content(tmp_path / "copy.db", file_of(pulled(database))) == [(100,)]


def test_since_a_revision_only_what_changed(tmp_path: Path, database: Database) -> None:
    before = run(database, *FILL)
    old = pulled(database)
    run(database, "UPDATE t SET text = 'x' WHERE id = 50")
    new = pulled(database, client_revision=before)
    assert 0 < len(new) < 5
    assert content(tmp_path / "copy.db", file_of(old | new), "SELECT id FROM t WHERE text = 'x'") == [(50,)]


def test_to_who_has_all_nothing_is_sent(database: Database) -> None:
    assert pulled(database, client_revision=run(database, *FILL)) == {}


def test_revisions_survive_closing(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        first = run(database, *FILL)
        second = run(database, "DELETE FROM t WHERE id = 1")
    with closing(Database(tmp_path / "team.db")) as database:
        assert database.revision == second
        assert 0 < len(pulled(database, client_revision=first)) < 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["team.db", "team.db-lock", "team.db-revisions"]


def test_what_a_pipeline_leaves_open_is_rolled_back(database: Database) -> None:
    before = run(database, *FILL)
    assert run(database, "BEGIN IMMEDIATE", "DELETE FROM t") == before
    assert run(database, "BEGIN IMMEDIATE", "DELETE FROM t WHERE id = 1", "COMMIT") != before


def test_a_condition_on_the_revision(database: Database) -> None:
    before = run(database, *FILL)
    after, _ = database.pipeline(pipeline("DELETE FROM t WHERE id = 1"), if_revision=before)
    with pytest.raises(Refused, match="pull first") as refused:
        database.pipeline(pipeline("DELETE FROM t"), if_revision=before)
    assert (refused.value.status, refused.value.kind, refused.value.revision) == (409, "CHANGED", after)
    assert database.revision == after


def test_listeners_hear_of_changes_and_of_the_end(tmp_path: Path) -> None:
    heard = []
    database = Database(tmp_path / "team.db")
    unsubscribe = database.subscribe(lambda: heard.append(database.revision))
    revision = run(database, *FILL)
    run(database, "SELECT 1")
    assert heard == [revision]
    database.close()
    assert len(heard) == 2
    unsubscribe()
    with pytest.raises(Refused) as refused:
        database.pull(PullRequest())
    assert refused.value.status == 503


def test_many_at_once_are_one_after_the_other(database: Database) -> None:
    run(database, "CREATE TABLE n (value INTEGER)", "INSERT INTO n VALUES (0)")
    increment = ["BEGIN IMMEDIATE", "UPDATE n SET value = value + 1", "COMMIT"]
    threads = [threading.Thread(target=run, args=(database, *increment)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, answer = database.pipeline(pipeline("SELECT value FROM n"))
    assert b'{"type":"integer","value":"20"}' in answer
    assert database.revision.endswith(".22")


# -- another database ------------------------------------------------------------------------------------------------


def refused_as(database: Database, **request: object) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        pulled(database, **request)
    return refused.value.status, refused.value.kind


@pytest.mark.parametrize(
    "revision", ["7", "", "x.1", "{}.", "{}.0", "{}.3", "{}.x", "{}.-1", "{}.1x", "{}.\u0661", "{}." + "1" * 5000]
)
def test_a_revision_that_is_not_of_this_epoch_is_refused(database: Database, revision: str) -> None:
    epoch = run(database, *FILL).rpartition(".")[0]
    if not revision:
        assert len(pulled(database, client_revision=revision)) == database.at[1]
        return
    assert refused_as(database, client_revision=revision.replace("{}", epoch)) == (409, "REPLACED")
    assert refused_as(database, server_revision=revision.replace("{}", epoch)) == (409, "REPLACED")


def test_a_copy_put_back_is_another_database(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    with closing(Database(path)) as database:
        run(database, *FILL)
    shutil.copyfile(path, tmp_path / "old.db")
    with closing(Database(path)) as database:
        known = run(database, "DELETE FROM t WHERE id < 50")
    shutil.copyfile(tmp_path / "old.db", path)
    with closing(Database(path)) as database:
        assert refused_as(database, client_revision=known) == (409, "REPLACED")
        assert content(tmp_path / "copy.db", file_of(pulled(database))) == [(100,)]


def test_what_another_program_wrote_makes_another_database(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    with closing(Database(path)) as database:
        known = run(database, *FILL)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM t WHERE id < 50")
    with closing(Database(path)) as database:
        assert refused_as(database, client_revision=known) == (409, "REPLACED")
        assert content(tmp_path / "copy.db", file_of(pulled(database))) == [(51,)]


def test_what_another_program_only_read_is_the_same_database(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    with closing(Database(path)) as database:
        known = run(database, *FILL)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM t").fetchall() == [(100,)]
    with closing(Database(path)) as database:
        assert database.revision == known


def test_without_records_it_is_another_database(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    with closing(Database(path)) as database:
        known = run(database, *FILL)
    (tmp_path / "team.db-revisions").unlink()
    with closing(Database(path)) as database:
        assert refused_as(database, client_revision=known) == (409, "REPLACED")


def test_a_deleted_database_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    with closing(Database(path)) as database:
        known = run(database, *FILL)
    path.unlink()
    with closing(Database(path)) as database:
        assert refused_as(database, client_revision=known) == (409, "REPLACED")


# -- opening ---------------------------------------------------------------------------------------------------------


def test_one_server_for_one_file(tmp_path: Path, database: Database) -> None:
    run(database, *FILL)
    with pytest.raises(Locked, match="served by another process"):
        Database(tmp_path / "team.db")
    (tmp_path / "link.db").symlink_to("team.db")
    with pytest.raises(Locked):
        Database(tmp_path / "link.db")


def test_a_link_is_the_file_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "link.db").symlink_to("deep/team.db")
    with closing(Database(tmp_path / "link.db")) as database:
        run(database, *FILL)
    assert (tmp_path / "deep" / "team.db-revisions").exists()


def test_a_database_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "team.db")) as plain, plain:
        for statement in FILL:
            plain.execute(statement)
    with closing(Database(tmp_path / "team.db")) as database:
        assert content(tmp_path / "copy.db", file_of(pulled(database))) == [(100,)]
        known = database.revision
        run(database, "DELETE FROM t WHERE id = 1")
        assert 0 < len(pulled(database, client_revision=known)) < 10


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Database(tmp_path / "nowhere" / "team.db")
    (tmp_path / "text.db").write_text("no database, but long enough for a header" * 10)
    with pytest.raises(Corrupt):
        Database(tmp_path / "text.db")
    (tmp_path / "short.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(Corrupt):
        Database(tmp_path / "short.db")
    with closing(sqlite3.connect(tmp_path / "wide.db")) as plain:
        plain.execute("PRAGMA page_size=8192")
        plain.execute("CREATE TABLE t (id)")
    with pytest.raises(UsageError, match="8192"):
        Database(tmp_path / "wide.db")
    assert (tmp_path / "text.db").read_text().startswith("no database")


def test_records_that_are_damaged_are_named(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        run(database, *FILL)
    (tmp_path / "team.db-revisions").write_text("no database, but long enough for a header" * 10)
    with pytest.raises(StoreError, match=r"team.db-revisions is damaged") as error:
        Database(tmp_path / "team.db")
    assert "clone" in error.value.attempt


def test_after_an_error_the_file_is_free(tmp_path: Path) -> None:
    (tmp_path / "team.db").write_text("no database, but long enough for a header" * 10)
    with pytest.raises(Corrupt):
        Database(tmp_path / "team.db")
    (tmp_path / "team.db").unlink()
    Database(tmp_path / "team.db").close()


# -- somebody else is looking ------------------------------------------------------------------------------------------


def test_while_another_program_reads_all_goes_on(tmp_path: Path, database: Database) -> None:
    first = run(database, *FILL)
    with closing(sqlite3.connect(tmp_path / "team.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM t").fetchall() == [(100,)]
        second = run(database, "DELETE FROM t WHERE id = 1")
        run(database, "DELETE FROM t WHERE id = 2")
        old = pulled(database)
        assert content(tmp_path / "copy.db", file_of(old)) == [(98,)]
        assert 0 < len(pulled(database, client_revision=second)) < 10
        assert reader.execute("SELECT count(*) FROM t").fetchall() == [(100,)]
        reader.execute("COMMIT")
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM t").fetchall() == [(98,)]
        run(database, "DELETE FROM t WHERE id = 3")
    third = run(database, "DELETE FROM t WHERE id = 4")
    database.tidy()
    assert (tmp_path / "team.db-wal").stat().st_size == 0
    assert content(tmp_path / "copy.db", (tmp_path / "team.db").read_bytes()) == [(96,)]
    changed = pulled(database, client_revision=first)
    assert pulled(database) == old | changed
    assert pulled(database, client_revision=third) == {}


def test_pulls_do_not_wait_for_the_log_to_be_copied(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, *FILL)
    database.tidy()
    before = run(database, "UPDATE t SET text = zeroblob(3500) WHERE id % 2 = 0")
    copy, seen = database._copy_log, []

    def copy_and_pull(how: str) -> bool:
        if how != "PASSIVE":
            return copy(how)
        seen.append(pulled(database))
        done = copy(how)
        seen.append(pulled(database))
        return done

    monkeypatch.setattr(database, "_copy_log", copy_and_pull)
    database.tidy()
    assert seen == [pulled(database)] * 2
    assert database.revision == before
    assert content(tmp_path / "copy.db", file_of(seen[0]), "SELECT count(*) FROM t WHERE length(text) = 3500") == [
        (50,)
    ]


def test_nothing_is_copied_before_it_is_recorded(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, *FILL)
    database.tidy()
    pulled(database, selector=bitmap(0))
    pages, before = pulled(database), database.revision

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Revisions, "record", full)
        for work in (lambda: run(database, "UPDATE t SET text = zeroblob(3500)"), database.tidy):
            assert status_of(work) == 507
        assert (tmp_path / "team.db").read_bytes() == file_of(pages)
    database.tidy()
    assert (tmp_path / "team.db").read_bytes() == file_of(pulled(database)) != file_of(pages)
    assert pulled(database, server_revision=before) == pages


# -- a part of an old revision ---------------------------------------------------------------------------------------


def test_who_has_a_part_gets_the_rest_of_the_same_revision(tmp_path: Path, database: Database) -> None:
    run(database, *FILL)
    whole = pulled(database)
    some = pulled(database, selector=bitmap(0, 1, 2))
    revision = database.revision
    assert sorted(some) == [0, 1, 2]
    for n in range(1, 100, 3):
        run(database, LARGER.replace("N", str(n)))
    assert pulled(database, server_revision=revision) == whole
    assert pulled(database, server_revision=revision, selector=bitmap(5, 6)) == {5: whole[5], 6: whole[6]}
    assert pulled(database) != whole


def test_old_pages_survive_closing(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        run(database, *FILL)
        whole = pulled(database)
        pulled(database, selector=bitmap(0))
        revision = database.revision
        run(database, "UPDATE t SET text = 'x'")
    with closing(Database(tmp_path / "team.db")) as database:
        run(database, "DELETE FROM t")
        assert pulled(database, server_revision=revision) == whole


def test_an_old_page_that_is_lost_is_not_replaced_by_a_newer_one(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        run(database, *FILL)
        pulled(database, selector=bitmap(0))
        revision = database.revision
        run(database, "UPDATE t SET text = 'x'")
    with closing(sqlite3.connect(tmp_path / "team.db-revisions")) as records, records:
        records.execute("DELETE FROM old_pages")
    with closing(Database(tmp_path / "team.db")) as database:
        assert refused_as(database, server_revision=revision) == (409, "GONE")


def test_a_push_larger_than_sqlite_would_keep_in_its_log_is_kept_too(database: Database) -> None:
    """By itself SQLite copies the log at 1,000 pages, before anybody has recorded what they were."""
    run(database, *FILL, *["INSERT INTO t (text) SELECT zeroblob(3500) FROM t"] * 4)
    whole = pulled(database)
    assert len(whole) > 1500
    pulled(database, selector=bitmap(0))
    revision = database.revision
    run(database, "UPDATE t SET text = zeroblob(3600)")
    assert pulled(database, server_revision=revision) == whole


def test_nothing_is_kept_for_nobody(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db")) as database:
        revision = run(database, *FILL)
        pulled(database)
        run(database, "UPDATE t SET text = 'x'")
        assert refused_as(database, server_revision=revision) == (409, "GONE")
    with closing(sqlite3.connect(tmp_path / "team.db-revisions")) as records:
        assert records.execute("SELECT count(*) FROM old_pages").fetchall() == [(0,)]


def test_the_oldest_go_when_there_is_too_much(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db", limits=Limits(history_bytes=100 * PAGE_BYTES))) as database:
        revisions = []
        for n in range(4):
            run(database, *FILL) if n == 0 else run(database, LARGER.replace("6000", f"300{n}").replace("= N", "> 0"))
            pulled(database, selector=bitmap(0))
            revisions.append(database.revision)
        assert refused_as(database, server_revision=revisions[0]) == (409, "GONE")
        assert refused_as(database, server_revision=revisions[0], selector=bitmap(0)) == (409, "GONE")
        assert len(pulled(database, server_revision=revisions[-1])) == database.at[1]


def test_a_query_as_selector_gets_all_pages(database: Database) -> None:
    run(database, *FILL)
    assert pulled(database, query="SELECT 1") == pulled(database)


def test_a_value_larger_than_a_request_is_not_made(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "team.db", limits=Limits(request_bytes=1_000_000))) as database:
        _, answer = database.pipeline(pipeline("SELECT length(zeroblob(1000001))"))
    assert b"too big" in answer


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_only_who_has_all_waits(database: Database) -> None:
    now = run(database, *FILL)
    assert database.waits(PullRequest(client_revision=now, long_poll_ms=1500)) == 1.5
    assert database.waits(PullRequest(client_revision=now)) == 0
    assert database.waits(PullRequest(client_revision=now, long_poll_ms=10**9)) == Limits().poll_seconds
    run(database, "DELETE FROM t")
    assert database.waits(PullRequest(client_revision=now, long_poll_ms=1500)) == 0
    assert database.waits(PullRequest(long_poll_ms=1500)) == 0
    assert database.waits(PullRequest(server_revision=now, client_revision=now, long_poll_ms=1500)) == 0


# -- answers that are being sent -------------------------------------------------------------------------------------


def changes(database: Database) -> None:
    run(database, "UPDATE t SET text = 'x'", "DELETE FROM t WHERE id > 50")


def changes_and_copies(database: Database) -> None:
    changes(database)
    database.tidy()
    run(database, *["INSERT INTO t (text) SELECT zeroblob(3500) FROM t"] * 2)
    database.tidy()


@pytest.mark.parametrize("memory_bytes", [PAGE_BYTES, Limits().memory_bytes])
@pytest.mark.parametrize("meanwhile", [changes, changes_and_copies, Database.tidy, Database.close])
def test_an_answer_is_of_one_moment_whatever_is_written_while_it_is_sent(
    tmp_path: Path, meanwhile: Callable[[Database], None], memory_bytes: int
) -> None:
    with closing(Database(tmp_path / "team.db", limits=Limits(memory_bytes=memory_bytes))) as database:
        run(database, *FILL)
        database.tidy()
        run(database, LARGER.replace("= N", "< 5"))  # some pages are in the log only
        expected = pulled(database)
        _, body = database.pull(PullRequest())
        _, copy = database.copy()
        begun, copied = body.chunks(), copy.chunks()
        parts, copies = [next(begun)], [next(copied)]
        meanwhile(database)
        raw = b"".join([*parts, *begun])
        assert len(raw) == body.size
        assert pages_of(raw) == expected
        assert b"".join([*copies, *copied]) == file_of(expected)
        assert content(tmp_path / "copy.db", file_of(expected)) == [(100,)]


def test_an_answer_that_nobody_reads_to_its_end_keeps_nobody_from_writing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, *FILL)
    _, body = database.pull(PullRequest())
    chunks = body.chunks()
    next(chunks)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("trueup.replication.pages.SpooledTemporaryFile.write", full)
        changes_and_copies(database)
    with pytest.raises(OSError, match="No space left"):
        next(chunks)
    assert len(pulled(database)) == database.at[1]


@pytest.mark.parametrize(
    "pages", [range(200), [5, 126, 127, 128, 16_383, 16_384], [2_097_151, 2_097_152], [268_435_455, 268_435_456], []]
)
def test_how_long_an_answer_is_is_known_before(pages: Sequence[int]) -> None:
    assert messages_bytes(pages) == sum(len(page_head(page)) + PAGE_BYTES for page in pages)
