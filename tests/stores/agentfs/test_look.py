"""What an item is, in rows of the database."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.targets.agent_world import Nothing, Replica

from trueup.stores.agentfs import look


def test_rows_are_counted_as_sqlite_counts_them(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "one", "")
    replica.sql(
        ("INSERT INTO fs_inode (ino, mode, nlink, size, atime, mtime, ctime) VALUES (8, 33188, 2, 9000, 9, 9, 9)", ()),
        ("INSERT INTO fs_inode (ino, mode, nlink, size, atime, mtime, ctime) VALUES (9, 41471, 1, 1, 9, 9, 9)", ()),
        ("INSERT INTO fs_inode (ino, mode, nlink, size, atime, mtime, ctime) VALUES (10, 16877, 1, 0, 9, 9, 9)", ()),
        ("INSERT INTO fs_inode (ino, mode, nlink, size, atime, mtime, ctime) VALUES (11, 33188, 1, 0, 9, 9, 9)", ()),
        ("INSERT INTO fs_symlink VALUES (9, 'a')", ()),
        *(("INSERT INTO fs_data VALUES (8, ?, zeroblob(4096))", (n,)) for n in range(3)),
        *(
            ("INSERT INTO fs_dentry (name, parent_ino, ino) VALUES (?, 1, ?)", each)
            for each in (("a", 8), ("also", 8), ("link", 9), ("work", 10), ("empty", 11))
        ),
        ("INSERT INTO kv_store (key, value) VALUES ('k', '1')", ()),
        ("INSERT INTO tool_calls (name, status, started_at) VALUES ('t', 'success', 5)", ()),
        ("INSERT INTO tool_calls (name, status, started_at) VALUES ('t', 'success', 5)", ()),
    )
    with closing(sqlite3.connect(replica.database)) as db:
        found = look.listing(db, Nothing(), now_s=0)
        tables = ("fs_inode", "fs_dentry", "fs_data", "fs_symlink", "kv_store", "tool_calls")
        counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608  # own names
    assert sum(one.rows for one in found) == sum(counts) - 1  # the root is no item
