"""Who may ask a server: tokens of programs, sessions of browsers, codes that open one session.

Only a SHA-256 of each is kept: they are 256 random bits, which no dictionary holds, so that a slow hash would protect
nothing more.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trueup.core.errors import UsageError
from trueup.engine.state import State

PREFIX = "tu_"
"""How a token begins, so that scanners of repositories find one that was committed."""
SESSION_SECONDS = 12 * 3600
CODE_SECONDS = 600


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"
    SYNC = "sync"
    """Plan, apply what deletes nothing and destroys no version, cancel, undo."""
    DELETE = "delete"
    """Apply deletions, pass guards, prune the trash."""
    ADMIN = "admin"
    """Tokens and schedules."""


EVERYTHING = frozenset(Scope)


class Kind(StrEnum):
    """What a secret is for."""

    TOKEN = "token"  # noqa: S105
    SESSION = "session"
    CODE = "code"
    """Opens one session, once."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a secret; never the secret."""

    id: str
    kind: Kind
    name: str
    scopes: frozenset[Scope]
    created_ns: int
    expires_ns: int | None = None

    def told(self) -> dict[str, Any]:
        """As documents tell of it, the scopes in order."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "created_ns": self.created_ns,
            "expires_ns": self.expires_ns,
        }


class Tokens:
    """Tokens, sessions and codes in the state database. All calls block."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(
        self,
        kind: Kind,
        name: str,
        scopes: Iterable[Scope],
        *,
        now_ns: int,
        seconds: float | None = None,
    ) -> tuple[Token, str]:
        """A new one, and the secret, which is told this once.

        Raises:
            UsageError: If there is a token of that name.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        expires_ns = None if seconds is None else now_ns + int(seconds * 1e9)
        token = Token(secrets.token_hex(4), kind, name, frozenset(scopes), now_ns, expires_ns)
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM tokens WHERE expires_ns <= ?", (now_ns,))
            taken = connection.execute(
                "SELECT 1 FROM tokens WHERE kind = ? AND name = ?", (Kind.TOKEN.value, name)
            ).fetchone()
            if kind is Kind.TOKEN and taken:
                raise UsageError(f"there is a token {name}", attempt=f"trueup token revoke {name}, or another name")
            connection.execute(
                "INSERT INTO tokens (id, kind, name, hash, scopes, created_ns, expires_ns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    token.id,
                    kind.value,
                    name,
                    _hash(secret),
                    json.dumps(sorted(token.scopes)),
                    now_ns,
                    expires_ns,
                ),
            )
        return token, secret

    def find(self, secret: str, kind: Kind, *, now_ns: int) -> Token | None:
        """What a secret stands for; None if it is nobody's, or too old."""
        query = f"{_TOKEN} WHERE hash = ? AND kind = ? AND (expires_ns IS NULL OR expires_ns > ?)"
        with self._state.reading() as connection:
            row = connection.execute(query, (_hash(secret), kind.value, now_ns)).fetchone()
            return None if row is None else _token(row)

    def redeem(self, code: str, *, now_ns: int) -> tuple[Token, str] | None:
        """Open a session with a code, which is then used up; None if it is none."""
        with self._state.transaction() as connection:
            row = connection.execute(
                f"DELETE FROM tokens WHERE hash = ? AND kind = ? AND expires_ns > ? RETURNING {_COLUMNS}",  # noqa: S608
                (_hash(code), Kind.CODE.value, now_ns),
            ).fetchone()
        if row is None:
            return None
        found = _token(row)
        return self.create(Kind.SESSION, found.name, found.scopes, now_ns=now_ns, seconds=SESSION_SECONDS)

    def listed(self, *, now_ns: int) -> list[Token]:
        """All tokens of programs and sessions, the oldest first."""
        query = f"{_TOKEN} WHERE kind != ? AND (expires_ns IS NULL OR expires_ns > ?) ORDER BY created_ns, id"
        with self._state.reading() as connection:
            return [_token(row) for row in connection.execute(query, (Kind.CODE.value, now_ns))]

    def revoke(self, named: str) -> int:
        """End a token or a session by its id, or a token by its name. Returns how many there were."""
        with self._state.transaction() as connection:
            query = "DELETE FROM tokens WHERE id = ? OR (name = ? AND kind = ?)"
            return connection.execute(query, (named, named, Kind.TOKEN.value)).rowcount


_COLUMNS = "id, kind, name, scopes, created_ns, expires_ns"
_TOKEN = f"SELECT {_COLUMNS} FROM tokens"  # noqa: S608  # a constant


def _token(row: tuple[str, str, str, str, int, int | None]) -> Token:
    return Token(row[0], Kind(row[1]), row[2], frozenset(map(Scope, json.loads(row[3]))), row[4], row[5])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
