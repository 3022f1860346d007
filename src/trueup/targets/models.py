"""Model catalogues: what providers list against what is recorded of it.

Three sides: what a provider lists now, what its last complete list held, and the catalogue. A model that is not listed
is absent now; whether it was in the last list tells the first time from the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from trueup.core.audit import Method
from trueup.core.check import Limits
from trueup.core.model import Entry, Key, Record, Recorded, Row, Shown, Side
from trueup.core.plan import Target
from trueup.core.table import Act, Rule, Table, Verb

KIND = "models"
PROVIDER, LAST, CATALOGUE = Side("provider"), Side("last"), Side("catalogue")

SHRINK_SHARE = 0.3
"""More of a list than this does not vanish at once by itself."""


class Guard(StrEnum):
    """The value of ``--allow`` of ``sync models``."""

    SHRINK = "shrink"
    EMPTY = "empty"


class Source(StrEnum):
    """Data packages that tell of models what providers do not, by the names of their packages."""

    GENAI_PRICES = "genai-prices"


@dataclass(frozen=True, slots=True)
class Models:
    """One target of kind ``models``: the answers of some accounts, and the catalogue."""

    name: str = KIND
    catalogue: str = ""
    """Path of the database; empty: in the state directory."""
    accounts: frozenset[str] | None = frozenset()
    """The accounts that answered; None: all, of which nothing is asked."""
    rows: tuple[Row, ...] = ()
    """What they listed, and what about them is unknown."""
    at: str = ""
    """When they were asked, an ISO date with time and zone."""
    limits: Limits = field(default_factory=Limits)

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target: which catalogue."""
        canonical = "\0".join((KIND, locations[CATALOGUE]))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, KIND, dict(locations))


_ADD = Rule("added", (Act(Verb.RECORD_ADD, CATALOGUE, PROVIDER),), why="listed, and not in the catalogue")
_CHANGE = Rule("changed", (Act(Verb.RECORD_CHANGE, CATALOGUE, PROVIDER),), why="listed otherwise than recorded")
_BACK = Rule("reactivated", (Act(Verb.RECORD_CHANGE, CATALOGUE, PROVIDER),), why="it was missing, and is listed again")
_MISSING = Rule("missing", (Act(Verb.RECORD_CHANGE, CATALOGUE),), why="absent from a complete list")
_REMOVE = Rule("removed", (Act(Verb.RECORD_REMOVE, CATALOGUE),), why="absent from two complete lists")
_AGREE = Rule("agree")

TABLE = Table(
    (PROVIDER, LAST, CATALOGUE),
    {
        "aaa": _AGREE,
        "aab": _CHANGE,
        "aba": _AGREE,
        "abb": _CHANGE,
        "abc": _CHANGE,
        "a-a": _BACK,
        "a-b": _BACK,
        "a--": _ADD,
        "aa-": _ADD,
        "ab-": _ADD,
        "-aa": _MISSING,
        "-ab": _MISSING,
        "--a": _REMOVE,
        "-a-": _AGREE,
    },
)
"""What is to be done for each model. Nothing but the catalogue is ever written."""


def method(at: str) -> Method:
    """How the sides are compared, and what is recorded.

    Args:
        at: The date of facts that are new.
    """

    def record(_: Key, seen: Mapping[Side, Shown], act: Act) -> Record:
        old = seen.get(CATALOGUE)
        before = old.record.fields if isinstance(old, Recorded) else None
        listed = seen.get(PROVIDER)
        if act.source is None or not isinstance(listed, Recorded):
            return Record.of((before or {}) | {"state": "missing", "since": at})
        return merged(before, listed.record.fields, at)

    return Method(TABLE, _identity, record)


def merged(before: Mapping[str, object] | None, listed: Mapping[str, object], at: str) -> Record:
    """What is recorded of a listed model: a fact that did not change keeps its date.

    Args:
        before: The fields of its record; None if it has none.
        listed: ``id``, ``hash``, ``raw``, ``conflicts``, and ``facts`` as value and source.
        at: The date of facts that are new.
    """
    known = before["facts"] if before is not None else {}
    facts = listed["facts"]
    if not isinstance(known, Mapping) or not isinstance(facts, Mapping):
        raise TypeError("facts are objects")
    dated = {
        name: known[name]
        if name in known and {**known[name], "date": ""} == {**fact, "date": ""}
        else {**fact, "date": at[:10]}
        for name, fact in facts.items()
    }
    state = {"state": "active", "since": at}
    if before is not None and before["state"] == "active":
        state["since"] = str(before["since"])
    return Record.of({**listed, "facts": dated, **state})


def _identity(_: Side, shown: Entry | Recorded) -> Hashable:
    """The canonical content decides what changed; a record that is no model's is nothing that is listed."""
    return _hash(shown.record) if isinstance(shown, Recorded) else shown.token


@lru_cache(maxsize=1)
def _hash(record: Record) -> str:
    """Of two sides that show one record, one after the other, it is read once."""
    return str(record.fields["hash"])


def vanished(*, recorded: int, known: int, gone: int, listed: int) -> Guard | None:
    """The guard that stops a list from making models missing.

    Args:
        recorded: How many models the catalogue holds.
        known: How many of them the last complete list held.
        gone: How many of those the list does not hold.
        listed: How many it holds.
    """
    if not listed and recorded:
        return Guard.EMPTY
    return Guard.SHRINK if gone > SHRINK_SHARE * known else None
