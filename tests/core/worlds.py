"""Two trees in memory, what they last agreed on, and an executor that refuses what a store would refuse."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

from trueup.core import moves
from trueup.core.merge import Merge, Suspect
from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    OPAQUE_KINDS,
    OPAQUE_TOKEN,
    REMOTE,
    Ancestor,
    AncestorRow,
    Content,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Row,
    Seen,
    Side,
    Token,
    Unknown,
    is_directory,
    key_bytes,
    parents,
)
from trueup.core.plan import Item, Phase, Ref, Step, build_items
from trueup.core.reconcile import LookCloser, Reason, other, reconcile
from trueup.core.strategy import Policy
from trueup.core.table import Verb
from trueup.core.tree import SIDES, Finding, Names

NOW = 10**18


class Refused(Exception):
    """Something else is there than was expected."""


@dataclass
class Held:
    """One version of one item."""

    text: str
    token: Token
    modified_ns: int = 0
    kind: Kind = Kind.FILE
    size: int | None = None
    """Of a directory: how many excluded items it holds."""


def printed(text: str) -> Fingerprint:
    """The fingerprint of a file's text."""
    return Fingerprint("sha256", hashlib.sha256(text.encode()).hexdigest())


@dataclass
class Place:
    """One side."""

    items: dict[Key, Held] = field(default_factory=dict)
    trash: list[tuple[Key, str]] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    implied: list[Key] = field(default_factory=list)
    """Directories that came to be because something was written below them."""

    def texts(self) -> dict[Key, str]:
        """What is held, without versions."""
        return {key: held.text for key, held in self.items.items()}

    def rows(self) -> list[Row]:
        """The listing: no fingerprints, as of a file system, and nothing from inside an unreadable directory."""
        keys = sorted(self.items, key=key_bytes)
        shut = tuple(key for key in keys if is_directory(key) and self.items[key].kind in OPAQUE_KINDS)
        return [_row(key, self.items[key]) for key in keys if key in shut or not key.startswith(shut)]

    def write(self, key: Key, held: Held, *, expect: Token | None, keep: bool) -> None:
        """Put a file where the expected version is."""
        self._check_room(key)
        if expect == DIRECTORY_TOKEN:
            self._remove_directory(Key(key + "/"), missing_ok=False)
        else:
            self._take(key, expect, keep=keep)
        self.items[key] = held

    def make_directory(self, key: Key, *, expect: Token | None, keep: bool) -> None:
        """Make a directory, or leave the one that is there; with `expect`, in place of a file."""
        if expect is not None:
            self._take(Key(key[:-1]), expect, keep=keep)
        self._check_room(key)
        self.items.setdefault(key, Held("", DIRECTORY_TOKEN, kind=Kind.DIRECTORY))

    def remove(self, key: Key, *, expect: Token, keep: bool) -> None:
        """Remove one version, or an empty directory."""
        if is_directory(key):
            self._remove_directory(key, missing_ok=True)
        else:
            self._take(key, expect, keep=keep)

    def move(self, origin: Key, target: Key, *, expect: Token, token: Token) -> Token:
        """Give one version another name; its own version is another one from then on."""
        held = self.items.get(origin)
        if held is None or held.token != expect:
            raise Refused(f"{origin!r} is {held}, expected {expect}")
        if target in self.items or Key(target + "/") in self.items:
            raise Refused(f"{target!r} is there")
        self._check_room(target)
        self.items[target] = replace(self.items.pop(origin), token=token)
        return token

    def _take(self, key: Key, expect: Token | None, *, keep: bool) -> None:
        held = self.items.get(key)
        if (None if held is None else held.token) != expect:
            raise Refused(f"{key!r} is {held}, expected {expect}")
        if held is None:
            twin = Key(key + "/")
            if twin in self.items:
                raise Refused(f"{twin!r} is there")
            return
        if keep:
            self.trash.append((key, held.text))
        del self.items[key]

    def _remove_directory(self, key: Key, *, missing_ok: bool) -> None:
        if any(other != key and other.startswith(key) for other in self.items):
            raise Refused(f"{key!r} is not empty")
        held = self.items.get(key)
        if held is None and not missing_ok:
            raise Refused(f"{key!r} is not there")
        if held is not None and held.size:
            raise Refused(f"{key!r} holds excluded items")
        self.items.pop(key, None)

    def _check_room(self, key: Key) -> None:
        """No file above, and no other name that is the same here."""
        if self.names.problem(key) is not None:
            raise Refused(f"{key!r} cannot be held")
        if is_directory(key) and key[:-1] in self.items:
            raise Refused(f"{key!r} is a file")
        for directory in parents(key):
            if directory[:-1] in self.items:
                raise Refused(f"{key!r} would be below a file")
        folded = self.names.folded(key).rstrip("/")
        for there in self.items:
            if there.rstrip("/") != key.rstrip("/") and self.names.folded(there).rstrip("/") == folded:
                raise Refused(f"{key!r} is {there!r} here")
        for directory in parents(key):
            if directory not in self.items:
                self.implied.append(directory)
                self.items[directory] = Held("", DIRECTORY_TOKEN, kind=Kind.DIRECTORY)


def _row(key: Key, held: Held) -> Row:
    if held.kind in OPAQUE_KINDS:
        return key_bytes(key), OPAQUE_TOKEN, held.kind, 0, 0, None, held.text
    if held.kind is Kind.DIRECTORY:
        return key_bytes(key), DIRECTORY_TOKEN, Kind.DIRECTORY, held.size or 0, 0, None, ""
    return key_bytes(key), held.token, Kind.FILE, len(held.text), held.modified_ns, None, ""


@dataclass
class Outcome:
    """What became of one step."""

    step: Step
    done: bool
    why: str = ""


Edit = tuple[int, Side, Key, str | None]
"""Before so many steps were tried, somebody writes this text there (None: removes the file)."""


@dataclass
class World:
    """Both sides and their ancestors."""

    places: dict[Side, Place] = field(default_factory=lambda: {LOCAL: Place(), REMOTE: Place()})
    ancestors: dict[Key, Ancestor] = field(default_factory=dict)
    versions: int = 0
    lost: dict[Side, int] = field(default_factory=dict)
    """Sides whose listing breaks off, after so many items: it says of nothing that it is missing."""
    movable: tuple[Side, ...] = SIDES
    """Sides whose store can give an item another name."""

    @classmethod
    def of(
        cls,
        ancestor: Mapping[str, str] | Iterable[str] = (),
        local: Mapping[str, str] | Iterable[str] = (),
        remote: Mapping[str, str] | Iterable[str] = (),
    ) -> World:
        """From texts by key; directories above are implied, and keys alone stand for files that hold their key."""
        world = cls()
        agreed = _texts(ancestor)
        for side in SIDES:
            for key, text in agreed.items():
                world.put(side, key, text)
        world.agree()
        for side, wanted in ((LOCAL, _texts(local)), (REMOTE, _texts(remote))):
            world.become(side, wanted)
        return world

    def copy(self) -> World:
        """An independent copy."""
        return deepcopy(self)

    def swapped(self) -> World:
        """The world in a mirror."""
        world = self.copy()
        world.places = {LOCAL: world.places[REMOTE], REMOTE: world.places[LOCAL]}
        world.ancestors = {
            key: Ancestor(ancestor.remote, ancestor.local, ancestor.content)
            for key, ancestor in world.ancestors.items()
        }
        world.movable = tuple(other(side) for side in reversed(self.movable))
        return world

    # -- what others do ----------------------------------------------------------------------------------------------

    def put(self, side: Side, key: Key, text: str, *, modified_ns: int = 1) -> None:
        """Somebody writes a file or makes a directory."""
        self.versions += 1
        token = DIRECTORY_TOKEN if is_directory(key) else Token(f"v{self.versions}")
        kind = Kind.DIRECTORY if is_directory(key) else Kind.FILE
        self.places[side].items[key] = Held(text, token, modified_ns, kind)

    def spoil(self, side: Side, key: Key, kind: Kind) -> None:
        """Make an item something that cannot be judged; a directory of excluded items if it is none of those kinds."""
        items = self.places[side].items
        if kind is Kind.DIRECTORY:
            items[key] = replace(items[key], size=1)
        elif kind is Kind.UNREADABLE:
            items[key] = replace(items[key], kind=kind)
        else:
            for gone in [there for there in items if there == key or (is_directory(key) and there.startswith(key))]:
                del items[gone]
            items[Key(key.rstrip("/"))] = Held("", OPAQUE_TOKEN, kind=kind)

    def become(self, side: Side, wanted: Mapping[Key, str], *, modified_ns: int = 1) -> None:
        """Somebody makes the side hold exactly this; what is there already keeps its version."""
        items = self.places[side].items
        for key in [key for key in items if key not in wanted]:
            del items[key]
        for key, text in wanted.items():
            if key not in items or items[key].text != text:
                self.put(side, key, text, modified_ns=modified_ns)

    def agree(self) -> None:
        """Remember what both sides hold alike."""
        local, remote = self.places[LOCAL].items, self.places[REMOTE].items
        for key in local.keys() & remote.keys():
            if local[key].text == remote[key].text:
                self.ancestors[key] = Ancestor(local[key].token, remote[key].token, _content(key, local[key].text))

    # -- the pipeline ------------------------------------------------------------------------------------------------

    def findings(self, policy: Policy) -> list[Finding]:
        """Merge, look closer, reconcile."""
        merge = Merge()
        rows = {side: self.places[side].rows()[: self.lost.get(side)] for side in SIDES}
        suspects = merge.feed(rows[LOCAL], rows[REMOTE], self.ancestor_rows())
        found = []
        for suspect in suspects:
            difference = self._difference(suspect, merge)
            if any(difference.side(side) is None for side in self.lost):
                continue
            rule = reconcile(difference, policy, now_ns=NOW)
            for _ in range(3):
                if isinstance(rule, LookCloser):
                    assert rule.sides
                    difference = self._look_closer(difference, rule)
                    rule = reconcile(difference, policy, now_ns=NOW)
            assert not isinstance(rule, LookCloser)
            if rule.reason != Reason.AGREE:
                found.append(Finding(difference, rule))
        return found

    def ancestor_rows(self) -> list[AncestorRow]:
        """The ancestors in key order."""
        keys = sorted(self.ancestors, key=key_bytes)
        return [(key_bytes(key), self.ancestors[key].local, self.ancestors[key].remote) for key in keys]

    def settled(self, policy: Policy) -> list[Finding]:
        """Findings that fit one tree on each side."""
        names = {side: self.places[side].names for side in SIDES}
        movable = [side for side in SIDES if side in self.movable and policy.direction.writes(side)]
        findings = self.findings(policy)
        if not self.lost:
            findings = self._look(findings, moves.wanted(findings, movable))
        copies = {name for finding in findings for _, name in finding.siblings()}
        wishes = [
            (side, finding.key, seen)
            for finding in findings
            for side in SIDES
            if finding.key in copies and isinstance(seen := finding.seen(side), Entry)
        ]
        findings = self._look(findings, wishes)
        return moves.settle_with_moves(findings, policy, names, complete=not self.lost, movable=movable)

    def _look(self, findings: list[Finding], wishes: list[tuple[Side, Key, Entry]]) -> list[Finding]:
        sides: dict[Key, list[Side]] = {}
        for side, key, _ in wishes:
            sides.setdefault(key, []).append(side)
        return [
            replace(
                finding,
                difference=self._look_closer(finding.difference, LookCloser(tuple(sides.get(finding.key, ())))),
            )
            for finding in findings
        ]

    def plan(self, policy: Policy) -> tuple[Item, ...]:
        """All the way to steps."""
        return build_items(self.settled(policy), policy)

    def _difference(self, suspect: Suspect, merge: Merge) -> Difference:
        key, local, remote, base = suspect
        ancestor = self.ancestors[key] if base is not None else None

        def seen(side: Side, row: Row | None) -> Seen:
            if row is None:
                return None
            if row[2] in OPAQUE_KINDS:
                return Unknown(row[6], row[2], merge.shadows[side][row[0].rstrip(b"/")].hidden)
            content = Content(row[2], row[3])
            if ancestor is not None and row[1] == (ancestor.local if side == LOCAL else ancestor.remote):
                content = replace(content, fingerprint=ancestor.content.fingerprint)
            return Entry(row[1], content, row[4])

        return Difference(key, seen(LOCAL, local), seen(REMOTE, remote), ancestor)

    def _look_closer(self, difference: Difference, closer: LookCloser) -> Difference:
        for side in closer.sides:
            entry = difference.side(side)
            assert isinstance(entry, Entry)
            text = self.places[side].items[difference.key].text
            entry = replace(entry, content=replace(entry.content, fingerprint=printed(text)))
            difference = replace(difference, local=entry) if side == LOCAL else replace(difference, remote=entry)
        return difference

    # -- the executor ------------------------------------------------------------------------------------------------

    def execute(
        self,
        items: Iterable[Item],
        *,
        seed: int = 0,
        crash_at: int | None = None,
        edit: Edit | None = None,
    ) -> list[Outcome]:
        """Carry out a plan phase by phase, in a random order within each; deletions from the deepest up."""
        run = _Run(self, random.Random(seed), crash_at, edit)
        work = [item for item in items if item.steps]
        for phase in Phase:
            part = [item for item in work if item.phase is phase]
            run.random.shuffle(part)
            if phase in (Phase.CLEAR, Phase.DELETE):
                part.sort(key=lambda item: key_bytes(item.key), reverse=True)
            if phase is Phase.DELETE and run.failed:
                break
            for item in part:
                if run.crashed:
                    break
                run.item(item)
        return run.outcomes

    def run(
        self,
        policy: Policy,
        *,
        seed: int = 0,
        crash_at: int | None = None,
        edit: Edit | None = None,
    ) -> tuple[tuple[Item, ...], list[Outcome]]:
        """Plan and carry out."""
        items = self.plan(policy)
        return items, self.execute(items, seed=seed, crash_at=crash_at, edit=edit)


@dataclass
class _Run:
    world: World
    random: random.Random
    crash_at: int | None
    edit: Edit | None
    outcomes: list[Outcome] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    tried: int = 0
    failed: bool = False
    crashed: bool = False

    def item(self, item: Item) -> None:
        written: dict[str, Token | None] = {}
        kept = {step.side for step in item.steps if step.verb is Verb.SAVE}
        self.done.update(step.id for step in item.steps if step.verb is Verb.SAVE)  # one with the write it protects
        for step in item.steps:
            if step.verb is Verb.SAVE:
                continue
            if self.tried == self.crash_at:
                self.crashed = True
                return
            if self.edit is not None and self.tried == self.edit[0]:
                self._somebody_writes(*self.edit[1:])
            self.tried += 1
            if not set(step.needs) <= self.done:
                self.failed = True
                self.outcomes.append(Outcome(step, done=False, why="needs"))
                return
            try:
                written[step.id] = self._do(step, keep=step.side in kept)
            except Refused as refused:
                self.failed = True
                self.outcomes.append(Outcome(step, done=False, why=str(refused)))
                return
            self.done.add(step.id)
            self.outcomes.append(Outcome(step, done=True))
        if self.tried == self.crash_at:  # the effect is there, its ancestor is not
            self.crashed = True
            return
        self._remember(item, written)

    def _somebody_writes(self, side: Side, key: Key, text: str | None) -> None:
        place = self.world.places[side]
        clashes = {Key(key + "/"), *(Key(directory[:-1]) for directory in parents(key))}
        if clashes & place.items.keys():
            return
        if text is None:
            place.items.pop(key, None)
            return
        for directory in parents(key):
            self.world.put(side, directory, "")
        self.world.put(side, key, text)

    def _do(self, step: Step, *, keep: bool) -> Token | None:
        world, place = self.world, self.world.places[step.side]
        if step.verb is Verb.ADOPT:
            return step.expect
        if step.verb is Verb.MOVE:
            assert step.value is not None
            world.versions += 1
            return place.move(step.value.key, step.key, expect=step.value.token, token=Token(f"v{world.versions}"))
        if step.verb is Verb.DELETE:
            assert step.expect is not None
            place.remove(step.key, expect=step.expect, keep=keep)
            return None
        if step.value is None or is_directory(step.key):
            directory = step.key if is_directory(step.key) else Key(step.key + "/")
            place.make_directory(directory, expect=step.expect, keep=keep)
            return DIRECTORY_TOKEN
        source = self._read(step.value)
        world.versions += 1
        held = Held(source.text, Token(f"v{world.versions}"), source.modified_ns)
        there = place.items.get(step.key)
        if step.verb is Verb.SIBLING and there is not None and there.text == source.text:
            return there.token
        place.write(step.key, held, expect=step.expect, keep=keep)
        return held.token

    def _read(self, value: Ref) -> Held:
        held = self.world.places[value.side].items.get(value.key)
        if held is None or held.token != value.token:
            raise Refused(f"{value.key!r} on {value.side} is {held}")
        return held

    def _remember(self, item: Item, written: Mapping[str, Token | None]) -> None:
        """What was written and read, not what is there by now."""
        ancestors = self.world.ancestors
        siblings = [step for step in item.steps if step.verb is Verb.SIBLING]
        if len(siblings) == len(SIDES):
            value = siblings[0].value
            assert value is not None
            local, remote = (written[step.id] for step in sorted(siblings, key=lambda step: step.side))
            assert local is not None
            assert remote is not None
            ancestors[siblings[0].key] = Ancestor(local, remote, value.content)
        for step in item.steps:
            if step.verb is Verb.MOVE:
                self._remember_move(item, step, written[step.id])
                return
        writes = [step for step in item.steps if step.verb in (Verb.PUT, Verb.REPLACE_KIND, Verb.DELETE)]
        if not writes:
            local_entry, remote_entry = item.side(LOCAL), item.side(REMOTE)
            if isinstance(local_entry, Entry) and isinstance(remote_entry, Entry):
                ancestors[item.key] = Ancestor(local_entry.token, remote_entry.token, local_entry.content)
            else:
                ancestors.pop(item.key, None)
            return
        (write,) = writes
        if write.value is None:
            ancestors.pop(item.key, None)
            return
        token = written[write.id]
        assert token is not None
        tokens = {write.side: token, write.value.side: write.value.token}
        content = write.value.content
        if content.kind is Kind.FILE and content.fingerprint is None:
            content = replace(content, fingerprint=printed(self.world.places[write.side].items[item.key].text))
        ancestors[item.key] = Ancestor(tokens[LOCAL], tokens[REMOTE], content)

    def _remember_move(self, item: Item, step: Step, token: Token | None) -> None:
        seen = item.side(other(step.side))
        assert step.value is not None
        assert token is not None
        assert isinstance(seen, Entry)
        self.world.ancestors.pop(step.value.key)
        tokens = {step.side: token, other(step.side): seen.token}
        self.world.ancestors[item.key] = Ancestor(tokens[LOCAL], tokens[REMOTE], seen.content)


def _texts(tree: Mapping[str, str] | Iterable[str]) -> dict[Key, str]:
    given = dict(tree) if isinstance(tree, Mapping) else {key: "" if key.endswith("/") else key for key in tree}
    texts = {directory: "" for key in given for directory in parents(Key(key))}
    return texts | {Key(key): text for key, text in given.items()}


def _content(key: Key, text: str) -> Content:
    return DIRECTORY_CONTENT if is_directory(key) else Content(Kind.FILE, len(text), printed(text))


def reasons(items: Iterable[Item]) -> dict[str, str]:
    """Why, by key."""
    return {item.key: item.reason for item in items}
