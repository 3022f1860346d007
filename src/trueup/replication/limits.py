"""How much one client may ask of a remote."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one served database."""

    request_bytes: int = 512 * MIB
    """Of one request. A push is one request: so large may one be, in base64."""
    answer_bytes: int = 64 * MIB
    """Of the rows that one pipeline may answer with. Pages have no limit: they do not stay in memory."""
    statement_seconds: float = 30.0
    """One statement may take so long."""
    poll_seconds: float = 60.0
    """A client that waits for changes is answered after so long, whatever it wishes."""
    memory_bytes: int = 32 * MIB
    """Of pages; an answer that has more is spooled to a temporary file."""
    history_bytes: int = 256 * MIB
    """Of old pages kept for clients that have fetched only a part of the database; the oldest go first."""
