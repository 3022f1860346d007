"""The registry's tables, as MAPLE makes them. Source: ``maple/state/store.py`` of maple-robotics 0.0.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trueup.core.errors import StoreError
from trueup.core.model import Key

CREATE = """
CREATE TABLE IF NOT EXISTS policies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    image TEXT NOT NULL,
    version TEXT NOT NULL,
    path TEXT NOT NULL,
    repo TEXT,
    pulled_at REAL NOT NULL,
    UNIQUE(name, version)
);
CREATE TABLE IF NOT EXISTS envs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,
    pulled_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    backend TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    status TEXT NOT NULL,
    started_at REAL NOT NULL,
    metadata TEXT
);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    policy_id TEXT NOT NULL,
    env_id TEXT NOT NULL,
    task TEXT NOT NULL,
    instruction TEXT,
    started_at REAL NOT NULL,
    finished_at REAL,
    steps INTEGER,
    total_reward REAL,
    success INTEGER,
    terminated INTEGER,
    truncated INTEGER,
    video_path TEXT,
    metadata TEXT
);
CREATE INDEX IF NOT EXISTS idx_containers_type ON containers(type);
CREATE INDEX IF NOT EXISTS idx_containers_status ON containers(status);
CREATE INDEX IF NOT EXISTS idx_runs_policy ON runs(policy_id);
CREATE INDEX IF NOT EXISTS idx_runs_task ON runs(task);
"""

COLUMNS = MappingProxyType(
    {
        "policies": frozenset({"id", "name", "image", "version", "path", "repo", "pulled_at"}),
        "envs": frozenset({"id", "name", "image", "pulled_at"}),
        "containers": frozenset({"id", "type", "name", "backend", "host", "port", "status"}),
    }
)
"""Columns without which a table is not the one that we know. It may have more: a record then has them too."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is kept in agreement, and how its rows are named."""

    name: str
    naming: tuple[str, ...]
    """The columns that make the key, in order, joined by a colon."""

    def key(self, fields: Mapping[str, Any]) -> Key:
        """``NAME:VERSION`` of a policy, ``NAME`` of an environment."""
        return Key(":".join(str(fields[column]) for column in self.naming))

    def ways(self, key: Key) -> list[tuple[str, ...]]:
        """All values of the naming columns that make this key: there are several where a name holds a colon."""
        if len(self.naming) == 1:
            return [(key,)]
        return [(key[:at], key[at + 1 :]) for at, letter in enumerate(key) if letter == ":"] or [(key, "")]

    def named(self, key: Key) -> dict[str, str]:
        """The naming columns' values, as MAPLE takes a name apart: at the first colon.

        Raises:
            StoreError: If the key does not name a row of this table.
        """
        values = key.split(":", len(self.naming) - 1)
        if len(values) != len(self.naming):
            raise StoreError(f"{key} is not of the form NAME:VERSION")
        return dict(zip(self.naming, values, strict=True))


TABLES: Mapping[str, Table] = MappingProxyType(
    {"policies": Table("policies", ("name", "version")), "envs": Table("envs", ("name",))}
)
