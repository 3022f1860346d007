"""Two sides with an ancestor: the decision for one key.

The table is written over the words of `trueup.core.table` for ``(ancestor, local, remote)``: ``aab`` reads "the remote
side changed since both agreed". Source: RECONCILE, "Two sides with an ancestor".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from trueup.core.model import (
    LOCAL,
    REMOTE,
    Content,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Side,
    Unknown,
    same_content,
)
from trueup.core.strategy import Conflict, Deletes, Direction, Policy, newest
from trueup.core.table import Act, Rule, Standing, Verb, word


class Reason(StrEnum):
    """Why an item has the steps it has. Wording belongs to `render`."""

    AGREE = "agree"
    ADOPT = "adopt"
    CREATE = "create"
    UPDATE = "update"
    EDIT_BEATS_DELETE = "edit_beats_delete"
    RESTORE = "restore"
    DELETE = "delete"
    LOCAL_WINS = "local_wins"
    REMOTE_WINS = "remote_wins"
    KEEP_BOTH = "keep_both"
    CONFLICT = "conflict"
    KIND_CONFLICT = "kind_conflict"
    """One side holds a file where the other holds a directory with something that must not go."""
    ONLY_LOCAL = "only_local"
    ONLY_REMOTE = "only_remote"
    KEPT_LOCAL = "kept_local"
    KEPT_REMOTE = "kept_remote"
    MISSING_LOCAL = "missing_local"
    MISSING_REMOTE = "missing_remote"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    """A link, a device, or excluded by size: reported, and nobody misses it."""
    BLOCKED = "blocked"
    """The side that would be written cannot hold an item of this name."""
    HELD = "held"
    """Would be deleted, but a listing was incomplete, or something below it stays."""
    MOVE = "move"
    """Has another name on the other side, and gets it here."""
    MOVED = "moved"
    """The old name of something that moves; nothing else is to be done about it."""
    UNDO = "undo"


STANDINGS: Mapping[Reason, Standing] = {
    Reason.CONFLICT: Standing.CONFLICT,
    Reason.KIND_CONFLICT: Standing.CONFLICT,
    Reason.UNKNOWN: Standing.UNKNOWN,
    Reason.BLOCKED: Standing.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class LookCloser:
    """Content has to be fingerprinted, all by one algorithm, on these sides before a decision can be made."""

    sides: tuple[Side, ...]


def other(side: Side) -> Side:
    """The opposite of LOCAL or REMOTE."""
    return REMOTE if side == LOCAL else LOCAL


def reconcile(difference: Difference, policy: Policy, *, now_ns: int) -> Rule | LookCloser:
    """Decide one key.

    Args:
        difference: What the sides and the ancestor hold.
        policy: The target's settings.
        now_ns: The wall clock, for NEWEST_WINS only.

    Returns:
        The rule, or which sides must be fingerprinted first.
    """
    local, remote = difference.local, difference.remote
    if isinstance(local, Unknown) or isinstance(remote, Unknown):
        return _opaque(difference)
    spelled = spell(difference)
    if isinstance(spelled, LookCloser):
        return spelled
    later = None
    if local is not None and remote is not None:
        later = newest(local.modified_ns, remote.modified_ns, now_ns)
    rule = decide(spelled, policy, later)
    if rule.reason != Reason.KEEP_BOTH:
        return rule
    if is_sibling(difference.key):
        return Rule(Reason.CONFLICT)
    lose = rule.acts[-1].side
    return LookCloser((lose,)) if _unprinted(difference, lose) else rule


def _opaque(difference: Difference) -> Rule:
    """Something that is not ours to judge: unknown, unless nothing but itself is concerned."""
    opaque = [seen for seen in (difference.local, difference.remote) if isinstance(seen, Unknown)]
    if all(seen.kind is Kind.FILTERED for seen in opaque):
        return Rule(Reason.SKIPPED)
    alone = difference.ancestor is None and not any(isinstance(s, Entry) for s in (difference.local, difference.remote))
    if alone and all(seen.kind is Kind.SKIPPED and not seen.hidden for seen in opaque):
        return Rule(Reason.SKIPPED)
    return Rule(Reason.UNKNOWN)


SIBLING_DIGITS = (8, 16, 32, 64)
"""How much of a digest a sibling's name holds: the least, unless somebody has another version under that name."""

_HASH = "|".join(f"[0-9a-f]{{{digits}}}" for digits in SIBLING_DIGITS)
_SIBLING = re.compile(rf"\.conflict-(?:local|remote)-(?:{_HASH})(?:\.|\Z)")


def is_sibling(key: Key) -> bool:
    """Whether the name is one that `sibling_key` makes."""
    return _SIBLING.search(key.rsplit("/", 1)[-1]) is not None


def sibling_key(key: Key, side: Side, fingerprint: Fingerprint, digits: int = SIBLING_DIGITS[0]) -> Key:
    """``dir/stem.ext`` -> ``dir/stem.conflict-<side>-<hash8>.ext``, or with more digits of the hash.

    Made from the content, so that a retry or a crash makes no second one.
    """
    head, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    return Key(f"{head}{slash}{stem}.conflict-{side}-{fingerprint.digest[:digits]}{dot}{extension}")


def spell(difference: Difference) -> str | LookCloser:
    """The word for (ancestor, local, remote). The sides must not be Unknown."""
    ancestor = difference.ancestor.content if difference.ancestor else None
    local = _content(difference.local)
    remote = _content(difference.remote)
    local_is = _same(ancestor, local)
    remote_is = _same(ancestor, remote)
    sides_are = _same(local, remote)
    if None in (local_is, remote_is, sides_are):
        return _unclear(difference, {LOCAL: local_is, REMOTE: remote_is}, sides_are=sides_are)
    mine = None if local is None else 0 if local_is else 1
    theirs = None if remote is None else mine if sides_are else 0 if remote_is else 2
    return word((None if ancestor is None else 0, mine, theirs))


def _unclear(
    difference: Difference, ancestor_is: Mapping[Side, bool | None], *, sides_are: bool | None
) -> str | LookCloser:
    """Which sides to look at; those that nobody can tell apart from the ancestor are judged without it."""
    sides = [side for side in (LOCAL, REMOTE) if None in (ancestor_is[side], sides_are)]
    if unprinted := tuple(side for side in sides if _unprinted(difference, side)):
        return LookCloser(unprinted)
    if sides_are is None:
        return LookCloser((LOCAL, REMOTE))
    # Only the ancestor's fingerprint is missing or of another algorithm: no look at the sides can mend that. A lost
    # ancestor is the safe reading, a union in which nothing is deleted.
    return spell(replace(difference, ancestor=None))


def _content(seen: Entry | Unknown | None) -> Content | None:
    return seen.content if isinstance(seen, Entry) else None


def _same(one: Content | None, two: Content | None) -> bool | None:
    if one is None or two is None:
        return one is two
    return same_content(one, two)


def _unprinted(difference: Difference, side: Side) -> bool:
    content = _content(difference.side(side))
    return content is not None and content.fingerprint is None


def decide(spelled: str, policy: Policy, later: Side | None) -> Rule:  # noqa: C901, PLR0911  # a case for each row
    """The table of RECONCILE for one word and one policy.

    Args:
        spelled: The word for (ancestor, local, remote).
        policy: The target's settings.
        later: The side that NEWEST_WINS would let win; None for a tie.
    """
    match spelled:
        case "aaa":
            return Rule(Reason.AGREE)
        case "a--" | "-aa" | "abb":
            return Rule(Reason.ADOPT, (Act(Verb.ADOPT, LOCAL),))
        case "-a-":
            return _copy(REMOTE, policy, Reason.CREATE, otherwise=Reason.ONLY_LOCAL)
        case "--a":
            return _copy(LOCAL, policy, Reason.CREATE, otherwise=Reason.ONLY_REMOTE)
        case "ab-":
            return _copy(REMOTE, policy, Reason.EDIT_BEATS_DELETE, otherwise=Reason.KEPT_LOCAL)
        case "a-b":
            return _copy(LOCAL, policy, Reason.EDIT_BEATS_DELETE, otherwise=Reason.KEPT_REMOTE)
        case "aa-":
            return _gone(REMOTE, policy)
        case "a-a":
            return _gone(LOCAL, policy)
        case "aba" if policy.direction is not Direction.PULL:
            return _copy(REMOTE, policy, Reason.UPDATE, otherwise=Reason.KEPT_LOCAL)
        case "aab" if policy.direction is not Direction.PUSH:
            return _copy(LOCAL, policy, Reason.UPDATE, otherwise=Reason.KEPT_REMOTE)
        case "-ab" | "abc" | "aba" | "aab":
            return _conflict(policy, later)
        case _:
            raise ValueError(f"no such word: {spelled}")


def _copy(to: Side, policy: Policy, reason: Reason, *, otherwise: Reason) -> Rule:
    """Write one side with the other's content, if the direction permits."""
    if not policy.direction.writes(to):
        return Rule(otherwise)
    return Rule(reason, (Act(Verb.PUT, to, other(to)),))


def _gone(gone: Side, policy: Policy) -> Rule:
    """One side lost an item that the other still holds as it was agreed."""
    have = other(gone)
    missing = Reason.MISSING_LOCAL if gone == LOCAL else Reason.MISSING_REMOTE
    # One way, the destination's own deletion is not news to propagate: the source still wants the item there.
    comes_back = policy.deletes is Deletes.PROPAGATE and gone == policy.direction.destination
    if policy.deletes is Deletes.RESTORE or comes_back:
        return _copy(gone, policy, Reason.RESTORE, otherwise=missing)
    if policy.deletes is Deletes.REPORT or not policy.direction.writes(have):
        return Rule(missing)
    return Rule(Reason.DELETE, (Act(Verb.SAVE, have), Act(Verb.DELETE, have)))


def _conflict(policy: Policy, later: Side | None) -> Rule:
    """Both sides hold something that the other has not seen."""
    match policy.conflict:
        case Conflict.REMOTE_WINS:
            winner: Side | None = REMOTE
        case Conflict.LOCAL_WINS:
            winner = LOCAL
        case Conflict.NEWEST_WINS:
            winner = later
        case Conflict.MANUAL:
            winner = None
        case Conflict.BACKUP_BOTH:
            return _keep_both(policy)
        case _:
            assert_never(policy.conflict)
    return Rule(Reason.CONFLICT) if winner is None else win(winner, policy)


def win(winner: Side, policy: Policy) -> Rule:
    """The winner's content replaces the loser's, which is saved first; if the direction permits."""
    loser = other(winner)
    if not policy.direction.writes(loser):
        return Rule(Reason.KEPT_LOCAL if loser == LOCAL else Reason.KEPT_REMOTE)
    reason = Reason.LOCAL_WINS if winner == LOCAL else Reason.REMOTE_WINS
    return Rule(reason, (Act(Verb.SAVE, loser), Act(Verb.PUT, loser, winner)))


def _keep_both(policy: Policy) -> Rule:
    """The loser becomes a sibling wherever the direction writes; the name holds the keeper's version."""
    keep = LOCAL if policy.direction is Direction.PUSH else REMOTE
    lose = other(keep)
    siblings = tuple(Act(Verb.SIBLING, side, lose) for side in (LOCAL, REMOTE) if policy.direction.writes(side))
    return Rule(Reason.KEEP_BOTH, (*siblings, Act(Verb.PUT, lose, keep)))
