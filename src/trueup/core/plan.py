"""The plan: an immutable document that leaves the executor nothing to decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import assert_never

from trueup.core.model import (
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Entry,
    Key,
    Kind,
    Record,
    Shown,
    Side,
    Token,
    is_directory,
    parents,
    same_content,
)
from trueup.core.reconcile import STANDINGS, Reason, other
from trueup.core.strategy import Keep, Policy
from trueup.core.table import Act, Standing, Verb
from trueup.core.tree import SIDES, Finding


@dataclass(frozen=True, slots=True)
class Ref:
    """Where content comes from: one version of one item on one side, or of that side's trash."""

    side: Side
    key: Key
    token: Token
    content: Content
    modified_ns: int = 0
    mode: int | None = None
    kept: str | None = None
    """Handle into the side's trash; None for the live item."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, with what it saw.

    ``expect`` is the version that must be there when the step is carried out: None means that nothing is. Of a sibling
    it is the version that is the sibling already, made by a run that was stopped; nothing is ever written over it.
    """

    id: str
    key: Key
    side: Side
    verb: Verb
    expect: Token | None = None
    value: Ref | None = None
    needs: tuple[str, ...] = ()
    record: Record | None = None
    """What is written on a side that records; the document itself."""


class Phase(IntEnum):
    """Items run in this order, a barrier between; what deletes runs last, and not at all after a failed write."""

    AGREE = 0
    """Nothing but to remember that the sides agree."""
    CLEAR = 1
    """Deletions that make room for a file where a directory was."""
    REPLACE = 2
    """A file becomes a directory or back."""
    WRITE = 3
    DELETE = 4
    AFTER = 5
    """No change of a side, but what follows from one: an `ACT` for what was written."""
    FINISH = 6
    """What comes when all of those were tried: caches are filled again."""


@dataclass(frozen=True, slots=True)
class Item:
    """One key of the plan: what was seen, why, and the steps in order. No steps: reported only.

    A key has one item, and another before it where its ancestor has to be forgotten first.
    """

    key: Key
    reason: str
    """A `Reason`, or one of those that the target's table declares."""
    seen: Mapping[Side, Shown]
    ancestor: Ancestor | None
    steps: tuple[Step, ...] = ()
    phase: Phase = Phase.WRITE
    agreed: Ancestor | None = None
    """For undo: the ancestor to restore when the steps are done, instead of what was written."""
    standing: Standing = Standing.PLAIN
    why: str = ""
    """The reason in words, where it is not one of `Reason`."""

    def side(self, side: Side) -> Shown:
        """What the side showed."""
        return self.seen.get(side)

    def altered(self, side: Side) -> bool:
        """Whether the side holds something else than was agreed."""
        seen = self.side(side)
        if self.ancestor is None or not isinstance(seen, Entry):
            return False
        return same_content(self.ancestor.content, seen.content) is False

    @property
    def is_change(self) -> bool:
        """Whether anything is written on a side."""
        return bool(self.steps) and self.phase is not Phase.AGREE

    @property
    def destroys(self) -> int:
        """How many versions cease to exist."""
        if any(step.verb in (Verb.SAVE, Verb.SIBLING) for step in self.steps):
            return 0
        return sum(
            step.expect not in (None, DIRECTORY_TOKEN)
            for step in self.steps
            if step.verb in (Verb.PUT, Verb.DELETE, Verb.REPLACE_KIND)
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """What one side showed in total, for guards and for people."""

    location: str
    complete: bool = True
    why: str = ""
    """Why the listing is incomplete."""
    items: int = 0
    unchanged: int = 0
    hidden: int = 0
    """Known items about which an incomplete listing says nothing."""
    marker: str | None = None
    """Identity found in the root; None if there is none."""
    expected_marker: str | None = None
    """Identity recorded when the target was last applied."""
    free_bytes: int | None = None
    notices: tuple[str, ...] = ()
    """What the side cannot promise, in plain words."""
    informs: bool = False
    """Whether it only informs: nothing is decided by it, so that it may be out of reach."""
    expected: int | None = None
    """How many items are removed from a record because this side does not hold them; None: as many as were agreed
    could be deleted."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is kept in agreement."""

    id: str
    """Hash of kind, canonical locations and namespace."""
    name: str
    kind: str
    locations: Mapping[Side, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run would do, in key order, after-steps at the end."""

    target: Target
    policy: Policy
    items: tuple[Item, ...]
    observed: Mapping[Side, Observed]
    ancestors: int = 0
    agreed: int = 0
    """Items on which both sides and the ancestor plainly agree; they are not in the plan."""
    made_ns: int = 0
    undoes: str | None = None
    """The run that this plan takes back."""
    damaged_ancestors: tuple[Key, ...] = ()
    """Keys whose ancestor failed its checksum; decided as if they had none."""

    @property
    def changes(self) -> tuple[Item, ...]:
        """Items that write a side."""
        return tuple(item for item in self.items if item.is_change)

    @property
    def conflicts(self) -> tuple[Item, ...]:
        """Items that wait for a person."""
        return tuple(item for item in self.items if item.standing is Standing.CONFLICT)

    @property
    def unknown(self) -> tuple[Item, ...]:
        """Items about which a side could not say."""
        return tuple(item for item in self.items if item.standing is Standing.UNKNOWN)

    @property
    def damaged(self) -> tuple[Item, ...]:
        """Items that a side holds, and not whole."""
        return tuple(item for item in self.items if item.standing is Standing.DAMAGED)

    @property
    def complete(self) -> bool:
        """Whether every side was listed to its end."""
        return all(observed.complete or observed.informs for observed in self.observed.values())

    @property
    def destroys(self) -> int:
        """How many versions cease to exist."""
        return sum(item.destroys for item in self.items)

    @property
    def needs_apply(self) -> bool:
        """Whether there is anything to do, be it only to remember an agreement."""
        return any(item.steps for item in self.items)

    def deletes(self, side: Side) -> int:
        """How many files are deleted on the side."""
        return sum(
            step.verb is Verb.DELETE and step.side == side and not is_directory(step.key)
            for item in self.items
            for step in item.steps
        )

    def bytes_to(self, side: Side) -> int:
        """Bytes written to the side."""
        return sum(
            step.value.content.size
            for item in self.items
            for step in item.steps
            if step.side == side and step.verb is not Verb.MOVE
            if step.value is not None and step.value.content.kind is Kind.FILE
        )


def build_items(findings: Sequence[Finding], policy: Policy) -> tuple[Item, ...]:
    """Turn settled findings into items with steps.

    Args:
        findings: In key order, as `trueup.core.tree.settle` returns them; what is agreed, with nothing to remember, is
            no item.
        policy: The target's settings.
    """
    table = {finding.key: finding for finding in findings}
    builder = _Builder(policy, table)
    items = [builder.item(finding) for finding in findings if finding.rule.acts or not finding.agreed]
    return tuple(_forgetting(_link_replacements(items, table), builder))


@dataclass(slots=True)
class _Builder:
    policy: Policy
    table: Mapping[Key, Finding]
    count: int = 0

    def item(self, finding: Finding) -> Item:
        steps: list[Step] = []
        for act in finding.rule.acts:
            match act.verb:
                case Verb.SAVE:
                    pass  # whether a version is kept is the policy's to say, below
                case Verb.MOVE:
                    steps.append(self._move(finding, act))
                case Verb.SIBLING:
                    steps.append(self._sibling(finding, act))
                case _:
                    siblings = tuple(step.id for step in steps)
                    steps.extend(self._write(finding, act, after=siblings))
        phase = Phase.WRITE
        if steps and all(step.verb is Verb.ADOPT for step in steps):
            phase = Phase.AGREE
        elif any(step.verb is Verb.DELETE for step in steps):
            phase = Phase.DELETE
        difference, reason = finding.difference, Reason(finding.rule.reason)
        return Item(
            key=finding.key,
            reason=reason,
            seen={LOCAL: difference.local, REMOTE: difference.remote},
            ancestor=difference.ancestor,
            steps=tuple(steps),
            phase=phase,
            standing=STANDINGS.get(reason, Standing.PLAIN),
        )

    def forget(self, item: Item) -> Item:
        """Before anything is written: as if the key had never been agreed on."""
        local = item.side(LOCAL)
        expect = local.token if isinstance(local, Entry) else None
        step = Step(self._id(), item.key, LOCAL, Verb.ADOPT, expect)
        return replace(item, reason=Reason.ADOPT, steps=(step,), phase=Phase.AGREE)

    def _id(self) -> str:
        self.count += 1
        return f"s{self.count}"

    def _move(self, finding: Finding, act: Act) -> Step:
        """The other name's version is expected there, nothing is expected here."""
        origin = self.table[finding.moved_from] if finding.moved_from is not None else finding
        return Step(self._id(), finding.key, act.side, Verb.MOVE, None, _ref(origin, act.side))

    def _write(self, finding: Finding, act: Act, *, after: tuple[str, ...]) -> list[Step]:
        seen = finding.seen(act.side)
        expect = seen.token if isinstance(seen, Entry) else None
        value = _ref(finding, act.source) if act.source is not None else None
        steps = []
        if expect is not None and act.verb in (Verb.PUT, Verb.DELETE) and self._keeps(finding):
            steps.append(Step(self._id(), finding.key, act.side, Verb.SAVE, expect))
        needs = (*after, *(step.id for step in steps))
        steps.append(Step(self._id(), finding.key, act.side, act.verb, expect, value, needs))
        return steps

    def _keeps(self, finding: Finding) -> bool:
        if is_directory(finding.key):
            return False
        match self.policy.keep:
            case Keep.ALL:
                return True
            case Keep.CONFLICTS:
                return finding.rule.reason in (Reason.LOCAL_WINS, Reason.REMOTE_WINS)
            case Keep.UNCONTESTED:
                return finding.rule.reason not in (Reason.LOCAL_WINS, Reason.REMOTE_WINS)
            case Keep.NONE:
                return False
            case _:
                assert_never(self.policy.keep)

    def _sibling(self, finding: Finding, act: Act) -> Step:
        key, value = finding.sibling(act), _ref(finding, act.source or other(act.side))
        there = self.table[key].seen(act.side) if key in self.table else None
        made = there.token if isinstance(there, Entry) and same_content(there.content, value.content) else None
        return Step(self._id(), key, act.side, Verb.SIBLING, made, value)


def _ref(finding: Finding, side: Side) -> Ref:
    seen = finding.seen(side)
    if not isinstance(seen, Entry):
        raise TypeError(f"{finding.key!r} has no content on {side}")
    return Ref(side, finding.key, seen.token, seen.content, seen.modified_ns, seen.mode)


def _link_replacements(items: Sequence[Item], table: Mapping[Key, Finding]) -> list[Item]:
    """Make a change of kind one composite: what is in the way goes first, what comes after needs it."""
    linked = {item.key: item for item in items}
    emptied: dict[tuple[Side, Key], list[Key]] = {}
    for key, finding in table.items():
        for side in SIDES:
            if finding.does(Verb.DELETE, side):
                for directory in [*parents(key), key] if is_directory(key) else parents(key):
                    emptied.setdefault((side, directory), []).append(key)
    for item in items:
        for step in item.steps:
            if step.verb is Verb.PUT:
                file = _file_in_the_way(table, step)
                below = emptied.get((step.side, Key(step.key + "/")))
                if file is not None:
                    _file_becomes_directory(linked, item, step, file)
                elif below or table[item.key].beneath is not None:
                    _directory_becomes_file(linked, item, step, below or ())
    return [linked[item.key] for item in items]


def _file_in_the_way(table: Mapping[Key, Finding], step: Step) -> Key | None:
    for directory in [*parents(step.key), step.key] if is_directory(step.key) else parents(step.key):
        file = Key(directory[:-1])
        if file in table and table[file].does(Verb.DELETE, step.side):
            return file
    return None


def _file_becomes_directory(linked: dict[Key, Item], item: Item, step: Step, file: Key) -> None:
    """The file's deletion turns into its replacement by a directory, which everything below needs."""
    old = linked[file]
    steps = tuple(replace(s, verb=Verb.REPLACE_KIND) if s.verb is Verb.DELETE else s for s in old.steps)
    linked[file] = replace(old, steps=steps, phase=Phase.REPLACE)
    needs = tuple(s.id for s in steps if s.verb is Verb.REPLACE_KIND)
    _amend(linked, item.key, step, replace(step, needs=(*step.needs, *needs)))


def _directory_becomes_file(linked: dict[Key, Item], item: Item, step: Step, below: Sequence[Key]) -> None:
    """Everything in the directory goes first; then the file takes the place of the directory, empty by now.

    Where a bucket holds the file beside what is below its name, it takes nobody's place.
    """
    if item.side(step.side) is not None:
        return
    own = Key(item.key + "/")
    needs: list[str] = []
    for key in below:
        if key != own:
            linked[key] = replace(linked[key], phase=Phase.CLEAR)
            needs.extend(s.id for s in linked[key].steps if s.verb is Verb.DELETE)
    replacement = replace(step, verb=Verb.REPLACE_KIND, expect=DIRECTORY_TOKEN, needs=(*step.needs, *needs))
    _amend(linked, item.key, step, replacement)
    linked[item.key] = replace(linked[item.key], phase=Phase.REPLACE)


def _forgetting(items: Sequence[Item], builder: _Builder) -> Iterator[Item]:
    """What comes back below a file that becomes a directory, or in its place, is forgotten before that happens.

    Its absence there was the file's, or the directory's, doing. A run that ends between the two would leave neither,
    which the next run could not tell from a deletion that somebody wants followed. A bucket may hold it beside the
    file: then it was never absent, and stays agreed.
    """
    became = {s.id for item in items for s in item.steps if s.verb is Verb.REPLACE_KIND}
    for item in items:
        back = [s for s in item.steps if not became.isdisjoint({s.id, *s.needs}) and item.side(s.side) is None]
        if item.ancestor is not None and back:
            yield builder.forget(item)
        yield item


def _amend(linked: dict[Key, Item], key: Key, old: Step, new: Step) -> None:
    item = linked[key]
    linked[key] = replace(item, steps=tuple(new if s.id == old.id else s for s in item.steps))
