"""What the Python client sees, from our remote and from the reference."""

import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import turso
import turso.aio.sync
from agentfs_sdk import AgentFS  # type: ignore[import-untyped]
from tests.replication.clients import Remote, replica, rows, write
from turso.sync import PartialSyncOpts, PartialSyncPrefixBootstrap

TABLE = "CREATE TABLE note (id INTEGER PRIMARY KEY, text)"
ALL = "SELECT id, text FROM note ORDER BY id"
ADD = "INSERT INTO note VALUES (?, ?)"


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_what_one_pushes_another_gets_at_its_beginning(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, (ADD, (1, "x")), (ADD, (2, None)), (ADD, (3, 1.5)), (ADD, (4, b"\x00\xff")), (ADD, (5, "é")))
        a.push()
    with replica(tmp_path / "b.db", remote) as b:
        assert rows(b, ALL) == [(1, "x"), (2, None), (3, 1.5), (4, b"\x00\xff"), (5, "é")]


def test_a_pull_brings_what_is_new_and_no_more(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, *((ADD, (n, noise(4000, n))) for n in range(100)))
        a.push()
        with replica(tmp_path / "b.db", remote) as b:
            write(a, "UPDATE note SET text = 'changed' WHERE id = 50")
            a.push()
            before = b.stats().network_received_bytes
            assert b.pull()
            assert rows(b, "SELECT text FROM note WHERE id = 50") == [("changed",)]
            assert b.stats().network_received_bytes - before < 100_000
            assert not b.pull()


def test_two_clients_have_both_their_rows(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a, replica(tmp_path / "b.db", remote) as b:
        write(a, TABLE)
        a.push()
        b.pull()
        write(a, (ADD, (1, "of a")))
        write(b, (ADD, (2, "of b")))
        a.push()
        b.push()
        a.pull()
        b.pull()
        assert rows(a, ALL) == rows(b, ALL) == [(1, "of a"), (2, "of b")]


def test_an_empty_database_is_empty(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a:
        assert not a.pull()
        assert rows(a, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'turso%' AND name NOT LIKE 'sqlite%'") == []
        a.push()
        write(a, TABLE)
        a.push()
    with replica(tmp_path / "b.db", remote) as b:
        assert rows(b, ALL) == []


def test_it_grows_and_shrinks(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a, replica(tmp_path / "b.db", remote) as b:
        write(a, TABLE)
        for n in range(3):
            write(a, *((ADD, (each, noise(3000, each))) for each in range(n * 100, n * 100 + 100)))
            a.push()
            b.pull()
        write(a, "DELETE FROM note WHERE id >= 10")
        a.push()
        b.pull()
        write(b, (ADD, (1000, "last")))
        b.push()
        a.pull()
        assert rows(a, ALL) == rows(b, ALL) == [*((n, noise(3000, n)) for n in range(10)), (1000, "last")]
        assert rows(b, "PRAGMA integrity_check") == [("ok",)]


def test_large_values_arrive(tmp_path: Path, remote: Remote) -> None:
    content = noise(5_000_000, 1)
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, (ADD, (1, content)), (ADD, (2, "é" * 1_000_000)))
        a.push()
    with replica(tmp_path / "b.db", remote) as b:
        assert rows(b, ALL) == [(1, content), (2, "é" * 1_000_000)]


def test_a_client_that_fetched_only_a_beginning_reads_all(tmp_path: Path, remote: Remote) -> None:
    expected = [(n, noise(3000, n)) for n in range(300)]
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, *((ADD, row) for row in expected))
        a.push()
    with replica(tmp_path / "b.db", remote, partial_sync_experimental=_beginning()) as b:
        assert b.stats().network_received_bytes < 300_000
        assert rows(b, "SELECT text FROM note WHERE id = 299") == [(noise(3000, 299),)]
        assert rows(b, ALL) == expected


def test_what_it_fetches_later_is_of_the_revision_that_it_began_with(tmp_path: Path, remote: Remote) -> None:
    expected = [(n, noise(3000, n)) for n in range(300)]
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, *((ADD, row) for row in expected))
        a.push()
        with replica(tmp_path / "b.db", remote, partial_sync_experimental=_beginning()) as b:
            for n in range(0, 300, 7):
                write(a, ("UPDATE note SET text = 'changed' WHERE id = ?", (n,)))
                a.push()
            assert rows(b, ALL) == expected


def test_it_pulls_before_it_has_all(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, *((ADD, (n, noise(3000, n))) for n in range(300)))
        a.push()
        with replica(tmp_path / "b.db", remote, partial_sync_experimental=_beginning()) as b:
            for n in range(0, 300, 7):
                write(a, ("UPDATE note SET text = 'changed' WHERE id = ?", (n,)))
            a.push()
            b.pull()
            assert rows(b, ALL) == rows(a, ALL)
            write(b, (ADD, (300, "of b")))
            b.push()
        a.pull()
        assert rows(a, "SELECT text FROM note WHERE id = 300") == [("of b",)]


def _beginning() -> PartialSyncOpts:
    return PartialSyncOpts(bootstrap_strategy=PartialSyncPrefixBootstrap(length=128 * 1024), prefetch=True)


async def test_an_agent_of_the_sdk_is_the_same_on_the_other_side(tmp_path: Path, remote: Remote) -> None:
    content = noise(100_000, 3)
    async with turso.aio.sync.connect(str(tmp_path / "a.db"), remote.url, auth_token=remote.token) as database:
        agent = await AgentFS.open_with(database)
        await agent.fs.write_file("/notes/first.bin", content)
        await agent.kv.set("mood", {"good": True})
        await agent.tools.record("search", 1, 2, {"q": "x"}, {"found": 1})
        await database.push()
        await agent.fs.write_file("/notes/second.txt", b"more")
        await agent.fs.delete_file("/notes/first.bin")
        await database.push()
    async with turso.aio.sync.connect(str(tmp_path / "b.db"), remote.url, auth_token=remote.token) as database:
        agent = await AgentFS.open_with(database)
        assert await agent.fs.readdir("/notes") == ["second.txt"]
        assert await agent.fs.read_file("/notes/second.txt", "utf-8") == "more"
        assert await agent.kv.get("mood") == {"good": True}
        assert [call.name for call in await agent.tools.get_recent(0)] == ["search"]


def test_columns_and_indexes_that_are_added_travel(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a, replica(tmp_path / "b.db", remote) as b:
        write(a, TABLE, (ADD, (1, "x")))
        a.push()
        b.pull()
        write(a, "ALTER TABLE note ADD COLUMN mood TEXT")
        write(a, "CREATE INDEX by_mood ON note (mood)", "UPDATE note SET mood = 'good'")
        a.push()
        b.pull()
        write(b, "INSERT INTO note VALUES (2, 'y', 'bad')")
        b.push()
        a.pull()
        assert rows(a, "SELECT id, mood FROM note ORDER BY id") == [(1, "good"), (2, "bad")]


def test_pushes_at_the_same_time_all_arrive(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "first.db", remote) as first:
        write(first, TABLE)
        first.push()

    def push(person: int) -> None:
        with replica(tmp_path / f"{person}.db", remote) as mine:
            for n in range(5):
                write(mine, (ADD, (person * 100 + n, noise(3000, n))))
                mine.push()

    with ThreadPoolExecutor(4) as people:
        list(people.map(push, range(4)))
    with replica(tmp_path / "last.db", remote) as last:
        assert [key for key, _ in rows(last, ALL)] == [person * 100 + n for person in range(4) for n in range(5)]
        assert rows(last, "PRAGMA integrity_check") == [("ok",)]


def test_nothing_is_pushed_twice(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a, replica(tmp_path / "b.db", remote) as b:
        write(a, "CREATE TABLE log (text)", "INSERT INTO log VALUES ('once')")
        a.push()
        a.push()
        a.pull()
        a.push()
        b.pull()
        assert rows(b, "SELECT text FROM log") == [("once",)]


def test_the_file_of_the_remote_is_an_ordinary_database(tmp_path: Path, remote: Remote) -> None:
    with replica(tmp_path / "a.db", remote) as a:
        write(a, TABLE, (ADD, (1, "x")))
        a.push()
    if remote.token is None:
        pytest.skip("the file of the reference is not for other programs")
    with closing(sqlite3.connect(tmp_path / "team.db")) as database:
        assert database.execute(ALL).fetchall() == [(1, "x")]
