"""The catalogue as sides of a target: what is recorded, and what of it the last complete lists held."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from trueup.core.errors import PreconditionFailed
from trueup.core.model import Key, Record, Row
from trueup.protocols import Opening
from trueup.stores.catalogue.changes import ACTIVE, MISSING, REMOVED, aliases, differences
from trueup.stores.catalogue.database import reading, writing
from trueup.stores.catalogue.keys import key_of, parts_of
from trueup.stores.records import Change, Inventory, RecordStore, record_row, version


class CatalogueStore(RecordStore):
    """The catalogue as a side. What is removed from it keeps its history, and is no longer shown.

    Args:
        path: The database; it need not be there yet.
        opening: Clock, threads, memory.
        accounts: The accounts that belong; None: all.
    """

    def __init__(self, path: Path, opening: Opening, accounts: Collection[str] | None = None) -> None:
        super().__init__(str(path), opening)
        self._path = path
        self._accounts = accounts

    def read(self) -> Mapping[Key, Record]:
        """As `RecordStore`."""
        return self.listed((ACTIVE, MISSING))

    def listed(self, states: Sequence[str]) -> Mapping[Key, Record]:
        """The records of models in some states. Blocks, and raises StoreError."""
        with reading(self._path) as connection:
            rows = [] if connection is None else connection.execute("SELECT account, id, state, record FROM models")
            return {
                key_of(account, model): Record(text)
                for account, model, state, text in rows
                if state in states and (self._accounts is None or account in self._accounts)
            }

    def change(self, changes: Sequence[Change]) -> None:
        """As `RecordStore`; each change is told apart by kind, and added to the log."""
        if not changes:
            return
        at_ns = self._clock.now_ns()
        with writing(self._path) as connection:
            for change in changes:
                _change(connection, change, at_ns)


class LastListing(Inventory):
    """What the last complete lists held, as a side: the models of the catalogue that are not missing."""

    def __init__(self, catalogue: CatalogueStore, opening: Opening) -> None:
        super().__init__(f"{catalogue.properties.location}#last", opening)
        self._catalogue = catalogue

    def rows(self) -> Iterable[Row]:
        """As `Inventory`."""
        return [record_row(key, record) for key, record in self._catalogue.listed((ACTIVE,)).items()]


def _change(connection: sqlite3.Connection, change: Change, at_ns: int) -> None:
    account, model = parts_of(change.key)
    row = connection.execute(
        "SELECT state, record FROM models WHERE account = ? AND id = ?", (account, model)
    ).fetchone()
    old = Record(row[1]) if row is not None and row[0] != REMOVED else None
    if (None if old is None else version(old)) != change.expect:
        raise PreconditionFailed(f"{change.key} is recorded otherwise by now")
    last = Record(row[1]) if row is not None else None
    kept = change.record or last
    if kept is None:
        return
    owners = dict(connection.execute("SELECT alias, id FROM aliases WHERE account = ?", (account,)).fetchall())
    found = list(differences(old, change.record, known=row is not None, owners=owners, model=model))
    state = REMOVED if change.record is None else str(change.record.fields["state"])
    values = (account, model, state, kept.document)
    connection.execute("INSERT OR REPLACE INTO models (account, id, state, record) VALUES (?, ?, ?, ?)", values)
    connection.execute(
        "INSERT INTO versions (at_ns, account, id, state, record) VALUES (?, ?, ?, ?, ?)", (at_ns, *values)
    )
    connection.executemany(
        "INSERT INTO changes (at_ns, account, id, kind, fact, old, new, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (at_ns, account, model, one.kind.value, one.fact, *map(json.dumps, (one.old, one.new, dict(one.detail))))
            for one in found
        ],
    )
    if change.record is not None:
        connection.executemany(
            "INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)",
            [(account, alias, model) for alias in aliases(change.record.fields)],
        )
