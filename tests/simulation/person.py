"""A person who edits, renames and deletes, wherever and whenever it comes to mind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tests.simulation.story import CLASHES, HOSTILE, NAMES, Act

from trueup.core.model import OPAQUE_KINDS, Key, Kind, is_directory, parents
from trueup.stores.memory import MemoryStore


def content(n: int, size: int) -> bytes:
    """Bytes that nobody else writes."""
    return f"v{n}".encode().ljust(size, b".")


class Person:
    """Acts on one place, through a store that nobody disturbs.

    Args:
        hand: That store.
        others: What the other places hold, to copy from.
        bucket: Whether names are possible there that no file system holds.
    """

    def __init__(self, hand: MemoryStore, others: Callable[[], dict[Key, bytes]], *, bucket: bool) -> None:
        self._hand = hand
        self._others = others
        self._bucket = bucket
        self._acts: dict[str, Callable[[Act, Key | None], str | None]] = {
            "write": self._write,
            "create": self._create,
            "delete": self._delete,
            "rename": self._rename,
            "copy": self._copy,
            "touch": self._touch,
            "delete folder": self._delete_folder,
            "rename folder": self._rename_folder,
            "make folder": self._make_folder,
            "change kind": self._change_kind,
            "obstruct": self._obstruct,
            "clear": self._clear,
            "rename case": self._rename_case,
            "clash": self._clash,
            "write below": self._write_below,
        }

    def act(self, act: Act, hot: Key | None) -> str:
        """Do it, if it can be done; says what was done."""
        try:
            done = self._acts[act.what](act, hot if act.which < 0 else None)
        except (ValueError, KeyError):
            done = None
        return done or "nothing"

    def clear_all(self) -> None:
        """Make everything readable."""
        for node in list(self._hand.state.nodes.values()):
            if node.kind is Kind.UNREADABLE:
                self._hand.clear(node.key)

    def _keys(self, *, directories: bool = False) -> list[Key]:
        nodes = self._hand.state.nodes.values()
        return sorted(node.key for node in nodes if self._is_folder(node.key) == directories)

    def _is_folder(self, key: Key) -> bool:
        return is_directory(key) and not self._bucket

    def _file(self, act: Act, hot: Key | None) -> Key | None:
        files = self._keys()
        if hot in files:
            return hot
        return files[act.which % len(files)] if files else None

    def _folder(self, act: Act) -> Key | None:
        if self._bucket:
            folders = sorted({folder for key in self._keys() for folder in parents(key)})
        else:
            folders = self._keys(directories=True)
        return folders[act.which % len(folders)] if folders else None

    def _name(self, act: Act, hot: Key | None) -> Key:
        if hot is not None and not self._is_folder(hot):
            return hot
        names = [*NAMES, *CLASHES]
        if self._bucket:
            names += HOSTILE
        return Key(names[act.to % len(names)])

    def _write(self, act: Act, hot: Key | None) -> str | None:
        key = self._file(act, hot)
        if key is None:
            return self._create(act, hot)
        self._hand.put(key, content(act.n, act.size))
        return f"writes {key}"

    def _create(self, act: Act, hot: Key | None) -> str | None:
        key = self._name(act, hot)
        self._hand.put(key, content(act.n, act.size))
        return f"writes {key}"

    def _delete(self, act: Act, hot: Key | None) -> str | None:
        key = self._file(act, hot)
        if key is None:
            return None
        self._hand.delete(key)
        return f"deletes {key}"

    def _rename(self, act: Act, hot: Key | None) -> str | None:
        key = self._file(act, hot)
        target = self._name(act, None)
        if key is None or key == target:
            return None
        self._move(key, target)
        return f"renames {key} to {target}"

    def _move(self, key: Key, target: Key) -> None:
        folded = self._hand.properties.names.folded
        node = self._hand.state.nodes[folded(key)]
        if folded(key) == folded(target):
            self._hand.delete(key)
        self._hand.put(target, node.data, modified_ns=node.modified_ns)
        if folded(key) != folded(target):
            self._hand.delete(key)

    def _copy(self, act: Act, hot: Key | None) -> str | None:
        others = self._others()
        keys = sorted(others)
        if not keys:
            return None
        key = hot if hot in others else keys[act.which % len(keys)]
        assert key is not None
        self._hand.put(key, others[key])
        return f"copies {key} from elsewhere"

    def _touch(self, act: Act, hot: Key | None) -> str | None:
        key = self._file(act, hot)
        if key is None:
            return None
        self._hand.put(key, self._hand.state.nodes[self._hand.properties.names.folded(key)].data)
        return f"touches {key}"

    def _delete_folder(self, act: Act, hot: Key | None) -> str | None:
        folder = self._folder(act)
        if folder is None:
            return None
        if self._bucket:
            for key in [key for key in self._keys() if key.startswith(folder)]:
                self._hand.delete(key)
        else:
            self._hand.delete(folder)
        return f"deletes {folder}"

    def _rename_folder(self, act: Act, hot: Key | None) -> str | None:
        folder = self._folder(act)
        if folder is None:
            return None
        target = f"q{act.to % 2}/"
        for key in [key for key in self._keys() if key.startswith(folder)]:
            self._move(key, Key(target + key.removeprefix(folder)))
        if not self._bucket:
            with suppress(KeyError):
                self._hand.delete(folder)
        return f"renames {folder} to {target}"

    def _make_folder(self, act: Act, hot: Key | None) -> str | None:
        if self._bucket:
            return None
        folder = ("d/", "empty/", "g/empty/")[act.to % 3]
        self._hand.put_directory(folder)
        return f"makes {folder}"

    def _change_kind(self, act: Act, hot: Key | None) -> str | None:
        """A file becomes a folder that holds something, or a folder a file."""
        folder, key = self._folder(act), self._file(act, hot)
        if act.to % 2 and folder is not None and not self._bucket:
            self._hand.delete(folder)
            self._hand.put(folder[:-1], content(act.n, act.size))
            return f"makes the folder {folder} a file"
        if key is None:
            return None
        self._hand.delete(key)
        self._hand.put(f"{key.removesuffix('/')}/in", content(act.n, act.size))
        return f"makes the file {key} a folder"

    def _rename_case(self, act: Act, hot: Key | None) -> str | None:
        key = self._file(act, hot)
        if key is None:
            return None
        self._move(key, Key(key.swapcase()))
        return f"renames {key} to {key.swapcase()}"

    def _clash(self, act: Act, hot: Key | None) -> str | None:
        """A file where a folder is, as a bucket can hold it, or something below a file's name."""
        folder, key = self._folder(act), self._file(act, hot)
        if act.to and folder is not None and self._bucket:
            self._hand.put(folder[:-1], content(act.n, act.size))
            return f"writes {folder[:-1]} beside {folder}"
        if key is None or not self._bucket:
            return None
        self._hand.put(f"{key}/in", content(act.n, act.size))
        return f"writes {key}/in beside {key}"

    def _write_below(self, act: Act, hot: Key | None) -> str | None:
        """Into the folder that `_clash` chose, if the trees were the same."""
        folders = sorted({folder for key in self._keys() for folder in parents(key)})
        below = [key for key in self._keys() if folders and key.startswith(folders[act.which % len(folders)])]
        if not below:
            return None
        self._hand.put(below[0], content(act.n, act.size))
        return f"writes {below[0]}"

    def _obstruct(self, act: Act, hot: Key | None) -> str | None:
        key = self._folder(act) if act.to % 4 == 0 and not self._bucket else self._file(act, hot)
        folded = self._hand.properties.names.folded
        if key is None or self._hand.state.nodes[folded(key)].kind in OPAQUE_KINDS:
            return None
        self._hand.obstruct(key)
        return f"makes {key} unreadable"

    def _clear(self, act: Act, hot: Key | None) -> str | None:
        self.clear_all()
        return "makes everything readable"
