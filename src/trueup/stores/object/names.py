"""Which keys can be addressed: OpenDAL and the URL below it fold some spellings into others.

Measured with OpenDAL 0.47.12: a path loses blanks at both ends, leading and doubled slashes; ``.`` and ``..`` are
resolved by the URL; bytes that are not UTF-8 become U+FFFD. Such a key would name another object, so it names none.
"""

from __future__ import annotations

import re

from trueup.core.model import Key, key_bytes

RESERVED = ".trueup"
"""Marker, lock, trash and scratch keys live below it."""
KEY_BYTES = 1024
"""Longest key of Amazon S3, Google Cloud Storage and Azure Blob Storage."""
TRASH_ROOM = 80
"""Bytes that the copy of a key in the trash is longer than the key."""
NAME_BYTES = 255
"""Longest component that folders hold."""

_MANGLED = "\x00-\x08\x0b-\x1f\ufffd\ufffe\uffff"
"""Characters that XML cannot hold, or does not give back, and the one that some services put in their place."""
_MANGLES = re.compile(f"[{_MANGLED}]")

ODD = re.compile(rf"(?:^|/)(?:\.{{0,2}}(?:/|$))|^\s|\s$|[{_MANGLED}\\]")
"""Finds all that may be unaddressable, and little else."""


def problem(prefix: str, key: Key, *, backslashes: bool = True) -> str | None:
    """Why no object below a prefix can have this key, or why it cannot be told from another one; None if it can.

    Args:
        prefix: Of the place.
        key: Below it.
        backslashes: Whether the service gives them back as they are.
    """
    parts = key.split("/")
    problems = {
        "there are no directories here": key.endswith("/") and key != "/",
        "empty name component": "" in parts,
        "would leave the root": "." in parts or ".." in parts,
        "control character in the name": _MANGLES.search(key) is not None,
        "the service takes a backslash for a slash": not backslashes and "\\" in key,
        "reserved name": parts[0] == RESERVED,
        "blank at the end of the name": (prefix + key).strip() != prefix + key,
    }
    why = next((why for why, applies in problems.items() if applies), None)
    return why or _unspeakable(prefix + key, parts)


def _unspeakable(path: str, parts: list[str]) -> str | None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "not UTF-8"
    if size > KEY_BYTES - TRASH_ROOM:
        return f"longer than {KEY_BYTES - TRASH_ROOM} bytes, prefix included"
    if any(len(key_bytes(Key(part))) > NAME_BYTES for part in parts):
        return f"name longer than {NAME_BYTES} bytes"
    return None
