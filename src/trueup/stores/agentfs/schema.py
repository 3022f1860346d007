"""The tables of AgentFS, specification 0.4, as its SDK makes them."""

from __future__ import annotations

import sqlite3

from trueup.core.errors import StoreError

ROOT = 1
"""The inode of the root."""
CHUNK_BYTES = 4096
DIRECTORY_MODE = 0o040755
VERSION = "0.4"

_SCRIPT = """
CREATE TABLE IF NOT EXISTS fs_config (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fs_inode (
    ino INTEGER PRIMARY KEY AUTOINCREMENT, mode INTEGER NOT NULL, nlink INTEGER NOT NULL DEFAULT 0,
    uid INTEGER NOT NULL DEFAULT 0, gid INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,
    atime INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, rdev INTEGER NOT NULL DEFAULT 0,
    atime_nsec INTEGER NOT NULL DEFAULT 0, mtime_nsec INTEGER NOT NULL DEFAULT 0,
    ctime_nsec INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS fs_dentry (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, parent_ino INTEGER NOT NULL, ino INTEGER NOT NULL,
    UNIQUE(parent_ino, name));
CREATE INDEX IF NOT EXISTS idx_fs_dentry_parent ON fs_dentry(parent_ino, name);
CREATE TABLE IF NOT EXISTS fs_data (
    ino INTEGER NOT NULL, chunk_index INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (ino, chunk_index));
CREATE TABLE IF NOT EXISTS fs_symlink (ino INTEGER PRIMARY KEY, target TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS kv_store (
    key TEXT PRIMARY KEY, value TEXT NOT NULL,
    created_at INTEGER DEFAULT (unixepoch()), updated_at INTEGER DEFAULT (unixepoch()));
CREATE INDEX IF NOT EXISTS idx_kv_store_created_at ON kv_store(created_at);
CREATE TABLE IF NOT EXISTS tool_calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, parameters TEXT, result TEXT, error TEXT,
    status TEXT NOT NULL DEFAULT 'pending', started_at INTEGER NOT NULL, completed_at INTEGER, duration_ms INTEGER);
CREATE INDEX IF NOT EXISTS idx_tool_calls_name ON tool_calls(name);
CREATE INDEX IF NOT EXISTS idx_tool_calls_started_at ON tool_calls(started_at)
"""
TABLES = tuple(statement.strip() for statement in _SCRIPT.split(";"))

NAMES = frozenset({"fs_config", "fs_inode", "fs_dentry", "fs_data", "fs_symlink", "kv_store", "tool_calls"})

Value = int | str | bytes | None
Statement = tuple[str, tuple[Value, ...]]
"""SQL, and what its question marks stand for."""


def beginning(seconds: int) -> list[Statement]:
    """What makes a database an empty AgentFS, and leaves one that is one as it is.

    Args:
        seconds: The time of the root, since the epoch.
    """
    return [
        *((sql, ()) for sql in TABLES),
        ("INSERT OR IGNORE INTO fs_config (key, value) VALUES ('chunk_size', ?)", (str(CHUNK_BYTES),)),
        ("INSERT OR IGNORE INTO fs_config (key, value) VALUES ('schema_version', ?)", (VERSION,)),
        (
            "INSERT OR IGNORE INTO fs_inode (ino, mode, nlink, atime, mtime, ctime) VALUES (?, ?, 1, ?, ?, ?)",
            (ROOT, DIRECTORY_MODE, seconds, seconds, seconds),
        ),
    ]


def is_begun(db: sqlite3.Connection, where: str) -> bool:
    """Whether the database is an AgentFS; False: it holds nothing yet.

    Raises:
        StoreError: If it is something else, or of a version that is not understood.
    """
    found = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    ours = {name for name in found if not name.startswith(("sqlite_", "turso_"))}
    if not ours & NAMES:
        if ours:
            raise StoreError(
                f"{where} is no AgentFS",
                why=f"it holds the table {min(ours)}",
                attempt="name another, or make one: trueup agent init ID",
            )
        return False
    if missing := NAMES - ours:
        raise StoreError(
            f"{where} is not a whole AgentFS",
            why=f"it has no table {min(missing)}",
            attempt="open it with the AgentFS SDK",
        )
    columns = {row[1] for row in db.execute("PRAGMA table_info(fs_inode)")}
    if not {"mtime_nsec", "rdev"} <= columns:
        raise StoreError(
            f"{where} has the tables of an older AgentFS", why="times without nanoseconds", attempt="agentfs migrate"
        )
    version = db.execute("SELECT value FROM fs_config WHERE key = 'schema_version'").fetchone()
    if version is not None and version[0] != VERSION:
        raise StoreError(
            f"{where} has the tables of AgentFS {version[0]}",
            why=f"{VERSION} is what is understood here",
            attempt="pip install --upgrade 'trueup[agents]'",
        )
    return True


def chunk_bytes(db: sqlite3.Connection) -> int:
    """How many bytes of a file are in a row."""
    row = db.execute("SELECT value FROM fs_config WHERE key = 'chunk_size'").fetchone()
    size = int(row[0]) if row is not None and str(row[0]).isdigit() else 0
    return size or CHUNK_BYTES
