"""Which names a memory holds: those that file systems hold."""

from __future__ import annotations

from trueup.core.model import Key, key_bytes, key_from_bytes

RESERVED = ".trueup"
NAME_BYTES = 255
"""Longest component, as on the file systems that it stands in for."""


def name_problem(key: Key) -> str | None:
    """Why no file below a root can have this key; None if one can."""
    parts = key.removesuffix("/").split("/")
    if "" in parts:
        return "empty name component"
    if "." in parts or ".." in parts:
        return "would leave the root"
    if "\0" in key:
        return "NUL in the name"
    if is_reserved(key):
        return "reserved name"
    try:
        canonical = key_from_bytes(key_bytes(key)) == key
    except UnicodeEncodeError:
        canonical = False
    if not canonical:
        return "not a possible file name"
    too_long = any(len(key_bytes(Key(part))) > NAME_BYTES for part in parts)
    return f"name longer than {NAME_BYTES} bytes" if too_long else None


def is_reserved(key: Key) -> bool:
    """Whether the name is for trueup's own use."""
    return key.split("/", 1)[0] == RESERVED
