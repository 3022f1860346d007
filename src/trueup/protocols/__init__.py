"""What a store can do: one small protocol per ability.

A function asks for the least that it needs; a store implements what it can and says so in its `Properties`. Stores
raise the errors of `trueup.core.errors` and nothing else, and they never decide: a write names the version that it
expects, and a store that finds another one raises `PreconditionFailed` and has changed nothing.
"""

from __future__ import annotations

from trueup.protocols.abilities import Keeps, Marked, Observe, Read, Store, Write
from trueup.protocols.ambient import Clock, Filter, Threads
from trueup.protocols.batches import carry_out, in_turn, one_by_one
from trueup.protocols.values import (
    VERBS,
    Access,
    Discarded,
    Effect,
    Headers,
    Move,
    Opening,
    Properties,
    Put,
    Remove,
    Source,
    Trash,
    Written,
    document,
)

__all__ = [
    "VERBS",
    "Access",
    "Clock",
    "Discarded",
    "Effect",
    "Filter",
    "Headers",
    "Keeps",
    "Marked",
    "Move",
    "Observe",
    "Opening",
    "Properties",
    "Put",
    "Read",
    "Remove",
    "Source",
    "Store",
    "Threads",
    "Trash",
    "Write",
    "Written",
    "carry_out",
    "document",
    "in_turn",
    "one_by_one",
]
