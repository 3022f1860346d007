"""Renames: a name is gone on one side, and its content has appeared there under another name.

On the other side that is a move, carried out without payload; it is no deletion, so no guard counts it, and it is
followed under every `deletes` setting. Where there is any doubt it is none: the table decides per key and nothing is
lost. For `trueup.core.tree.settle` a move is written as a deletion and a creation, so that the rules of trees hold for
it; those pairs that come through become one step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from trueup.core.model import Entry, Fingerprint, Key, Kind, Side, is_directory, parents
from trueup.core.reconcile import Reason, other
from trueup.core.strategy import Conflict, Policy
from trueup.core.table import Act, Rule, Verb
from trueup.core.tree import SIDES, Finding, Names, settle


@dataclass(frozen=True, slots=True)
class Move:
    """On this side the item takes another name."""

    side: Side
    origin: Finding
    """Under the old name, with the rule that holds if there is no move after all."""
    target: Finding
    """Under the new name, likewise."""


def wanted(findings: Sequence[Finding], movable: Sequence[Side]) -> list[tuple[Side, Key, Entry]]:
    """New items that may be old ones under a new name, and have to be fingerprinted to know it.

    Args:
        findings: One per key.
        movable: Sides on which an item can be given another name.
    """
    wishes = []
    for side in map(other, movable):
        sizes = {_size(finding) for finding in findings if _vanished(finding, side)}
        wishes += [
            (side, finding.key, seen)
            for finding in findings
            if _appeared(finding, side)
            and isinstance(seen := finding.seen(side), Entry)
            and seen.content.fingerprint is None
            and seen.content.size in sizes
        ]
    return wishes


def settle_with_moves(
    findings: Sequence[Finding],
    policy: Policy,
    names: Mapping[Side, Names],
    *,
    complete: bool,
    movable: Sequence[Side],
    resolve: Mapping[Key, Conflict] = MappingProxyType({}),
) -> list[Finding]:
    """Find the moves, and make all decisions fit one tree on each side, as `trueup.core.tree.settle` does.

    A move that does not fit is none: then all is settled once more without it.

    Args:
        findings: In key order, one per key.
        policy: The target's settings.
        names: What each side can hold.
        complete: Whether every listing was; if not, nothing is known to be gone, and there are no moves.
        movable: Sides on which an item can be given another name.
        resolve: Strategies for single keys, a person's decision.
    """
    moves = find(findings, movable) if complete else []
    left = _left(findings, moves)
    while True:
        settled = settle(_split(findings, moves, left), policy, names, complete=complete, resolve=resolve)
        if not moves:
            return settled
        table = {finding.key: finding for finding in settled}
        through = [move for move in moves if _came_through(move, table)]
        # Under their own rules, as in the next run: it will know of no move.
        gone = {(key, side) for key, side in left if table[key].does(Verb.DELETE, side)}
        if len(through) == len(moves) and gone == left:
            return _join(settled, moves)
        moves, left = through, gone & _left(findings, through)


def find(findings: Sequence[Finding], movable: Sequence[Side]) -> list[Move]:
    """All moves: one vanished and one appeared item of the same content, each the other's only candidate."""
    contested = _contested(findings)
    moves = []
    for side in map(other, movable):
        gone = _by_content((f, f.difference.ancestor) for f in findings if _vanished(f, side))
        new = _by_content((f, f.seen(side)) for f in findings if _appeared(f, side))
        for content, origins in gone.items():
            targets = new.get(content, [])
            if len(origins) == len(targets) == 1 and contested.isdisjoint((origins[0].key, targets[0].key)):
                moves.append(Move(other(side), origins[0], targets[0]))
    return moves


def _contested(findings: Sequence[Finding]) -> set[Key]:
    """Keys that take part in a change of kind: a file where there is also a directory."""
    files = {finding.key for finding in findings if not is_directory(finding.key)}
    contested = {finding.key for finding in findings if finding.beneath is not None}
    for finding in findings:
        above = [*parents(finding.key), finding.key] if is_directory(finding.key) else parents(finding.key)
        clashing = {Key(directory[:-1]) for directory in above} & files
        if clashing:
            contested |= clashing | {finding.key}
    return contested


def _vanished(finding: Finding, side: Side) -> bool:
    """Whether a file is gone from the side, and the other side holds it as it was agreed."""
    there, ancestor = finding.seen(other(side)), finding.difference.ancestor
    return (
        finding.seen(side) is None
        and isinstance(there, Entry)
        and ancestor is not None
        and ancestor.content.kind is Kind.FILE
        and ancestor.content.size > 0  # empty files are all alike
        and not finding.changed(other(side))
    )


def _appeared(finding: Finding, side: Side) -> bool:
    seen = finding.seen(side)
    return (
        isinstance(seen, Entry)
        and seen.content.kind is Kind.FILE
        and finding.seen(other(side)) is None
        and finding.difference.ancestor is None
    )


def _size(finding: Finding) -> int:
    ancestor = finding.difference.ancestor
    return -1 if ancestor is None else ancestor.content.size


def _by_content(pairs: Iterable[tuple[Finding, object]]) -> dict[tuple[int, Fingerprint], list[Finding]]:
    found: dict[tuple[int, Fingerprint], list[Finding]] = defaultdict(list)
    for finding, holder in pairs:
        content = getattr(holder, "content", None)
        if content is not None and content.fingerprint is not None:
            found[content.size, content.fingerprint].append(finding)
    return found


def _left(findings: Sequence[Finding], moves: Sequence[Move]) -> set[tuple[Key, Side]]:
    """Directories that moves may leave empty, with the side on which they are: elsewhere they are gone already."""
    above = {(directory, move.side) for move in moves for directory in parents(move.origin.key)}
    return {
        (finding.key, side)
        for finding in findings
        for side in SIDES
        if (finding.key, side) in above and finding.seen(other(side)) is None and not finding.changed(side)
    }


def _split(findings: Sequence[Finding], moves: Sequence[Move], left: Iterable[tuple[Key, Side]]) -> list[Finding]:
    """Write each move as a deletion and a creation, and let directories that it empties go."""
    rules = {key: Rule(Reason.MOVED, (Act(Verb.DELETE, side),)) for key, side in left}
    for move in moves:
        rules[move.origin.key] = Rule(Reason.MOVED, (Act(Verb.DELETE, move.side),))
        rules[move.target.key] = Rule(Reason.MOVE, (Act(Verb.PUT, move.side, other(move.side)),))
    return [replace(f, rule=rules[f.key]) if f.key in rules else f for f in findings]


def _came_through(move: Move, table: Mapping[Key, Finding]) -> bool:
    return table[move.origin.key].does(Verb.DELETE, move.side) and table[move.target.key].does(Verb.PUT, move.side)


def _join(settled: Sequence[Finding], moves: Sequence[Move]) -> list[Finding]:
    """Make one step of each pair."""
    table = {finding.key: finding for finding in settled}
    for move in moves:
        origin, target = table[move.origin.key], table[move.target.key]
        rule = Rule(Reason.MOVE, (Act(Verb.MOVE, move.side, move.side),))
        table[origin.key] = replace(origin, rule=Rule(Reason.MOVED))
        table[target.key] = replace(target, rule=rule, moved_from=origin.key)
    return [table[finding.key] for finding in settled]
