"""A large agent: agent_large.py make FILE FILES, or agent_large.py edit FILE NAME."""

import os
import random
import sqlite3
import sys
import time
from contextlib import closing

from trueup.stores.agentfs.schema import CHUNK_BYTES, beginning

CHUNKS = 64
"""Of each file: 256 KiB."""
FOLDERS = 64


def make(path: str, files: int) -> None:
    """As the SDK leaves it, in one transaction."""
    dice, then = random.Random(1), int(time.time()) - 3600
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for statement in beginning(then):
            db.execute(*statement)
        folders = [_add(db, 1, f"d{n}", 0o040755, 0, then) for n in range(FOLDERS)]
        for n in range(files):
            ino = _add(db, folders[n % FOLDERS], f"f{n}.bin", 0o100644, CHUNKS * CHUNK_BYTES, then)
            rows = ((ino, index, dice.randbytes(CHUNK_BYTES)) for index in range(CHUNKS))
            db.executemany("INSERT INTO fs_data VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def edit(path: str, name: str) -> None:
    """One file at the root has new content, of 3,000 bytes."""
    now = int(time.time())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        row = db.execute("SELECT ino FROM fs_dentry WHERE parent_ino = 1 AND name = ?", (name,)).fetchone()
        ino = row[0] if row else _add(db, 1, name, 0o100644, 3000, now)
        db.execute("DELETE FROM fs_data WHERE ino = ?", (ino,))
        db.execute("INSERT INTO fs_data VALUES (?, 0, ?)", (ino, os.urandom(3000)))
        db.execute("UPDATE fs_inode SET mtime = ? WHERE ino = ?", (now, ino))
        db.execute("COMMIT")


def _add(db: sqlite3.Connection, parent: int, name: str, mode: int, size: int, now: int) -> int:
    values = (mode, size, now, now, now)
    query = "INSERT INTO fs_inode (mode, nlink, size, atime, mtime, ctime) VALUES (?, 1, ?, ?, ?, ?)"
    ino = db.execute(query, values).lastrowid
    db.execute("INSERT INTO fs_dentry (name, parent_ino, ino) VALUES (?, ?, ?)", (name, parent, ino))
    assert ino is not None
    return ino


def main() -> None:
    verb, path, rest = sys.argv[1:]
    if verb == "make":
        make(path, int(rest))
    else:
        edit(path, rest)


main()
