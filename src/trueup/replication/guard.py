"""Which SQL a client of a remote may run."""

from __future__ import annotations

import sqlite3
from typing import Final

READABLE_PRAGMAS: Final = frozenset(
    {
        "application_id", "collation_list", "data_version", "encoding", "foreign_key_check", "foreign_key_list",
        "freelist_count", "function_list", "index_info", "index_list", "index_xinfo", "integrity_check", "page_count",
        "page_size", "quick_check", "schema_version", "table_info", "table_list", "table_xinfo", "user_version",
    }
)  # fmt: skip
"""What may be asked. Everything else changes how the connection, which all clients share, writes."""

_TAKES_NAME: Final = frozenset(
    name for name in READABLE_PRAGMAS if name.endswith(("_info", "_xinfo", "_list", "_check"))
)
"""Their argument says what to look at; an argument of another one would set it."""

_VIRTUAL: Final = frozenset({"fts3", "fts4", "fts5", "rtree", "geopoly"})
"""Kinds of virtual table that live in the database. Others reach beyond it, or write pages behind its back."""

_DENIED: Final = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        # What is temporary belongs to the connection: the next client would see it. An index needs such a table.
        sqlite3.SQLITE_CREATE_TEMP_TABLE,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    }
)

_TABLES: Final = frozenset({sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})


def authorize(action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    """An authorizer of SQLite, for `sqlite3.Connection.set_authorizer`.

    VACUUM attaches a database behind the scenes, and so is denied too.
    Source: https://www.sqlite.org/c3ref/c_alter_table.html for what the arguments are.
    """
    return sqlite3.SQLITE_OK if _allowed(action, (first or "").lower(), second) else sqlite3.SQLITE_DENY


def _allowed(action: int, first: str, second: str | None) -> bool:
    if action in _DENIED:
        return False
    if action == sqlite3.SQLITE_PRAGMA:
        return first in READABLE_PRAGMAS and (second is None or first in _TAKES_NAME)
    if action == sqlite3.SQLITE_FUNCTION:
        return (second or "").lower() != "load_extension"
    if action == sqlite3.SQLITE_CREATE_VTABLE:
        return (second or "").lower() in _VIRTUAL
    if action in _TABLES:
        return first != "sqlite_dbpage"
    return True
