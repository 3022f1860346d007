"""Decision tables over any number of named sides, declared as data.

What the sides of an item hold is written as a *word*, one letter a side in the table's order: ``-`` absent, equal
letters for equal content (numbered from ``a`` in order of first appearance), ``x`` present but damaged, ``?`` unknown.
With sides ``(manifest, local, remote)``, ``aab`` reads: the local file is as the manifest says, the remote one is
not. Over three sides there are 14 words without damage, so a table can be, and has to be, complete.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from trueup.core.model import Side

ABSENT, DAMAGED, UNKNOWN = "-", "x", "?"


class Standing(StrEnum):
    """How an item stands, besides what is to be done about it."""

    PLAIN = "plain"
    CONFLICT = "conflict"
    """It waits for a person."""
    UNKNOWN = "unknown"
    """A side could not say, or cannot hold it."""
    DAMAGED = "damaged"
    """A side holds it, and not whole."""
    UNREGISTERED = "unregistered"
    """It is there, and nothing records it."""


class Verb(StrEnum):
    """What a step does to its side."""

    PUT = "put"
    MOVE = "move"
    DELETE = "delete"
    SAVE = "save"
    SIBLING = "sibling"
    REPLACE_KIND = "replace_kind"
    RECORD_ADD = "record+"
    RECORD_CHANGE = "record~"
    RECORD_REMOVE = "record-"
    ACT = "act"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to do for one item: write ``side``, with the content that ``source`` holds."""

    verb: Verb
    side: Side
    source: Side | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The verdict of a table for one word: an enumerated reason, and what to do in order (nothing: report only)."""

    reason: str
    acts: tuple[Act, ...] = ()
    standing: Standing = Standing.PLAIN
    why: str = ""
    """In words, for people; ``{NAME}`` of a side stands for why that side is unknown or damaged."""


class Sign(Enum):
    """What stands in place of content that cannot be compared."""

    DAMAGED = DAMAGED
    UNKNOWN = UNKNOWN


def word(contents: Iterable[Hashable | Sign | None]) -> str:
    """Spell what the sides hold; None is absent, equal values are equal content."""
    letters: dict[Hashable, str] = {}
    spelled = ""
    for content in contents:
        if content is None:
            spelled += ABSENT
        elif isinstance(content, Sign):
            spelled += content.value
        else:
            spelled += letters.setdefault(content, chr(ord("a") + len(letters)))
    return spelled


def words(sides: int, *, damageable: Sequence[int] = ()) -> Iterator[str]:
    """Every word over so many sides, unknown aside, in a fixed order; at least one side present."""

    def extend(prefix: str, used: int) -> Iterator[str]:
        if len(prefix) == sides:
            if prefix.strip(ABSENT):
                yield prefix
            return
        yield from extend(prefix + ABSENT, used)
        if len(prefix) in damageable:
            yield from extend(prefix + DAMAGED, used)
        for letter in range(used + 1):
            yield from extend(prefix + chr(ord("a") + letter), max(used, letter + 1))

    return extend("", 0)


@dataclass(frozen=True, slots=True)
class Table:
    """A complete decision table: one rule for every word over its sides.

    Unknown is not declarable: a word that holds ``?`` is reported and never acted on, in every table.
    """

    sides: tuple[Side, ...]
    rules: Mapping[str, Rule]
    damageable: tuple[Side, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a table that misses a word, declares one that cannot be, or writes a side that it has not."""
        expected = set(words(len(self.sides), damageable=[self.sides.index(side) for side in self.damageable]))
        if missing := sorted(expected - set(self.rules)):
            raise ValueError(f"table over {self.sides} has no rule for {', '.join(missing)}")
        if foreign := sorted(set(self.rules) - expected):
            raise ValueError(f"table over {self.sides} has rules for impossible words {', '.join(foreign)}")
        for spelled, rule in self.rules.items():
            for act in rule.acts:
                self._check_act(spelled, act)

    def _check_act(self, spelled: str, act: Act) -> None:
        if act.side not in self.sides:
            raise ValueError(f"rule {spelled} writes {act.side}, which is not one of {self.sides}")
        if act.source is not None and spelled[self.sides.index(act.source)] in (ABSENT, DAMAGED):
            raise ValueError(f"rule {spelled} copies from {act.source}, which holds nothing good there")

    def decide(self, spelled: str) -> Rule:
        """The rule for a word; the built-in `UNKNOWN_RULE` if any side is unknown."""
        return UNKNOWN_RULE if UNKNOWN in spelled else self.rules[spelled]


UNKNOWN_RULE = Rule("unknown", standing=Standing.UNKNOWN)
