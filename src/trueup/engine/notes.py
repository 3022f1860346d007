"""What stores found out about services, kept in the state database from run to run."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from trueup.engine.state import State


class Notes(MutableMapping[str, str]):
    """Texts by name. Reading asks a copy in memory; writing blocks until it is on disk."""

    def __init__(self, state: State) -> None:
        self._state = state
        with state.reading() as connection:
            self._texts: dict[str, str] = dict(connection.execute("SELECT name, text FROM notes").fetchall())

    def __getitem__(self, name: str) -> str:
        """The text of that name."""
        return self._texts[name]

    def __setitem__(self, name: str, text: str) -> None:
        """Keep a text."""
        if self._texts.get(name) != text:
            self._texts[name] = text
            with self._state.transaction() as connection:
                connection.execute("INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)", (name, text))

    def __delitem__(self, name: str) -> None:
        """Forget a text."""
        del self._texts[name]
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM notes WHERE name = ?", (name,))

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(dict(self._texts))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._texts)
