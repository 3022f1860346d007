"""Reading the catalogue: accounts and how fresh they are, models now and at a date, changes; and what was tried."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from trueup.core.model import Record
from trueup.stores.catalogue.changes import REMOVED
from trueup.stores.catalogue.database import reading, writing

EXPIRED_AFTER = 6
"""A list is expired when it is older than so many of the times for which it counts as fresh."""


class Freshness(StrEnum):
    """How much a list can be believed."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"
    NEVER = "never"
    """There was no complete list yet."""


@dataclass(frozen=True, slots=True)
class AccountState:
    """What is remembered of an account."""

    account: str
    provider: str
    base_url: str = ""
    attempt_ns: int = 0
    success_ns: int | None = None
    """When its last complete list came."""
    failing_ns: int | None = None
    """Since when all attempts have failed; None: the last one did not."""
    error: str = ""

    def freshness(self, now_ns: int, fresh_seconds: float) -> Freshness:
        """How old its list is. A clock that was set back makes nothing fresh."""
        if self.success_ns is None:
            return Freshness.NEVER
        age = (now_ns - self.success_ns) / 1e9
        if 0 <= age < fresh_seconds:
            return Freshness.FRESH
        return Freshness.STALE if 0 <= age < EXPIRED_AFTER * fresh_seconds else Freshness.EXPIRED


@dataclass(frozen=True, slots=True)
class Model:
    """A model as it is, or was, recorded."""

    account: str
    id: str
    state: str
    record: Record
    at_ns: int = 0
    """When this version was recorded; 0: it is the present one."""

    @property
    def provider(self) -> str:
        """Who lists it."""
        return self.account.partition("@")[0]

    @property
    def facts(self) -> dict[str, Any]:
        """Values by name; what is not known is not there."""
        return {name: fact["value"] for name, fact in self.record.fields["facts"].items()}


@dataclass(frozen=True, slots=True)
class Logged:
    """One change, as it was logged."""

    n: int
    at_ns: int
    account: str
    id: str
    kind: str
    fact: str
    old: Any
    new: Any
    detail: dict[str, float]

    @property
    def provider(self) -> str:
        """Who lists the model."""
        return self.account.partition("@")[0]


@dataclass(frozen=True, slots=True)
class DataPackage:
    """A data package that has told of models."""

    name: str
    version: str
    as_of: str
    """The latest date in its data, an ISO date; empty: it holds none."""
    at_ns: int
    """When it was last asked."""

    def is_source(self, source: str) -> bool:
        """Whether a fact of this source is from here; after a slash stands whose model it is elsewhere."""
        return source.partition("/")[0] == self.name


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of asking an account."""

    account: str
    base_url: str
    models: int | None
    """How many it lists; None: there is no list."""
    error: str = ""


class Library:
    """The catalogue, for reading. All methods block, and raise StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def accounts(self) -> list[AccountState]:
        """Every account that was ever asked, by provider; of one provider, the latest success first."""
        with reading(self._path) as connection:
            rows = (
                []
                if connection is None
                else connection.execute(
                    "SELECT account, provider, base_url, attempt_ns, success_ns, failing_ns, error FROM accounts"
                    " ORDER BY provider, coalesce(success_ns, 0) DESC, attempt_ns DESC"
                ).fetchall()
            )
        return [AccountState(*row) for row in rows]

    def models(self, accounts: Collection[str] | None = None, *, removed: bool = False) -> list[Model]:
        """The models of some accounts, or of all, by account and id."""
        with reading(self._path) as connection:
            rows = (
                []
                if connection is None
                else connection.execute("SELECT account, id, state, record FROM models ORDER BY account, id").fetchall()
            )
        found = (Model(account, model, state, Record(text)) for account, model, state, text in rows)
        return [
            model
            for model in found
            if (accounts is None or model.account in accounts) and (removed or model.state != REMOVED)
        ]

    def at(self, ns: int, accounts: Collection[str] | None = None) -> list[Model]:
        """The models as they were recorded at a moment."""
        with reading(self._path) as connection:
            rows = (
                []
                if connection is None
                else connection.execute(
                    "SELECT account, id, state, record, at_ns FROM versions WHERE n IN"
                    " (SELECT max(n) FROM versions WHERE at_ns <= ? GROUP BY account, id) ORDER BY account, id",
                    (ns,),
                ).fetchall()
            )
        found = (Model(account, model, state, Record(text), at) for account, model, state, text, at in rows)
        return [m for m in found if m.state != REMOVED and (accounts is None or m.account in accounts)]

    def changes(self, *, after_ns: int = 0, until_ns: int | None = None, after_n: int = 0) -> list[Logged]:
        """Changes in the order in which they were logged."""
        with reading(self._path) as connection:
            rows = (
                []
                if connection is None
                else connection.execute(
                    "SELECT n, at_ns, account, id, kind, fact, old, new, detail FROM changes"
                    " WHERE at_ns > ? AND at_ns <= ? AND n > ? ORDER BY n",
                    (after_ns, until_ns if until_ns is not None else 2**62, after_n),
                ).fetchall()
            )
        return [Logged(*row[:6], *map(json.loads, row[6:])) for row in rows]

    def last_change(self) -> int:
        """The number of the latest change; 0 if there is none."""
        with reading(self._path) as connection:
            return 0 if connection is None else _number(connection, "SELECT coalesce(max(n), 0) FROM changes")

    def packages(self) -> list[DataPackage]:
        """The data packages that were ever asked, as they were the last time, by name."""
        with reading(self._path) as connection:
            if connection is None:
                return []
            rows = connection.execute("SELECT name, version, as_of, at_ns FROM packages ORDER BY name").fetchall()
        return [DataPackage(*row) for row in rows]

    # -- what was tried ------------------------------------------------------------------------------------------

    def attempted(self, attempts: Iterable[Attempt], packages: Iterable[DataPackage], at_ns: int) -> None:
        """Remember attempts, and which data packages told more. Only one without an error is a success."""
        with writing(self._path) as connection:
            for attempt in attempts:
                _attempted(connection, attempt, at_ns)
            connection.executemany(
                "INSERT OR REPLACE INTO packages (name, version, as_of, at_ns) VALUES (?, ?, ?, ?)",
                [(one.name, one.version, one.as_of, one.at_ns) for one in packages],
            )

    # -- alerts that were delivered ------------------------------------------------------------------------------

    def undelivered(self, alert: str, about: Iterable[str]) -> list[str]:
        """Those that were not delivered yet, in their order."""
        about = list(about)
        with reading(self._path) as connection:
            if connection is None:
                return about
            done = {row[0] for row in connection.execute("SELECT about FROM alerts WHERE alert = ?", (alert,))}
        return [one for one in about if one not in done]

    def delivered(self, alert: str, about: Iterable[str], at_ns: int) -> None:
        """Remember that these were delivered."""
        with writing(self._path) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO alerts VALUES (?, ?, ?)", [(alert, one, at_ns) for one in about]
            )


def _attempted(connection: sqlite3.Connection, attempt: Attempt, at_ns: int) -> None:
    account, error = attempt.account, attempt.error
    connection.execute(
        "INSERT INTO attempts (account, at_ns, models, error) VALUES (?, ?, ?, ?)",
        (account, at_ns, attempt.models, error),
    )
    connection.execute(
        "INSERT INTO accounts (account, provider, base_url, attempt_ns) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account) DO UPDATE SET attempt_ns = excluded.attempt_ns",
        (account, account.partition("@")[0], attempt.base_url, at_ns),
    )
    if error:
        connection.execute(
            "UPDATE accounts SET error = ?, failing_ns = coalesce(failing_ns, ?) WHERE account = ?",
            (error, at_ns, account),
        )
    else:
        connection.execute(
            "UPDATE accounts SET error = '', failing_ns = NULL, success_ns = ? WHERE account = ?", (at_ns, account)
        )


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
