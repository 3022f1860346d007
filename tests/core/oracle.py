"""The decision for one key a second time: a lookup in three small tables, and an executor to try decisions on.

Nothing here is shared with `trueup.core`: where the two disagree, one of them misreads the specification.

A step is a tuple: ``("save", side, text)``, ``("sibling", side, text)``, ``("put", side, new, expected)`` or
``("ancestor", text)``. Content is a string; None is absent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

Text = str | None
Step = tuple[str, ...] | tuple[str | None, ...]

DIRECTIONS = ("bidirectional", "pull", "push")
"""In the order of the columns below."""
STRATEGIES = ("remote_wins", "local_wins", "newest_wins", "manual", "backup_both")
DELETES = ("restore", "propagate", "report")
NEWEST = ("local", "remote", "tie")

# A cell reads "outcome" (report only) or "outcome>side that is written".
_ONE_SIDED = {
    ("A", "-"): ("create>remote", "only_local", "create>remote"),
    ("-", "A"): ("create>local", "create>local", "only_remote"),
    ("M", "D"): ("edit_beats_delete>remote", "kept_local", "edit_beats_delete>remote"),
    ("D", "M"): ("edit_beats_delete>local", "edit_beats_delete>local", "kept_remote"),
    ("M", "U"): ("update>remote", "contest", "update>remote"),
    ("U", "M"): ("update>local", "update>local", "contest"),
    ("A", "A"): ("contest", "contest", "contest"),
    ("M", "M"): ("contest", "contest", "contest"),
}
_DELETED = {
    ("U", "D", "propagate"): ("delete>local", "delete>local", "restore>remote"),
    ("U", "D", "restore"): ("restore>remote", "missing_remote", "restore>remote"),
    ("U", "D", "report"): ("missing_remote", "missing_remote", "missing_remote"),
    ("D", "U", "propagate"): ("delete>remote", "restore>local", "delete>remote"),
    ("D", "U", "restore"): ("restore>local", "restore>local", "missing_local"),
    ("D", "U", "report"): ("missing_local", "missing_local", "missing_local"),
}
_CONTEST = {
    "remote_wins": ("remote_wins>local", "remote_wins>local", "kept_local"),
    "local_wins": ("local_wins>remote", "kept_remote", "local_wins>remote"),
    "manual": ("conflict", "conflict", "conflict"),
    "backup_both": ("keep_both>local", "keep_both>local", "keep_both>remote"),
}


class Options(NamedTuple):
    """One choice on every axis."""

    direction: str
    strategy: str
    deletes: str
    newest: str

    def mirrored(self) -> Options:
        """The same wishes with the sides swapped."""
        swap = {"pull": "push", "remote_wins": "local_wins", "local": "remote"}
        swap |= {new: old for old, new in swap.items()}
        return Options(*(swap.get(choice, choice) for choice in self))


class Case(NamedTuple):
    """What there is, and what is wanted."""

    local: Text
    remote: Text
    ancestor: Text
    options: Options


def cases() -> Iterator[Case]:
    """Every case over three contents."""
    texts = (None, "a", "b", "c")
    for local, remote, ancestor in itertools.product(texts, texts, (None, "a")):
        for options in itertools.product(DIRECTIONS, STRATEGIES, DELETES, NEWEST):
            yield Case(local, remote, ancestor, Options(*options))


def verdict(case: Case) -> tuple[str, list[Step]]:
    """The outcome and the steps that the specification calls for."""
    local, remote, ancestor, options = case
    if local == remote:
        return ("agree", []) if local == ancestor else ("adopt", [("ancestor", local)])
    cell = _cell(_since(local, ancestor), _since(remote, ancestor), options)
    outcome, _, written = cell.partition(">")
    return outcome, _steps(outcome, written, case) if written else []


def _since(now: Text, before: Text) -> str:
    if before is None:
        return "-" if now is None else "A"
    return "D" if now is None else "U" if now == before else "M"


def _cell(local: str, remote: str, options: Options) -> str:
    column = DIRECTIONS.index(options.direction)
    row = _ONE_SIDED.get((local, remote)) or _DELETED[local, remote, options.deletes]
    if row[column] != "contest":
        return row[column]
    strategy = options.strategy
    if strategy == "newest_wins":
        strategy = "manual" if options.newest == "tie" else f"{options.newest}_wins"
    return _CONTEST[strategy][column]


def _steps(outcome: str, written: str, case: Case) -> list[Step]:
    old, new = (case.local, case.remote) if written == "local" else (case.remote, case.local)
    first: list[Step] = []
    if outcome == "keep_both":
        sides = {"pull": ["local"], "push": ["remote"]}.get(case.options.direction, ["local", "remote"])
        first = [("sibling", side, old) for side in sides]
    elif outcome in ("delete", "local_wins", "remote_wins"):
        first = [("save", written, old)]
    return [*first, ("put", written, new, old), ("ancestor", new)]


@dataclass
class Bench:
    """One key on two sides, to carry steps out on."""

    held: dict[str, Text]
    ancestor: Text
    kept: set[Text] = field(default_factory=set)

    @classmethod
    def of(cls, case: Case) -> Bench:
        """As the case finds it."""
        return cls({"local": case.local, "remote": case.remote}, case.ancestor)

    @property
    def versions(self) -> set[Text]:
        """All contents that exist anywhere."""
        return {self.held["local"], self.held["remote"], *self.kept} - {None}

    @property
    def state(self) -> tuple[Text, Text, Text]:
        """Local, remote, ancestor."""
        return self.held["local"], self.held["remote"], self.ancestor

    def do(self, step: Step) -> bool:
        """Carry one step out; False if somebody else's version was there."""
        match step:
            case ("ancestor", text):
                self.ancestor = text
            case ("put", str() as side, new, expected):
                if self.held[side] != expected:
                    return False
                self.held[side] = new
            case (_, _, text):
                self.kept.add(text)
            case _:
                raise ValueError(step)
        return True
