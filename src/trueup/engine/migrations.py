"""The state database, step by step. A step is never changed once it has been released; a new one is appended."""

from __future__ import annotations

STEPS = (
    """
    CREATE TABLE targets (
        n INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        locations TEXT NOT NULL,
        markers TEXT NOT NULL DEFAULT '{}'
    );
    CREATE TABLE ancestors (
        target INTEGER NOT NULL,
        key BLOB NOT NULL,
        local TEXT NOT NULL,
        remote TEXT NOT NULL,
        content TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (target, key)
    ) WITHOUT ROWID;
    CREATE TABLE damaged_ancestors (target INTEGER NOT NULL, key BLOB, local, remote, content, checksum);
    CREATE TABLE digests (
        target INTEGER NOT NULL,
        side TEXT NOT NULL,
        key BLOB NOT NULL,
        token TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        PRIMARY KEY (target, side, key)
    ) WITHOUT ROWID;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        target INTEGER NOT NULL,
        command TEXT NOT NULL,
        started_ns INTEGER NOT NULL,
        finished_ns INTEGER,
        state TEXT NOT NULL,
        plan TEXT NOT NULL,
        undoes TEXT
    );
    CREATE INDEX runs_by_target ON runs (target, started_ns);
    CREATE TABLE items (
        run TEXT NOT NULL,
        n INTEGER NOT NULL,
        item TEXT NOT NULL,
        outcomes TEXT,
        PRIMARY KEY (run, n)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
    """,
)
