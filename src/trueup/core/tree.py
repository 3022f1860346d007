"""Rules that see more than one key: names that exclude each other, directories that cannot go yet.

`trueup.core.reconcile` decides each key by itself; here those decisions are made to fit one tree on each side.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import assert_never

from trueup.core.model import (
    LOCAL,
    REMOTE,
    Difference,
    Entry,
    Key,
    Side,
    Unknown,
    is_directory,
    parents,
    same_content,
)
from trueup.core.reconcile import SIBLING_DIGITS, Reason, other, sibling_key, win
from trueup.core.strategy import Conflict, Policy
from trueup.core.table import Act, Rule, Verb

SIDES = (LOCAL, REMOTE)

_ALIKE = frozenset({Reason.ADOPT, Reason.AGREE})
"""Both sides hold the same, or nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference and what was decided about it."""

    difference: Difference
    rule: Rule
    moved_from: Key | None = None
    """The old name of what is moved here."""
    beneath: Entry | None = None
    """A directory of the file's name that makes way for it, where the other side knows no directories; its size is the
    number of filtered items in it, and below."""
    digits: int = SIBLING_DIGITS[0]
    """How much of the digest a sibling's name holds."""

    @property
    def key(self) -> Key:
        """The key that differs."""
        return self.difference.key

    def seen(self, side: Side) -> Entry | Unknown | None:
        """What the side showed."""
        return self.difference.side(side)

    def does(self, verb: Verb, side: Side) -> bool:
        """Whether the rule does this to the side."""
        return any(act.verb is verb and act.side == side for act in self.rule.acts)

    def remains(self, side: Side) -> bool:
        """Whether the side holds the key when all is done; what is unknown is taken to be there."""
        if self.does(Verb.PUT, side):
            return True
        return self.seen(side) is not None and not self.does(Verb.DELETE, side)

    @property
    def agreed(self) -> bool:
        """Whether both sides hold what was agreed; it is here for the sake of what cannot be beside it."""
        return self.rule.reason == Reason.AGREE

    def changed(self, side: Side) -> bool:
        """Whether the side is not as the ancestor says."""
        seen, ancestor = self.seen(side), self.difference.ancestor
        if not isinstance(seen, Entry):
            return seen is not None or ancestor is not None
        return ancestor is None or same_content(seen.content, ancestor.content) is not True

    def writes(self, side: Side) -> list[Key]:
        """The names under which the rule puts content on the side."""
        keys = []
        for act in self.rule.acts:
            if act.side == side and act.verb is Verb.PUT:
                keys.append(self.key)
            elif act.side == side and act.verb is Verb.SIBLING:
                keys.append(self.sibling(act))
        return keys

    def sibling(self, act: Act) -> Key:
        """The name that a sibling gets."""
        loser = act.source or other(act.side)
        seen = self.seen(loser)
        if not isinstance(seen, Entry) or seen.content.fingerprint is None:
            raise ValueError(f"sibling of {self.key!r} planned without a fingerprint")
        return sibling_key(self.key, loser, seen.content.fingerprint, self.digits)

    def siblings(self) -> list[tuple[int, Key]]:
        """The names that its sibling may get, and how many digits they hold."""
        acts = [act for act in self.rule.acts if act.verb is Verb.SIBLING]
        return [(digits, replace(self, digits=digits).sibling(act)) for digits in SIBLING_DIGITS for act in acts[:1]]


@dataclass(frozen=True, slots=True)
class Names:
    """Which names a side can hold."""

    problem: Callable[[Key], str | None] = lambda _: None
    """Why an item of this name cannot be held; None if it can."""
    fold_case: bool = False
    fold_unicode: bool = False

    @property
    def folds(self) -> bool:
        """Whether two spellings can be one name."""
        return self.fold_case or self.fold_unicode

    def folded(self, key: Key) -> str:
        """Keys that fold to the same string are one name on that side."""
        text = unicodedata.normalize("NFC", key) if self.fold_unicode else key
        return text.casefold() if self.fold_case else text


def settle(
    findings: Sequence[Finding],
    policy: Policy,
    names: Mapping[Side, Names],
    *,
    complete: bool,
    resolve: Mapping[Key, Conflict] = MappingProxyType({}),
) -> list[Finding]:
    """Make decisions about single keys fit one tree on each side.

    Args:
        findings: In key order, one per key.
        policy: The target's settings.
        names: What each side can hold.
        complete: Whether every listing was; if not, nothing is deleted.
        resolve: Strategies for single keys, a person's decision.

    Returns:
        The findings in the same order, with other rules where needed.
    """
    table = {finding.key: finding for finding in findings}
    groups = _groups(table)
    for file, members in groups.items():
        chosen = resolve.get(file)
        _settle_group(table, file, members, policy if chosen is None else replace(policy, conflict=chosen))
    _name_siblings(table)
    _hold_filtered(table)
    _hold_incomplete(table, complete=complete)
    _block_names(table, names)
    _keep_directories(table)
    _block_names(table, names)  # a directory that comes back needs its name, too
    while _hold_halves(table, groups, complete=complete):
        _keep_directories(table)
    return [table[finding.key] for finding in findings]


def _report(finding: Finding, reason: Reason) -> Finding:
    return replace(finding, rule=Rule(reason))


def _groups(table: Mapping[Key, Finding]) -> dict[Key, list[Key]]:
    """File keys that are also directories somewhere, with the keys at or below that directory."""
    groups: dict[Key, list[Key]] = defaultdict(list)
    for key in table:
        above = [*parents(key), key] if is_directory(key) else parents(key)
        for directory in above:
            file = Key(directory[:-1])
            if file in table and not is_directory(file):
                groups[file].append(key)
    return groups


def _settle_group(
    table: dict[Key, Finding],
    file: Key,
    members: Sequence[Key],
    policy: Policy,
) -> None:
    """A name that is a file on one side and a directory on the other is settled as a whole, not key by key."""
    group = [table[file], *(table[key] for key in members)]
    if not any(_clash(group, side) for side in SIDES):
        return
    unknown = any(isinstance(member.seen(side), Unknown) for member in group for side in SIDES)
    winner = None if unknown else _group_winner(group, policy)
    if winner is None:
        _hold_group(table, group, Reason.KIND_CONFLICT)
        return
    for member in group:
        table[member.key] = replace(member, rule=_group_rule(member, winner, policy))


def _clash(group: Sequence[Finding], side: Side) -> bool:
    """Whether the side holds the file, and the other something at or below the directory of its name.

    What both hold as agreed is in nobody's way there: a bucket can hold both kinds.
    """
    file, *members = group
    if file.agreed:
        return False
    return file.seen(side) is not None and any(
        member.seen(other(side)) is not None and not member.agreed for member in members
    )


def _overlap(group: Sequence[Finding], side: Side) -> bool:
    """Whether the side would hold the file, and something at or below the directory of its name."""
    return group[0].remains(side) and any(member.remains(side) for member in group[1:])


def _hold_group(table: dict[Key, Finding], group: Sequence[Finding], why: Reason) -> None:
    """Nothing is done for a group that cannot be settled as a whole; its file says why."""
    file, *members = group
    unknown = any(isinstance(file.seen(side), Unknown) for side in SIDES)
    if not unknown and file.rule.reason not in (Reason.BLOCKED, Reason.HELD):
        table[file.key] = _report(file, why)
    for member in members:
        if member.rule.reason != Reason.AGREE and (member.rule.acts or member.rule.reason == Reason.CONFLICT):
            table[member.key] = _report(member, Reason.HELD)


def _group_winner(group: Sequence[Finding], policy: Policy) -> Side | None:
    """The side whose kind holds: the only one that changed, else by strategy.

    What both sides did alike, as deleting something below a directory that the other replaced, is no dispute. A
    change of kind is an edit, not a deletion: it is followed under every `deletes` setting.
    """
    disputed = [member for member in group if member.rule.reason not in _ALIKE]
    changed = [side for side in SIDES if any(member.changed(side) for member in disputed)]
    if len(changed) == 1 and policy.direction.destination != changed[0]:
        return changed[0]
    match policy.conflict:
        case Conflict.LOCAL_WINS:
            return LOCAL
        case Conflict.REMOTE_WINS:
            return REMOTE
        case Conflict.NEWEST_WINS | Conflict.MANUAL | Conflict.BACKUP_BOTH:
            # Times of a directory say nothing about its files, and a sibling cannot hold a tree: a person decides.
            return None
        case _:
            assert_never(policy.conflict)


def _group_rule(member: Finding, winner: Side, policy: Policy) -> Rule:
    loser = other(winner)
    has, had = member.seen(winner), member.seen(loser)
    if has is not None and had is not None:
        return member.rule if member.rule.reason in _ALIKE else win(winner, policy)
    if not policy.direction.writes(loser):
        return Rule(Reason.KEPT_LOCAL if loser == LOCAL else Reason.KEPT_REMOTE)
    reason = Reason.LOCAL_WINS if winner == LOCAL else Reason.REMOTE_WINS
    if has is not None:
        return Rule(reason, (Act(Verb.PUT, loser, winner),))
    if had is not None:
        return Rule(reason, (Act(Verb.SAVE, loser), Act(Verb.DELETE, loser)))
    return member.rule


def _name_siblings(table: dict[Key, Finding]) -> None:
    """A sibling does not take a name under which somebody has another version: an earlier sibling that was edited."""
    for key, finding in table.items():
        names = finding.siblings()
        digits = next((digits for digits, name in names if not _taken(table.get(name), finding)), None)
        if digits is not None:
            table[key] = replace(finding, digits=digits)
        elif names:
            table[key] = _report(finding, Reason.CONFLICT)


def _taken(there: Finding | None, finding: Finding) -> bool:
    """Whether something under a sibling's name is known to be another version than the sibling."""
    loser = next(finding.seen(act.source or other(act.side)) for act in finding.rule.acts if act.verb is Verb.SIBLING)
    versions = [] if there is None else [there.seen(side) for side in SIDES]
    return any(
        isinstance(seen, Entry) and isinstance(loser, Entry) and same_content(seen.content, loser.content) is False
        for seen in versions
    )


def _hold_filtered(table: dict[Key, Finding]) -> None:
    """No file takes the place of a directory in which there is something that is not ours to judge."""
    for key, finding in table.items():
        filtered = finding.beneath is not None and finding.beneath.content.size > 0
        if filtered and any(finding.does(Verb.PUT, side) and finding.seen(side) is None for side in SIDES):
            table[key] = _report(finding, Reason.KIND_CONFLICT)


def _hold_incomplete(table: dict[Key, Finding], *, complete: bool) -> None:
    """No deletion at all follows from a run that could not see everything."""
    if complete:
        return
    for key, finding in table.items():
        if any(finding.does(Verb.DELETE, side) for side in SIDES):
            table[key] = _report(finding, Reason.HELD)


def _block_names(table: dict[Key, Finding], names: Mapping[Side, Names]) -> None:
    """Nothing is written under a name that the side cannot hold, nor below a directory that is not made for that."""
    for side in SIDES:
        problem = names[side].problem
        blocked = {
            key for key, finding in table.items() if any(problem(name) is not None for name in finding.writes(side))
        }
        if names[side].folds:
            blocked |= _colliding(table, names[side], side, blocked)
        for key, finding in table.items() if blocked else ():
            if key in blocked or (finding.writes(side) and not blocked.isdisjoint(parents(key))):
                table[key] = _report(finding, Reason.BLOCKED)


def _colliding(table: Mapping[Key, Finding], names: Names, side: Side, blocked: set[Key]) -> set[Key]:
    """What would be put under a name that is another one's on that side, were it only until the end of the run.

    The same holds for what would be put below a directory of such a name, unless it is there in that spelling.
    """
    taken: dict[str, set[str]] = defaultdict(set)
    directories: dict[str, set[Key]] = defaultdict(set)
    there: set[Key] = set()
    for key, finding in table.items():
        if finding.seen(side) is not None:
            there.update(parents(key))
        elif not finding.does(Verb.PUT, side) or key in blocked:
            continue
        taken[names.folded(key).rstrip("/")].add(key.rstrip("/"))
        for directory in parents(key):
            directories[names.folded(directory)].add(directory)

    def collides(key: Key) -> bool:
        above = (directories[names.folded(directory)] for directory in parents(key) if directory not in there)
        return len(taken[names.folded(key).rstrip("/")]) > 1 or any(len(spellings) > 1 for spellings in above)

    return {key for key, finding in table.items() if finding.does(Verb.PUT, side) and collides(key)}


def _keep_directories(table: dict[Key, Finding]) -> None:
    """A directory stays, or comes back, for the sake of what is below it.

    Read backwards, so that everything below a directory is settled before the directory is.
    """
    alive: dict[Side, set[Key]] = {side: set() for side in SIDES}
    filled: dict[Side, set[Key]] = {side: set() for side in SIDES}
    for key in reversed(list(table)):
        if is_directory(key):
            for side in SIDES:
                table[key] = _kept(table[key], side, alive[side], filled[side])
        finding = table[key]
        for side in SIDES:
            if finding.remains(side):
                alive[side].update(parents(key))
            if finding.writes(side):
                filled[side].update(parents(key))


def _kept(directory: Finding, side: Side, alive: set[Key], filled: set[Key]) -> Finding:
    """The finding about a directory, given which directories keep or get something below them on a side."""
    here, there = directory.seen(side), directory.seen(other(side))
    if here is None and isinstance(there, Entry) and directory.key in filled and not directory.does(Verb.PUT, side):
        return replace(directory, rule=Rule(Reason.EDIT_BEATS_DELETE, (Act(Verb.PUT, side, other(side)),)))
    if isinstance(here, Entry) and directory.does(Verb.DELETE, side):
        holds_filtered = here.content.size > 0
        if holds_filtered or directory.key in alive:
            return _report(directory, Reason.HELD)
    return directory


def _hold_halves(table: dict[Key, Finding], groups: Mapping[Key, list[Key]], *, complete: bool) -> bool:
    """A change of kind is carried out whole or not at all: where half of it was held or blocked, hold the rest.

    Returns:
        Whether anything was held.
    """
    held = False
    for file, members in groups.items():
        group = [table[file], *(table[key] for key in members)]
        blocked = any(member.rule.reason == Reason.BLOCKED for member in group)
        if any(_half(group, side, blocked=blocked) for side in SIDES):
            _hold_group(table, group, Reason.KIND_CONFLICT if complete and not blocked else Reason.HELD)
            held = True
    return held


def _half(group: Sequence[Finding], side: Side, *, blocked: bool) -> bool:
    """Whether the side would hold both kinds, or would lose the one without getting the other."""
    if any(member.does(Verb.PUT, side) for member in group):
        return _overlap(group, side)
    return blocked and any(member.does(Verb.DELETE, side) for member in group)
