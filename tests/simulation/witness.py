"""Who looks on and forgets nothing: which versions there were, where they are now, and who may have ended them.

The invariants have the numbers of RECONCILE. What is broken is written down, and the story goes on.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from blake3 import blake3

from trueup.core.model import (
    LOCAL,
    REMOTE,
    UNTRUSTED,
    Ancestor,
    Key,
    Kind,
    Side,
    Token,
    is_directory,
)
from trueup.core.plan import Phase, Plan
from trueup.core.reconcile import Reason, is_sibling
from trueup.core.strategy import Conflict, Keep, Policy
from trueup.core.table import Verb
from trueup.core.tree import SIDES
from trueup.stores.memory.state import MemoryState, Node

WITH_NAMES_THAT_ARE_ONE = frozenset(
    {"1", "2", "3", "4", "5", "6", "6 and 11", "7", "9", "10", "errors", "end", "order"}
)
"""What holds where two spellings are one name, too.

Such a side keeps the spelling of a directory that is there, so it holds a name that nobody wrote there (8).
"""
WHERE_SOME_ARE_HIDDEN = WITH_NAMES_THAT_ARE_ONE - {"3"}
"""What of that holds under a filter, and beside a bucket, which can hold a file and something below its name.

Those are not seen under the other spelling: a new name is refused at its write, each time (3). Or it comes to be in a
directory that is hidden (19).
"""

STALE_LISTINGS = 6
"""So many earlier contents of a place are remembered, for listings that are late."""


class Acting(Protocol):
    """One use of the engine."""

    name: str
    policy: Policy
    places: Mapping[Side, str]
    seen: Seen
    holds: set[str]
    """Places that it keeps others away from."""
    prunes: bool | None
    """Whether it may destroy what is in the trash; True: last copies, too."""
    bore: Mapping[str, Collection[str]]
    """Names that each place bore when it began to."""
    undoes: bool


@dataclass
class Seen:
    """What the witness knows of one use of the engine."""

    plan: Plan | None = None
    expects: dict[tuple[Side, Key], set[Token | None]] = field(default_factory=lambda: defaultdict(set))
    phases: dict[Key, set[Phase]] = field(default_factory=lambda: defaultdict(set))
    siblings: set[Key] = field(default_factory=set)
    before: Mapping[Key, Ancestor] = field(default_factory=dict)
    """What was agreed when it began."""
    listing_lost: bool = False
    failed: bool = False
    deleting: bool = False

    def confirmed(self, plan: Plan) -> None:
        """The plan that may be carried out."""
        self.plan = plan
        for item in plan.items:
            self.phases[item.key].add(item.phase)
            for step in item.steps:
                self.expects[step.side, step.key].add(step.expect)
                if step.verb is Verb.SIBLING:
                    self.siblings.add(step.key)
                if step.verb is Verb.MOVE and step.value is not None:
                    self.expects[step.side, step.value.key].add(step.value.token)


@dataclass
class Place:
    """One side: what it holds, and what it ever held."""

    name: str
    state: MemoryState
    folded: Callable[[Key], str]
    shadow: dict[str, Node] = field(default_factory=dict)
    trash: dict[str, Key] = field(default_factory=dict)
    """Names by handle."""
    marker: str | None = None
    earlier: deque[dict[str, Node]] = field(default_factory=lambda: deque(maxlen=STALE_LISTINGS))
    held: dict[Key, dict[Token, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    """Digests by name and version."""
    ours: set[Token] = field(default_factory=set)
    """Versions that the engine wrote."""

    def files(self) -> dict[Key, bytes]:
        """The content of every file, in key order."""
        nodes = sorted(self.state.nodes.items())
        return {node.key: node.data for _, node in nodes if not is_directory(node.key) or node.data}

    def contents(self) -> set[bytes]:
        """Everything that can be had from here, the trash included."""
        return {node.data for node in self.state.nodes.values()} | {kept.data for kept in self.state.trash.values()}


class Witness:
    """Sees every change of every place right after it has happened."""

    def __init__(self, places: Mapping[str, Place], *, caseless: bool = False, hidden: bool = False) -> None:
        self.places = places
        self.caseless = caseless
        self._held = WHERE_SOME_ARE_HIDDEN if hidden else WITH_NAMES_THAT_ARE_ONE
        """Whether somewhere several names are one."""
        self.broken: list[str] = []
        self.ever: set[bytes] = set()
        """Every content that a person wrote."""
        self.agreed: dict[str, dict[Key, Ancestor]] = defaultdict(dict)
        """What each machine takes for agreed."""
        self.figures: Counter[str] = Counter()
        self.excluded: Callable[[Key], bool] = lambda _: False
        """What belongs to nobody at present."""
        self._digests: dict[bytes, str] = {}

    def digest(self, data: bytes) -> str:
        """BLAKE3."""
        known = self._digests.get(data)
        if known is None:
            known = self._digests[data] = blake3(data).hexdigest()
        return known

    def wrong(self, invariant: str, text: str) -> None:
        """Write down what must not be."""
        if self.caseless and invariant not in self._held:
            self.figures["spellings taken for each other"] += 1
            return
        self.broken.append(f"invariant {invariant}: {text}")

    # -- changes -------------------------------------------------------------------------------------------------

    def look(self, name: str, who: Acting | None) -> list[str]:
        """See what has changed at a place since the last look; `who` did it, a person if None."""
        place = self.places[name]
        state, shadow = place.state, place.shadow
        changes: list[str] = []
        if state.nodes != shadow:
            keys = [
                key for key in sorted(shadow.keys() | state.nodes.keys()) if shadow.get(key) != state.nodes.get(key)
            ]
            place.earlier.append(shadow)
            place.shadow = dict(state.nodes)
            changes = [self._change(place, shadow.get(key), state.nodes.get(key), who, shadow) for key in keys]
        gone = place.trash.keys() - state.trash.keys()
        for handle in sorted(gone):
            self._check_pruned(place, who, handle, place.trash[handle])
        if who is not None and (len(state.trash) != len(place.trash) or state.marker != place.marker):
            self._check_side(place, who, "trash or marker")
        place.trash = {handle: kept.discarded.key for handle, kept in state.trash.items()}
        place.marker = state.marker
        return changes

    def _check_pruned(self, place: Place, who: Acting | None, handle: str, key: Key) -> None:
        """A kept version was destroyed: only by who was told to, and not the only one of its name."""
        if who is None or who.prunes is None:
            self.wrong("1", f"{handle} vanished from the trash of {place.name}")
            return
        self.figures["pruned"] += 1
        sides = [self.places[name] for name in who.places.values()]
        live = any(side.folded(key) in nodes for side in sides for nodes in (side.state.nodes, who.bore[side.name]))
        if not (live or who.prunes):
            self.wrong("1", f"{who.name} destroyed {handle} at {place.name}: nothing bears that name any more")

    def _change(
        self, place: Place, old: Node | None, new: Node | None, who: Acting | None, shadow: Mapping[str, Node]
    ) -> str:
        if new is not None:
            place.held[new.key][new.token].add(self.digest(new.data) if new.kind is not Kind.DIRECTORY else "")
        node = new or old
        assert node is not None
        text = f"{node.key}: {_shown(old)} -> {_shown(new)}"
        if who is None:
            if new is not None:
                self.ever.add(new.data)
            return text
        self.figures["effects"] += 1
        self._check_side(place, who, text)
        if self.excluded(node.key) and not who.undoes:
            self.wrong("19", f"{who.name} changed what belongs to nobody at {place.name}: {text}")
        if new is not None and new.data and new.data not in self.ever:
            self.wrong("1", f"{who.name} wrote what nobody wrote at {place.name}: {text}")
        if new is not None and new.kind is Kind.FILE:
            place.ours.add(new.token)
            self._check_sibling(place, new, who)
        if old is not None and old.kind is not Kind.DIRECTORY and (new is None or new.data != old.data):
            self._check_end(place, old, new, who, shadow)
        return text

    def _check_sibling(self, place: Place, new: Node, who: Acting) -> None:
        if is_sibling(new.key) and new.key.count(".conflict-") > 1:
            self.wrong("3", f"a sibling got a sibling at {place.name}: {new.key}")
        if new.key in who.seen.siblings and self.digest(new.data)[:8] not in new.key:
            self.wrong("6", f"a sibling has not the name of its content at {place.name}: {new.key}")

    def _check_side(self, place: Place, who: Acting, what: str) -> None:
        side = _side(place, who)
        if not who.policy.direction.writes(side):
            self.wrong("2", f"{who.name} wrote {place.name} in a {who.policy.direction}: {what}")

    def _check_end(self, place: Place, old: Node, new: Node | None, who: Acting, shadow: Mapping[str, Node]) -> None:
        """A version has ceased to be live under its name."""
        side, seen = _side(place, who), who.seen
        undoing = seen.plan is not None and seen.plan.undoes is not None
        what = f"{who.name} ended {_shown(old)} of {old.key} at {place.name} for {_shown(new)}"
        moved = new is None and any(
            node.data == old.data and name not in shadow for name, node in place.state.nodes.items()
        )
        spellings = (key for where, key in seen.expects if where == side and place.folded(key) == place.folded(old.key))
        if not any(old.token in seen.expects[side, key] for key in spellings):
            self.wrong("9", f"{what}, which its plan had not seen")
        # After a lost answer the same content, unseen in a stale listing, passes for ours. It is kept.
        if undoing and old.token not in place.ours and old.data not in place.contents():
            self.wrong("9", f"{what}, which is not what the engine wrote, to take that back")
        known = self._known(who, old)
        racy = len(place.held[old.key][old.token]) > 1
        if who.policy.conflict is Conflict.MANUAL and not (undoing or moved or known or racy):
            self.wrong("9", f"{what}: nobody decided that, and it is not what was agreed")
        if new is None and not undoing and seen.listing_lost:
            self.wrong("10", f"{what} after a listing had failed")
        if new is None and not moved and seen.failed and seen.phases[old.key] == {Phase.DELETE}:
            self.wrong("10", f"{what} after a write had failed")
        if (
            who.policy.keep is Keep.ALL
            and not moved
            and all(kept.data != old.data for kept in place.state.trash.values())
        ):
            self.wrong("1", f"{what} and did not keep it")
        if who.policy.keep is Keep.NONE or known:
            return
        if not any(old.data in one.contents() for one in self.places.values()):
            self.wrong("1", f"{what}: the version is lost")

    def _known(self, who: Acting, old: Node) -> bool:
        """Whether the content is what was agreed on."""
        digest = self.digest(old.data)
        for ancestors in (who.seen.before, self.agreed[who.name]):
            ancestor = ancestors.get(old.key)
            printed = ancestor.content.fingerprint if ancestor is not None else None
            if printed is not None and printed.digest == digest:
                return True
        return False

    def begins(self, who: Acting, effect: str, key: Key) -> None:
        """The engine asks a store for an effect."""
        phases = who.seen.phases[key]
        if effect == "remove" and phases == {Phase.DELETE}:
            who.seen.deleting = True
        elif effect == "write" and phases == {Phase.WRITE} and who.seen.deleting:
            self.wrong("order", f"{who.name} writes {key} after it has begun to delete")

    def lie(self, name: str, key: Key, token: Token, data: bytes) -> str:
        """A store says that it holds this version; the engine has to believe it. Returns the digest."""
        digest = self.digest(data)
        self.places[name].held[key][token].add(digest)
        return digest

    # -- ancestors -----------------------------------------------------------------------------------------------

    def remembered(self, who: Acting, ancestors: dict[Key, Ancestor]) -> None:
        """A machine has written down what was agreed."""
        before = self.agreed[who.name]
        for key, ancestor in ancestors.items():
            if before.get(key) != ancestor:
                self._check_ancestor(who, key, ancestor)
        self.agreed[who.name] = ancestors

    def _check_ancestor(self, who: Acting, key: Key, ancestor: Ancestor) -> None:
        fingerprint = ancestor.content.fingerprint
        digest = fingerprint.digest if fingerprint is not None else ""
        for side, token in ((LOCAL, ancestor.local), (REMOTE, ancestor.remote)):
            held = self.places[who.places[side]].held[key]
            if not any(digest in digests for digests in held.values()):
                self.wrong("8", f"{who.name} remembers of {key} what {side} never held: {ancestor}")
            elif token != UNTRUSTED and digest not in held[token]:
                self.wrong("8", f"{who.name} remembers of {key} as {token} what {side} held as another: {ancestor}")

    # -- at rest -------------------------------------------------------------------------------------------------

    def at_rest(self, who: Acting, plan: Plan, allowed: Collection[str]) -> None:
        """Nothing is left to do: what differs is reported, and only what the policy leaves open differs."""
        reported = {item.key: item.reason for item in plan.items}
        unseen = [key for key in reported if reported[key] == Reason.UNKNOWN or not is_directory(key)]
        local, remote = (self.places[who.places[side]].files() for side in SIDES)
        for key in sorted(local.keys() | remote.keys()):
            if local.get(key) == remote.get(key) or self.excluded(key):
                continue
            if key not in reported:
                if not any(key.startswith(f"{above.rstrip('/')}/") for above in unseen):
                    self.wrong("4", f"{who.name} says nothing of {key}, which differs")
            elif reported[key] not in allowed:
                self.wrong("4", f"{who.name} leaves {key} as {reported[key]} under {who.policy}")

    def tidy(self, who: Acting) -> None:
        """All are at rest: whoever was killed and writes to a place has had a turn to tidy it."""
        for side in SIDES:
            place = self.places[who.places[side]]
            if place.state.staged and who.policy.direction.writes(side):
                self.wrong("6", f"{place.name} still has temporary names: {sorted(place.state.staged)}")


def _side(place: Place, who: Acting) -> Side:
    return next(side for side in SIDES if who.places[side] == place.name)


def _shown(node: Node | None) -> str:
    if node is None:
        return "nothing"
    if node.kind is Kind.DIRECTORY:
        return "a folder"
    text = node.data.decode("ascii", "replace").rstrip(".")
    return f"{text}@{node.token}" if node.kind is Kind.FILE else f"{text}@{node.token} ({node.kind})"
