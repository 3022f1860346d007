"""Rules that see more than one key: names that exclude each other, directories that cannot go yet.

`trueup.core.reconcile` decides each key by itself; here those decisions are made to fit one tree on each side.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from trueup.core.model import LOCAL, REMOTE, Difference, Entry, Key, Side, Unknown, is_directory, parents
from trueup.core.reconcile import Reason, other, win
from trueup.core.strategy import Conflict, Policy
from trueup.core.table import Act, Rule, Verb

SIDES = (LOCAL, REMOTE)


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference and what was decided about it."""

    difference: Difference
    rule: Rule

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

    def changed(self, side: Side) -> bool:
        """Whether the side is not as the ancestor says."""
        seen, ancestor = self.seen(side), self.difference.ancestor
        if not isinstance(seen, Entry):
            return seen is not None or ancestor is not None
        if ancestor is None:
            return True
        content = seen.content
        return content != ancestor.content and not (content.kind is ancestor.content.kind and is_directory(self.key))


@dataclass(frozen=True, slots=True)
class Names:
    """Which names a side can hold."""

    problem: Callable[[Key], str | None] = lambda _: None
    """Why an item of this name cannot be held; None if it can."""
    fold_case: bool = False
    fold_unicode: bool = False

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
    for file, members in _groups(table).items():
        chosen = resolve.get(file)
        _settle_group(table, file, members, policy if chosen is None else replace(policy, conflict=chosen))
    _hold_incomplete(table, complete=complete)
    _block_names(table, names)
    _keep_directories(table, policy)
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
            if file in table:
                groups[file].append(key)
    return groups


def _settle_group(
    table: dict[Key, Finding],
    file: Key,
    members: Sequence[Key],
    policy: Policy,
) -> None:
    """A name is a file on one side and a directory on the other: both cannot stay on one side."""
    group = [table[file], *(table[key] for key in members)]
    if not any(
        group[0].remains(side) and any(member.remains(side) for member in group[1:]) and _acts(group) for side in SIDES
    ):
        return
    if any(isinstance(member.seen(side), Unknown) for member in group for side in SIDES):
        for member in group:
            if member.rule.acts:
                table[member.key] = _report(member, Reason.HELD)
        return
    winner = _group_winner(group, policy)
    for member in group:
        if winner is None:
            reason = Reason.KIND_CONFLICT if member is group[0] else Reason.HELD
            table[member.key] = _report(member, reason)
        else:
            table[member.key] = replace(member, rule=_group_rule(member, winner, policy))


def _acts(group: Iterable[Finding]) -> bool:
    return any(member.rule.acts for member in group) or any(member.rule.reason is Reason.CONFLICT for member in group)


def _group_winner(group: Sequence[Finding], policy: Policy) -> Side | None:
    """The side whose kind holds: the only one that changed, else by strategy.

    A change of kind is an edit, not a deletion: it is followed under every `deletes` setting.
    """
    changed = [side for side in SIDES if any(member.changed(side) for member in group)]
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


def _group_rule(member: Finding, winner: Side, policy: Policy) -> Rule:
    loser = other(winner)
    has, had = member.seen(winner), member.seen(loser)
    if has is not None and had is not None:
        return member.rule if member.rule.reason == Reason.ADOPT else win(winner, policy)
    if not policy.direction.writes(loser):
        return Rule(Reason.KEPT_LOCAL if loser == LOCAL else Reason.KEPT_REMOTE)
    reason = Reason.LOCAL_WINS if winner == LOCAL else Reason.REMOTE_WINS
    if has is not None:
        return Rule(reason, (Act(Verb.PUT, loser, winner),))
    if had is not None:
        return Rule(reason, (Act(Verb.SAVE, loser), Act(Verb.DELETE, loser)))
    return member.rule


def _hold_incomplete(table: dict[Key, Finding], *, complete: bool) -> None:
    """No deletion at all follows from a run that could not see everything."""
    if complete:
        return
    for key, finding in table.items():
        if any(finding.does(Verb.DELETE, side) for side in SIDES):
            table[key] = _report(finding, Reason.HELD)


def _block_names(table: dict[Key, Finding], names: Mapping[Side, Names]) -> None:
    for side in SIDES:
        taken: dict[str, list[Key]] = defaultdict(list)
        for key, finding in table.items():
            if any(act.verb in (Verb.PUT, Verb.SIBLING) and act.side == side for act in finding.rule.acts) and (
                names[side].problem(key) is not None
            ):
                table[key] = _report(finding, Reason.BLOCKED)
            elif finding.remains(side):
                taken[names[side].folded(key)].append(key)
        for keys in taken.values():
            for key in keys if len(keys) > 1 else ():
                if table[key].does(Verb.PUT, side):
                    table[key] = _report(table[key], Reason.BLOCKED)


def _keep_directories(table: dict[Key, Finding], policy: Policy) -> None:
    """A directory that is to be deleted stays while anything below it does.

    Read backwards, so that everything below a directory is settled before the directory is.
    """
    alive: dict[Side, set[Key]] = {side: set() for side in SIDES}
    filled: dict[Side, set[Key]] = {side: set() for side in SIDES}
    for key in reversed(list(table)):
        finding = table[key]
        for side in SIDES:
            seen = finding.seen(side)
            if is_directory(key) and finding.does(Verb.DELETE, side) and isinstance(seen, Entry):
                holds_filtered = seen.content.size > 0
                if key in filled[other(side)] and policy.direction.writes(other(side)):
                    finding = replace(finding, rule=Rule(Reason.EDIT_BEATS_DELETE, (Act(Verb.PUT, other(side), side),)))
                elif key in alive[side] or holds_filtered:
                    finding = _report(finding, Reason.HELD)
                table[key] = finding
        for side in SIDES:
            if finding.remains(side):
                alive[side].update(parents(key))
            if finding.does(Verb.PUT, side):
                filled[side].update(parents(key))
