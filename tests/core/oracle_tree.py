"""The rules of trees a second time: what each side must hold at the end, as constraints on that end.

Nothing here is shared with `trueup.core`: where the two disagree, one of them misreads the specification. What a key by
itself asks for comes from `tests.core.oracle`; here those wishes are withdrawn, one after the other, until what is left
of them is a tree on each side. Sources: RECONCILE, "Order", and its scenarios 10 to 14; the decision "A change of kind
is an edit".

A tree is a dictionary of texts by key; a directory's key ends in ``/`` and its text is empty; `UNKNOWN` is something
that the side could not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.core.oracle import Case, Options, verdict

UNKNOWN = "?"
SIDES = ("local", "remote")

Tree = Mapping[str, str]


class Place(NamedTuple):
    """Which names a side can hold."""

    directories: bool = True
    one: Callable[[str], str] = str
    """Spellings for which this is the same are one name there."""
    refuses: Callable[[str], bool] = lambda _: False


class World(NamedTuple):
    """What is there, and what was agreed."""

    local: Tree
    remote: Tree
    ancestor: Tree

    @property
    def sides(self) -> dict[str, Tree]:
        """The trees by side."""
        return {"local": self.local, "remote": self.remote}

    @property
    def keys(self) -> list[str]:
        """All of them, in order."""
        return sorted({*self.local, *self.remote, *self.ancestor})


class End(NamedTuple):
    """What each side holds at the end, and which keys were left as they differ: those are reported."""

    local: dict[str, str]
    remote: dict[str, str]
    left: frozenset[str]


Newest = Callable[[str, str], str]
"""The side that NEWEST_WINS prefers for two texts, or ``tie``."""


def end(
    world: World, options: Options, newest: Newest, places: Mapping[str, Place], *, broken_off: str | None = None
) -> End:
    """What the specification calls for.

    Args:
        world: What there is.
        options: The settings; `newest` is asked instead of ``options.newest``.
        newest: Whose text is newer.
        places: Which names each side can hold.
        broken_off: The side whose listing is not complete; what it did not show is not known to be missing.
    """
    wishes = _Wishes(world, places)
    for key in wishes.keys:
        wishes.wish(key, options, newest)
    if broken_off is not None:
        wishes.forget_unseen(broken_off)
    for file in list(wishes.kin):
        wishes.settle_kin(file, options)
    if broken_off is not None:
        wishes.withdraw(key for side in SIDES for key in wishes.keys if wishes.loses(side, key))
    wishes.fit_names()
    while wishes.keep_directories() or wishes.keep_kinds_whole():
        pass
    return End(wishes.tree("local"), wishes.tree("remote"), frozenset(wishes.left()))


def above(key: str) -> Iterator[str]:
    """The directories above a key."""
    parts = key.rstrip("/").split("/")
    return ("/".join(parts[:n]) + "/" for n in range(1, len(parts)))


def hidden(world: World) -> set[str]:
    """What lies below something that cannot be read, or has the same name as the other kind."""
    shut = {key for tree in world.sides.values() for key, text in tree.items() if text == UNKNOWN}
    return {key for key in world.keys for dark in shut if key != dark and f"{key}/".startswith(dark.rstrip("/") + "/")}


@dataclass
class _Wishes:
    """What is to be on both sides, key by key; a key without a wish stays as it is."""

    world: World
    places: Mapping[str, Place]
    keys: list[str] = field(init=False)
    kin: dict[str, list[str]] = field(init=False)
    """File names that are directories too, with all keys of that name and below."""
    wished: dict[str, dict[str, str | None]] = field(default_factory=dict)
    siblings: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    """By key and side: names and texts."""
    unfit: set[str] = field(default_factory=set)
    """Withdrawn because a side cannot hold the name."""

    def __post_init__(self) -> None:
        dark = hidden(self.world)
        self.keys = [key for key in self.world.keys if key not in dark]
        self.kin = {}
        for file in self.keys:
            below = [key for key in self.keys if key.startswith(f"{file}/")]
            if below and not file.endswith("/"):
                self.kin[file] = [file, *below]

    def now(self, side: str, key: str) -> str | None:
        return self.world.sides[side].get(key)

    def then(self, side: str, key: str) -> str | None:
        wish = self.wished.get(key)
        return self.now(side, key) if wish is None else wish[side]

    def gains(self, side: str, key: str) -> bool:
        """Whether something is written under the name."""
        return self.then(side, key) is not None and self.then(side, key) != self.now(side, key)

    def loses(self, side: str, key: str) -> bool:
        return self.now(side, key) is not None and self.then(side, key) is None

    def withdraw(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self.wished.pop(key, None)
            self.siblings.pop(key, None)

    # -- each key by itself --------------------------------------------------------------------------------------

    def wish(self, key: str, options: Options, newest: Newest) -> None:
        local, remote = self.now("local", key), self.now("remote", key)
        if UNKNOWN in (local, remote):
            return
        later = "tie" if local is None or remote is None else newest(local, remote)
        _, steps = verdict(Case(local, remote, self.world.ancestor.get(key), options._replace(newest=later)))
        wish, siblings = {"local": local, "remote": remote}, {}
        for step in steps:
            if step[0] == "put":
                wish[str(step[1])] = step[2]
            elif step[0] == "sibling":
                siblings[str(step[1])] = {f"{key}~{step[2]}": str(step[2])}
        if wish != {"local": local, "remote": remote}:
            self.wished[key], self.siblings[key] = wish, siblings

    def forget_unseen(self, side: str) -> None:
        """What a broken listing did not show is no item of this run at all."""
        self.keys = [key for key in self.keys if self.now(side, key) is not None]
        self.wished = {key: wish for key, wish in self.wished.items() if key in self.keys}
        self.siblings = {key: more for key, more in self.siblings.items() if key in self.keys}
        kin = {file: [key for key in kin if key in self.keys] for file, kin in self.kin.items()}
        self.kin = {file: kin for file, kin in kin.items() if file in self.keys and len(kin) > 1}

    # -- changes of kind -----------------------------------------------------------------------------------------

    def settle_kin(self, file: str, options: Options) -> None:
        """A name that is a file here and a directory there is decided as a whole, with everything below it."""
        kin = self.kin[file]
        moot = [key for key in kin if self._is_agreed(key)]  # a bucket can hold both kinds
        below = [key for key in kin[1:] if key not in moot]
        if file in moot or not any(self._apart(file, below, *sides) for sides in (SIDES, SIDES[::-1])):
            return
        if any(self.now(side, key) == UNKNOWN for side in SIDES for key in kin):
            self.withdraw(kin)
            return
        winner = self._winner(kin, options)
        self.withdraw(kin)
        written = {"pull": ("local",), "push": ("remote",)}.get(options.direction, SIDES)
        loser = "remote" if winner == "local" else "local"
        if winner is None or loser not in written:
            return
        for key in kin:
            self.wished[key] = dict.fromkeys(SIDES, self.now(winner, key))

    def _is_agreed(self, key: str) -> bool:
        return self.now("local", key) == self.now("remote", key) == self.world.ancestor.get(key)

    def _apart(self, file: str, below: list[str], one: str, other: str) -> bool:
        return self.now(one, file) is not None and any(self.now(other, key) is not None for key in below)

    def _winner(self, kin: list[str], options: Options) -> str | None:
        """The only side that changed, unless one way it is the destination; else as the strategy says."""
        differing = [key for key in kin if self.now("local", key) != self.now("remote", key)]
        changed = [
            side for side in SIDES if any(self.now(side, key) != self.world.ancestor.get(key) for key in differing)
        ]
        destination = {"pull": "local", "push": "remote"}.get(options.direction)
        if len(changed) == 1 and changed[0] != destination:
            return changed[0]
        return {"local_wins": "local", "remote_wins": "remote"}.get(options.strategy)

    # -- what a side can hold ------------------------------------------------------------------------------------

    def fit_names(self) -> None:
        """Nothing is written under a name that cannot be, nor below a directory for which that is so."""
        for side in SIDES:
            unfit = {key for key in self.keys if any(map(self.places[side].refuses, self._written(side, key)))}
            unfit |= self._colliding(side, unfit)
            unfit |= {key for key in self.keys if self._written(side, key) and not unfit.isdisjoint(above(key))}
            self.withdraw(unfit)
            self.unfit |= unfit

    def _written(self, side: str, key: str) -> list[str]:
        own = [key] if self.gains(side, key) else []
        return own + list(self.siblings.get(key, {}).get(side, {}))

    def _colliding(self, side: str, unfit: set[str]) -> set[str]:
        """What would be put under the name of something that is there now, or is to be put there as well.

        What is put below a directory that is not there needs that name, too.
        """
        one = self.places[side].one
        there = [key for key in self.keys if self.now(side, key) is not None]
        new = {name for key in self.keys if self.gains(side, key) for name in (key, *above(key)) if name not in there}
        new |= {key for key in self.keys if self.gains(side, key)}
        rivals = {*there, *(key for key in new if key not in unfit)}
        return {
            key
            for key in new
            for rival in rivals
            if key.rstrip("/") != rival.rstrip("/") and one(key.rstrip("/")) == one(rival.rstrip("/"))
        }

    # -- trees ---------------------------------------------------------------------------------------------------

    def keep_directories(self) -> bool:
        """A directory stays for what stays below it, and comes back for what is written below it."""
        before = dict(self.wished)
        for key in sorted((key for key in self.keys if key.endswith("/")), reverse=True):
            for side, other in (SIDES, SIDES[::-1]):
                below = [k for k in self.keys if k.startswith(key) and k != key]
                if self.loses(side, key) and any(self.then(side, k) is not None for k in below):
                    self.withdraw([key])
                missing = self.now(side, key) is None and self.now(other, key) == ""
                if missing and any(self._written(side, k) for k in below):
                    self.wished[key] = dict.fromkeys(SIDES, "")
        return self.wished != before

    def keep_kinds_whole(self) -> bool:
        """No side gets one kind while it holds the other, or loses one because the other cannot be there."""
        before = dict(self.wished)
        for file, kin in self.kin.items():
            for side in SIDES:
                if any(self.gains(side, key) for key in kin):
                    broken = self.then(side, file) is not None and any(self.then(side, k) is not None for k in kin[1:])
                else:
                    broken = not self.unfit.isdisjoint(kin) and any(self.loses(side, key) for key in kin)
                if broken:
                    self.withdraw(kin)
        return self.wished != before

    # -- the end -------------------------------------------------------------------------------------------------

    def tree(self, side: str) -> dict[str, str]:
        held = {key: self.then(side, key) for key in self.keys}
        held |= {key: text for key, text in self.world.sides[side].items() if key not in held}
        for siblings in self.siblings.values():
            held |= siblings.get(side, {})
        return {key: text for key, text in held.items() if text is not None}

    def left(self) -> Iterator[str]:
        for key in self.keys:
            if key not in self.wished and (
                self.now("local", key) != self.now("remote", key) or self.now("local", key) == UNKNOWN
            ):
                yield key
