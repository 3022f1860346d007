"""All small worlds, and two sides in memory on which plans are carried out, step by step.

A version is named by its text: nobody but the engine changes anything here. That makes a whole state a value, and what
a run does to it can be remembered.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from tests.core.oracle import Options
from tests.core.oracle_tree import UNKNOWN as DARK
from tests.core.oracle_tree import Place, World, above, hidden

from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Seen,
    Side,
    Token,
    Unknown,
    is_directory,
)
from trueup.core.plan import Item, Phase, Step, build_items
from trueup.core.reconcile import LookCloser, Reason, reconcile
from trueup.core.strategy import TIE_NS, Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Verb
from trueup.core.tree import SIDES, Finding, Names, settle

NOW = 10**18
SECONDS = {"a": 1, "b": 20, "c": 10}
"""When each text was written."""
PRINTS = {"a": "a" * 8, "b": "b" * 8, "c": "c" * 8}

Words = tuple[tuple[str | None, str | None, str | None], ...]
FILE: Words = (
    (None, None, None), (None, "b", None), (None, None, "b"), (None, "b", "b"), (None, "b", "c"),
    ("a", None, None), ("a", None, "a"), ("a", None, "b"), ("a", "a", None), ("a", "a", "a"), ("a", "a", "b"),
    ("a", "b", None), ("a", "b", "a"), ("a", "b", "b"), ("a", "b", "c"),
)  # fmt: skip
"""Ancestor, local and remote of a file: all that differ by more than the names of the texts."""
DIRECTORY: Words = tuple(itertools.product((None, ""), (None, ""), (None, "")))


def caseless(name: str) -> str:
    """The same for names that differ in case only."""
    return name.lower()


def composed(name: str) -> str:
    """The same for both spellings of an accented letter."""
    return name.replace("e\u0301", "\u00e9")


class Setting(NamedTuple):
    """Which sides there are, and which of them was not listed to its end."""

    places: tuple[tuple[str, Place], ...] = ((LOCAL, Place()), (REMOTE, Place()))
    broken_off: str | None = None

    @property
    def directories(self) -> bool:
        """Whether directories are items: both sides have them."""
        return all(place.directories for _, place in self.places)

    @property
    def sees_agreed(self) -> bool:
        """Whether what is agreed is looked at beside what differs: where a bucket can hold a file and what is below."""
        return not self.directories and self.broken_off is None

    def mirrored(self) -> Setting:
        """The sides swapped."""
        (_, local), (_, remote) = self.places
        lost = {None: None, LOCAL: REMOTE, REMOTE: LOCAL}[self.broken_off]  # type: ignore[index]
        return Setting(((LOCAL, remote), (REMOTE, local)), lost)


def newest(local: str, remote: str) -> str:
    """Whose text was written later."""
    if local == remote or "" in (local, remote):
        return "tie"
    return LOCAL if SECONDS[local] > SECONDS[remote] else REMOTE


def mirrored(world: World) -> World:
    """The sides swapped."""
    return World(world.remote, world.local, world.ancestor)


def worlds(keys: Sequence[str], setting: Setting) -> Iterator[World]:
    """Every world over these keys whose trees can be."""
    words = [DIRECTORY if key.endswith("/") else FILE for key in keys]
    local_place, remote_place = (place for _, place in setting.places)
    for spelled in itertools.product(*words):
        ancestor, local, remote = (_tree(keys, [word[n] for word in spelled]) for n in range(3))
        if (
            _can_be(local, local_place, setting)
            and _can_be(remote, remote_place, setting)
            and _can_be(ancestor, local_place, setting)
            and _can_be(ancestor, remote_place, setting)
        ):
            yield World(local, remote, ancestor)


def _tree(keys: Sequence[str], texts: Sequence[str | None]) -> dict[str, str]:
    return {key: text for key, text in zip(keys, texts, strict=True) if text is not None}


def _can_be(tree: Mapping[str, str], place: Place, setting: Setting) -> bool:
    if setting.directories and not all(directory in tree for key in tree for directory in above(key)):
        return False
    names = [place.one(key.rstrip("/")) for key in tree]
    files = {directory[:-1] for key in tree for directory in above(key)} & tree.keys()
    return len(set(names)) == len(names) and not (place.directories and files) and not any(map(place.refuses, tree))


def darkened(world: World) -> Iterator[World]:
    """The world with one item of one side that cannot be read, in turn; what is below is not listed."""
    for name in ("local", "remote"):
        tree = world.sides[name]
        for dark in tree:
            shown = {key: text for key, text in tree.items() if not key.startswith(dark.rstrip("/") + "/")}
            yield world._replace(**{name: shown | {dark: DARK}})


# -- plans -----------------------------------------------------------------------------------------------------------


def policy(options: Options) -> Policy:
    """The settings as the engine knows them; all that is replaced is kept."""
    return Policy(Direction(options.direction), Conflict(options.strategy), Deletes(options.deletes), Keep.ALL)


@lru_cache(None)
def _entry(text: str | None) -> Seen:
    if text is None:
        return None
    if text == DARK:
        return Unknown("permission denied", Kind.UNREADABLE)
    if text == "":
        return Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT)
    return Entry(Token(text), Content(Kind.FILE, 1, Fingerprint("plain", PRINTS[text])), SECONDS[text] * TIE_NS)


@lru_cache(None)
def _finding(key: str, local: str | None, remote: str | None, agreed: str | None, policy: Policy) -> Finding:
    known = _entry(agreed)
    ancestor = Ancestor(known.token, known.token, known.content) if isinstance(known, Entry) else None
    difference = Difference(Key(key), _entry(local), _entry(remote), ancestor)
    rule = reconcile(difference, policy, now_ns=NOW)
    assert not isinstance(rule, LookCloser)
    return Finding(difference, rule)


def plan(world: World, policy: Policy, setting: Setting) -> tuple[Item, ...]:
    """Reconcile, settle, build."""
    dark = hidden(world)
    found = [
        _finding(key, world.local.get(key), world.remote.get(key), world.ancestor.get(key), policy)
        for key in world.keys
        if key not in dark and (setting.broken_off is None or key in world.sides[setting.broken_off])
    ]
    findings = [finding for finding in found if setting.sees_agreed or finding.rule.reason != Reason.AGREE]
    settled = settle(findings, policy, _names(setting), complete=setting.broken_off is None)
    return build_items(settled, policy)


@lru_cache(None)
def _names(setting: Setting) -> dict[Side, Names]:
    return {Side(side): _names_of(place) for side, place in setting.places}


def _names_of(place: Place) -> Names:
    return Names(
        lambda key: "refused" if place.refuses(key) else None,
        fold_case=place.one is caseless,
        fold_unicode=place.one is composed,
    )


# -- carrying out ----------------------------------------------------------------------------------------------------


class Refused(Exception):
    """Something else is there than the step expects, or something is in the way."""


@dataclass
class Carried:
    """Both sides and the ancestor while a plan is carried out, and what was replaced."""

    setting: Setting
    held: dict[Side, dict[str, str]]
    ancestor: dict[str, str]
    agreed_before: dict[str, str] = field(default_factory=dict)
    """What was agreed when the phase began: after a crash no more may have been written down."""
    kept: set[tuple[str, str]] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, world: World, setting: Setting) -> Carried:
        """Before the first step."""
        return cls(setting, {LOCAL: dict(world.local), REMOTE: dict(world.remote)}, dict(world.ancestor))

    @property
    def world(self) -> World:
        """What is there now."""
        return World(self.held[LOCAL], self.held[REMOTE], self.ancestor)

    def moments(self, items: Sequence[Item], *, backwards: bool = False) -> Iterator[None]:
        """Carry out, phase by phase; yields after every effect, and after every agreement that is written down."""
        done: set[str] = set()
        for phase in Phase:
            part = [item for item in items if item.steps and item.phase is phase]
            if phase in (Phase.CLEAR, Phase.DELETE) or backwards:
                part.reverse()
            if phase is Phase.DELETE and self.refused:
                return
            self.agreed_before = dict(self.ancestor)
            for item in part:
                yield from self._item(item, done)
                if item.key not in self.refused:
                    self._remember(item)
                    yield

    def _item(self, item: Item, done: set[str]) -> Iterator[None]:
        saves = {step.id for step in item.steps if step.verb is Verb.SAVE}
        kept = {step.side for step in item.steps if step.verb is Verb.SAVE}
        done |= saves
        for step in item.steps:
            if step.verb in (Verb.SAVE, Verb.ADOPT):
                continue
            try:
                self._do(step, done, keep=step.side in kept)
            except Refused:
                self.refused.append(item.key)
                return
            done.add(step.id)
            yield

    def _do(self, step: Step, done: set[str], *, keep: bool) -> None:
        if not done.issuperset(step.needs):
            raise Refused("what it needs was not done")
        held = self.held[step.side]
        directories = dict(self.setting.places)[step.side].directories
        if step.verb is Verb.DELETE or step.value is None:
            self._take(step, held, keep=keep)
            if step.verb is Verb.REPLACE_KIND and self.setting.directories:
                held[f"{step.key}/"] = ""
            return
        if self.held[step.value.side].get(step.value.key) != _text(step.value.token):
            raise Refused(f"{step.value.key} changed")
        if step.expect == DIRECTORY_TOKEN and not is_directory(step.key) and directories:
            if any(key != f"{step.key}/" and key.startswith(f"{step.key}/") for key in held):
                raise Refused("the directory is not empty")
            held.pop(f"{step.key}/", None)
        elif step.verb is not Verb.SIBLING or held.get(step.key) != _text(step.value.token):
            if step.expect is not None and step.expect != DIRECTORY_TOKEN:
                self._take(step, held, keep=keep)
            elif step.key in held and not is_directory(step.key):
                raise Refused(f"{step.key} is there")
        self._make_room(step, held)
        held[step.key] = _text(step.value.token)

    def _take(self, step: Step, held: dict[str, str], *, keep: bool) -> None:
        if is_directory(step.key):
            if any(key != step.key and key.startswith(step.key) for key in held):
                raise Refused(f"{step.key} is not empty")
        elif step.expect is None or held.get(step.key) != _text(step.expect):
            raise Refused(f"{step.key} is another")
        elif keep:
            self.kept.add((step.key, held[step.key]))
        held.pop(step.key, None)

    def _make_room(self, step: Step, held: dict[str, str]) -> None:
        """Nothing in the way, and the directories above."""
        place = dict(self.setting.places)[step.side]
        name = step.key.rstrip("/")
        spelled = place.one(name)
        if any(place.one(key.rstrip("/")) == spelled and key.rstrip("/") != name for key in held):
            raise Refused(f"another spelling of {step.key} is there")
        if not place.directories:
            return
        blocking = {name, f"{name}/"} - {step.key} | {up[:-1] for up in above(step.key)}
        below = not is_directory(step.key) and any(key.startswith(f"{name}/") for key in held)
        if below or blocking & held.keys():
            raise Refused(f"{step.key} is in the way, or a file above it")
        if self.setting.directories:
            for directory in above(step.key):
                held.setdefault(directory, "")

    def _remember(self, item: Item) -> None:
        """What was written and read."""
        siblings = [step for step in item.steps if step.verb is Verb.SIBLING]
        if len(siblings) == len(SIDES):
            self._agree(siblings[0])
        writes = [step for step in item.steps if step.verb in (Verb.PUT, Verb.REPLACE_KIND, Verb.DELETE)]
        for step in writes:
            self._agree(step)
        if not writes:
            local, remote = (item.side(side) for side in SIDES)
            if isinstance(local, Entry) and isinstance(remote, Entry):
                self.ancestor[item.key] = _text(local.token)
            else:
                self.ancestor.pop(item.key, None)

    def _agree(self, step: Step) -> None:
        if step.value is None:
            self.ancestor.pop(step.key, None)
        else:
            self.ancestor[step.key] = _text(step.value.token)


def _text(token: Token) -> str:
    return "" if token == DIRECTORY_TOKEN else str(token)
