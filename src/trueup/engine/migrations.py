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
    """
    CREATE TABLE served_runs (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        target TEXT NOT NULL,
        state TEXT NOT NULL,
        who TEXT NOT NULL,
        asked TEXT NOT NULL,
        plan TEXT,
        history TEXT,
        error TEXT,
        result TEXT,
        created_ns INTEGER NOT NULL,
        changed_ns INTEGER NOT NULL
    );
    CREATE INDEX served_runs_by_target ON served_runs (target, n);
    CREATE TABLE served_events (
        run TEXT NOT NULL,
        n INTEGER NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (run, n)
    ) WITHOUT ROWID;
    CREATE TABLE served_plans (
        id TEXT PRIMARY KEY,
        target TEXT NOT NULL,
        digest TEXT NOT NULL,
        made_ns INTEGER NOT NULL,
        whole INTEGER NOT NULL,
        header TEXT NOT NULL,
        summary TEXT NOT NULL,
        selection TEXT NOT NULL
    );
    CREATE INDEX served_plans_by_target ON served_plans (target, made_ns);
    CREATE TABLE served_items (
        plan TEXT NOT NULL,
        n INTEGER NOT NULL,
        key TEXT NOT NULL,
        reason TEXT NOT NULL,
        standing TEXT NOT NULL,
        change INTEGER NOT NULL,
        item TEXT NOT NULL,
        PRIMARY KEY (plan, n)
    ) WITHOUT ROWID;
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        scopes TEXT NOT NULL,
        created_ns INTEGER NOT NULL,
        expires_ns INTEGER
    );
    CREATE TABLE answers (
        name TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        status INTEGER,
        headers TEXT,
        body BLOB,
        at_ns INTEGER NOT NULL
    );
    CREATE TABLE told (
        place TEXT NOT NULL,
        target TEXT NOT NULL,
        standing TEXT NOT NULL,
        PRIMARY KEY (place, target)
    ) WITHOUT ROWID;
    CREATE TABLE schedules (
        name TEXT PRIMARY KEY,
        target TEXT NOT NULL,
        cron TEXT NOT NULL,
        zone TEXT NOT NULL,
        jitter_seconds INTEGER NOT NULL,
        apply INTEGER NOT NULL,
        created_ns INTEGER NOT NULL,
        last_ns INTEGER,
        last_run TEXT,
        skipped TEXT
    );
    """,
)
