"""The tree that a store `memory` holds, and what a person does to it."""

from __future__ import annotations

from dataclasses import replace

from trueup.core.model import (
    DIRECTORY_TOKEN,
    Key,
    Kind,
    Token,
    is_directory,
    key_bytes,
    parents,
)
from trueup.core.table import Verb
from trueup.core.tree import Names
from trueup.protocols import (
    VERBS,
    Clock,
    Filter,
    Properties,
    Threads,
)
from trueup.stores.memory.names import name_problem
from trueup.stores.memory.state import MemoryState, Node


class Tree:
    """Files and directories by name, and what they promise.

    Args:
        location: A name for people and for the identity of targets; no two sides of a target bear the same.
        clock: Says when a version was written, and lets others run.
        state: What it holds; a new, empty one by default.
        threads: Where sources are read; by default in the caller's, which suits sources that do not block.
        filter: Which items belong; None: all.
        directories: Whether directories exist by themselves. If not, it is a bucket: ``x`` and ``x/y`` can both be
            there, and a person can `put` names that no file system holds.
        case_sensitive: Whether ``A`` and ``a`` are two names.
        normalizes: Whether the composed and the decomposed spelling of a letter are one name.
        capacity_bytes: Room for everything, trash included; None: no limit.
        read_only: Every write raises ReadOnly.
        refuses_lost_races: If not, the expected version is compared before the source is read and never again.
        tick_ns: Persons' edits of equal size within one tick do not change the token.
        free_fingerprints: Whether `scan` and `stat` say fingerprints.
        batch_rows: Most rows in one batch.
        chunk_bytes: Most bytes in one chunk of a source.
        notices: As in `Properties`.
    """

    def __init__(
        self,
        location: str = "memory://",
        *,
        clock: Clock,
        state: MemoryState | None = None,
        threads: Threads | None = None,
        filter: Filter | None = None,  # noqa: A002  # the word that everybody uses for it
        directories: bool = True,
        case_sensitive: bool = True,
        normalizes: bool = False,
        capacity_bytes: int | None = None,
        read_only: bool = False,
        refuses_lost_races: bool = True,
        tick_ns: int = 0,
        free_fingerprints: bool = False,
        batch_rows: int = 1000,
        chunk_bytes: int = 65_536,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.state = MemoryState() if state is None else state
        self._clock = clock
        self._threads = threads
        self._filter = filter
        self._capacity_bytes = capacity_bytes
        self._read_only = read_only
        self._free_fingerprints = free_fingerprints
        self._batch_rows = batch_rows
        self._chunk_bytes = chunk_bytes
        self._names = Names(self._problem, fold_case=not case_sensitive, fold_unicode=normalizes)
        self._properties = Properties(
            location=location,
            verbs=VERBS | {Verb.MOVE},
            directories=directories,
            refuses_lost_races=refuses_lost_races,
            tick_ns=tick_ns,
            names=self._names,
            notices=notices,
        )

    @property
    def properties(self) -> Properties:
        """As `trueup.protocols.Observe.properties`."""
        return self._properties

    def put(self, path: str, data: bytes, *, modified_ns: int | None = None, mode: int | None = None) -> None:
        """Write a file as a person would: at once, over whatever file is there, with the directories above.

        Raises:
            ValueError: If no person could, because of the name, or of a file or directory in the way.
        """
        key = Key(path)
        if self._properties.directories:
            self._refuse_impossible(key)
        old = self._find(key)
        now_ns = self._clock.now_ns()
        token = self._token()
        tick_ns = self._properties.tick_ns
        if (
            old is not None
            and tick_ns
            and len(old.data) == len(data)
            and old.modified_ns // tick_ns == now_ns // tick_ns
        ):
            token = old.token
        modified_ns = now_ns if modified_ns is None else modified_ns
        self._place(Node(self._spelled(key), Kind.FILE, token, data, modified_ns, mode))

    def put_directory(self, path: str) -> None:
        """Make a directory as a person would, with those above; `path` ends in a slash."""
        key = Key(path)
        self._refuse_impossible(key)
        if self._find(key) is None:
            self._place(Node(self._spelled(key), Kind.DIRECTORY, DIRECTORY_TOKEN))

    def delete(self, path: str) -> None:
        """Delete a file, or a directory with all that it holds, as a person would.

        Raises:
            KeyError: If it is not there.
        """
        folded = self._names.folded(Key(path))
        del self.state.nodes[folded]
        if self._is_directory(Key(path)):
            for name in [name for name in self.state.nodes if name.startswith(folded)]:
                del self.state.nodes[name]

    def obstruct(self, path: str, *, why: str = "permission denied", kind: Kind = Kind.UNREADABLE) -> None:
        """Make what is there opaque, and everything below it invisible, until `clear`."""
        folded = self._names.folded(Key(path))
        self.state.nodes[folded] = replace(self.state.nodes[folded], kind=kind, why=why)

    def clear(self, path: str) -> None:
        """Undo `obstruct`."""
        key = Key(path)
        folded = self._names.folded(key)
        kind = Kind.DIRECTORY if self._is_directory(key) else Kind.FILE
        self.state.nodes[folded] = replace(self.state.nodes[folded], kind=kind, why="")

    def tree(self) -> dict[Key, bytes]:
        """The content of every live file, in key order."""
        files = [node for node in self.state.nodes.values() if not self._is_directory(node.key)]
        return {node.key: node.data for node in sorted(files, key=lambda node: key_bytes(node.key))}

    def directories(self) -> list[Key]:
        """Every directory, in key order."""
        found = [node.key for node in self.state.nodes.values() if self._is_directory(node.key)]
        return sorted(found, key=key_bytes)

    def _is_directory(self, key: Key) -> bool:
        """In a bucket, a name that ends in a slash is a file of an impossible name."""
        return self._properties.directories and is_directory(key)

    def _refuse_impossible(self, key: Key) -> None:
        if (why := self._problem(key)) is not None:
            raise ValueError(f"{key!r}: {why}")
        above = [*parents(key), key] if is_directory(key) else parents(key)
        in_the_way = [Key(directory[:-1]) for directory in above]
        if not is_directory(key):
            in_the_way.append(Key(key + "/"))
        if any(self._find(name) is not None for name in in_the_way):
            raise ValueError(f"something else is in the way of {key!r}")

    def _token(self) -> Token:
        return Token(f"v{self.state.number()}")

    def _problem(self, key: Key) -> str | None:
        if is_directory(key) and not self._properties.directories:
            return "there are no directories here"
        return name_problem(key)

    def _find(self, key: Key) -> Node | None:
        return self.state.nodes.get(self._names.folded(key))

    def _spelled(self, key: Key) -> Key:
        """The key as it will be listed: where one name has several spellings, the first one stays."""
        for above in [key, *reversed(parents(key))]:
            node = self._find(above)
            if node is not None:
                return Key(node.key + key[len(above) :])
        return key

    def _place(self, node: Node) -> None:
        if self._properties.directories:
            for above in parents(node.key):
                directory = Node(above, Kind.DIRECTORY, DIRECTORY_TOKEN, b"", self._clock.now_ns())
                self.state.nodes.setdefault(self._names.folded(above), directory)
        self.state.nodes[self._names.folded(node.key)] = node
