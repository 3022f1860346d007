"""Keys of what an AgentFS database holds.

A path is its own key, without the leading slash. Below ``:kv/`` are the key-value pairs, below ``:calls/`` the tool
calls that have ended; a name at the root that begins with a colon gets another one in front.
"""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import unquote

from trueup.core.model import Key, key_bytes, key_from_bytes

RESERVED = ".trueup"
NAME_BYTES = 255
KV = ":kv"
CALLS = ":calls"

_WHOLE = {"": "%", ".": "%2E", "..": "%2E%2E"}
"""Texts that cannot be a part of a key as they are."""


class Space(StrEnum):
    """Which tables hold an item."""

    PATH = "path"
    VALUE = "value"
    CALL = "call"


def space_of(key: Key) -> Space:
    """The tables that hold what has this key."""
    if key.startswith(KV + "/"):
        return Space.VALUE
    return Space.CALL if key.startswith(CALLS + "/") else Space.PATH


def parts_of(key: Key) -> tuple[str, ...]:
    """The components of a path's key, as they are in the database."""
    text = key.removesuffix("/")
    return tuple((text[1:] if text.startswith("::") else text).split("/"))


def key_of(parts: tuple[str, ...], *, directory: bool = False) -> Key:
    """Inverse of `parts_of`."""
    text = "/".join(parts)
    return Key((":" if text.startswith(":") else "") + text + ("/" if directory else ""))


def value_key(name: str) -> Key:
    """The key of a key-value pair; its name may hold anything."""
    quoted = name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return Key(f"{KV}/{_WHOLE.get(name, quoted)}")


def value_name(key: Key) -> str:
    """Inverse of `value_key`."""
    text = key.removeprefix(KV + "/")
    return "" if text == "%" else unquote(text, errors="surrogateescape")


def problem(key: Key) -> str | None:
    """Why an AgentFS database cannot hold this key; None if it can."""
    parts = key.removesuffix("/").split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "would leave the root"
    if "\0" in key:
        return "NUL in the name"
    if parts[0] == RESERVED:
        return "reserved name"
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        return "not UTF-8, which names in a database are"
    if key.startswith(":") and not key.startswith("::"):
        return None if _in_space(key, parts) else "names that begin with a colon are written with two"
    long = any(len(part) > NAME_BYTES for part in raw.removeprefix(b":").split(b"/"))
    return f"name longer than {NAME_BYTES} bytes" if long else None


def _in_space(key: Key, parts: list[str]) -> bool:
    """Whether it is the key of one pair or one call; neither holds directories."""
    return parts[0] in (KV, CALLS) and len(parts) == 2 and not key.endswith("/")


def canonical(key: Key) -> bool:
    """Whether the key is spelled as a listing spells it."""
    if space_of(key) is Space.VALUE:
        return value_key(value_name(key)) == key
    return key_from_bytes(key_bytes(key)) == key
