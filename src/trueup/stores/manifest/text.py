"""A manifest as text: both shapes that are in use are read, and what changes is written with little else.

``training_data`` is a list of objects with a ``filename``; ``images`` is an object of objects by name. Entries are
sorted by name, fields that nobody here knows stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trueup.core.model import Key, Record, key_bytes

LISTED, NAMED = "training_data", "images"
"""The two shapes, by the field that holds the entries."""

NAME = "filename"
"""Names an entry of the shape `LISTED`."""

FIELDS = (
    *(NAME, "local_path", "s3_url", "s3_key", "size_bytes", "size", "modified_timestamp", "last_modified"),
    *("md5_hash", "etag", "blake3_hash", "status"),
)
"""Order of known fields in an entry that is written; the others follow by name."""


class Unreadable(ValueError):
    """A text is no manifest.

    Args:
        line: Where, counted from 1.
        why: What is wrong there.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it was read, or as it will be written."""

    shape: str = LISTED
    head: Mapping[str, Any] = field(default_factory=dict)
    """Every field at the top, in order; that of the entries stands for their place."""
    entries: Mapping[Key, Record] = field(default_factory=dict)
    found: Mapping[Key, Mapping[str, Any]] = field(default_factory=dict)
    """Entries as they were read, with their fields in order; those that were changed since are not here."""
    texts: dict[Key, str] = field(default_factory=dict)
    """What entries were rendered to, so that it is done once."""
    indent: str = "  "
    ascii: bool = False
    """Whether other letters are escaped."""

    def rendered(self) -> bytes:
        """The whole file."""
        names = list(self.head) if self.shape in self.head else [*self.head, self.shape]
        lines = [
            f"{self.indent}{self._quoted(name)}: "
            + (self._entries() if name == self.shape else self._dumped(self.head[name], self.indent))
            for name in names
        ]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    def _entries(self) -> str:
        opening, closing = ("[", "]") if self.shape == LISTED else ("{", "}")
        if not self.entries:
            return opening + closing
        deep = self.indent * 2
        for key, record in self.entries.items():
            if key not in self.texts:
                self.texts[key] = self._text(self.found.get(key) or _ordered(record.fields))
        lines = [
            deep + (f"{self._quoted(key)}: " if self.shape == NAMED else "") + self.texts[key]
            for key in sorted(self.entries, key=key_bytes)
        ]
        return f"{opening}\n" + ",\n".join(lines) + f"\n{self.indent}{closing}"

    def changed(self, changes: Mapping[Key, Record | None]) -> Manifest:
        """The manifest with some entries changed or (None) removed; all others are written as they were found."""
        entries = dict(self.entries)
        for key, record in changes.items():
            if record is None:
                entries.pop(key, None)
            else:
                entries[key] = record
        texts = {key: text for key, text in self.texts.items() if key not in changes}
        found = {key: fields for key, fields in self.found.items() if key not in changes}
        return replace(self, entries=entries, found=found, texts=texts)

    def _text(self, fields: Mapping[str, Any]) -> str:
        """An entry. The encoder's own indentation takes ten times as long."""
        margin = self.indent * 3
        lines = [f"{margin}{self._quoted(name)}: {self._dumped(value, margin)}" for name, value in fields.items()]
        return "{\n" + ",\n".join(lines) + f"\n{self.indent * 2}}}" if lines else "{}"

    def _dumped(self, value: Any, margin: str) -> str:
        indent = self.indent if isinstance(value, dict | list) else None
        text = json.dumps(value, indent=indent, ensure_ascii=self.ascii)
        if not _encodable(text):
            text = json.dumps(value, indent=indent)
        return text.replace("\n", "\n" + margin)

    def _quoted(self, name: str) -> str:
        return json.dumps(name, ensure_ascii=self.ascii or not _encodable(name))


def parse(raw: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        Unreadable: If it is none.
    """
    try:
        text = raw.decode("utf-8-sig")
        head = json.loads(text)
    except UnicodeDecodeError as error:
        raise Unreadable(raw.count(b"\n", 0, error.start) + 1, f"byte 0x{raw[error.start]:02x} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise Unreadable(error.lineno, f"{error.msg}, column {error.colno}") from error
    except RecursionError as error:
        raise Unreadable(1, "it is nested too deeply") from error
    if not isinstance(head, dict):
        raise Unreadable(1, "it is no object")
    shape = _shape(text, head)
    found: dict[Key, Mapping[str, Any]] = {}
    for number, (name, fields) in enumerate(_pairs(text, shape, head.get(shape))):
        if name in found:
            raise Unreadable(_line(text, shape, number), f"{shape} names {name!r} twice")
        found[name] = fields
    entries = {name: Record.of(fields) for name, fields in found.items()}
    return Manifest(shape, head, entries, found, indent=_indent(text), ascii=text.isascii() and "\\u" in text)


def _ordered(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry that was changed: known fields in a fixed order, then the others."""
    order = [name for name in FIELDS if name in fields] + sorted(fields.keys() - set(FIELDS))
    return {name: fields[name] for name in order}


def _shape(text: str, head: Mapping[str, Any]) -> str:
    there = [name for name in (LISTED, NAMED) if head.get(name)]
    if len(there) == 2:
        raise Unreadable(_at(text, NAMED), f"it holds both {LISTED} and {NAMED}: which of the two counts?")
    return next((name for name in (*there, LISTED, NAMED) if name in head), LISTED)


def _pairs(text: str, shape: str, content: Any) -> list[tuple[Key, dict[str, Any]]]:
    if content is None:
        return []
    if not isinstance(content, list if shape == LISTED else dict):
        raise Unreadable(_at(text, shape), f"{shape} is no {'list' if shape == LISTED else 'object'}")
    pairs = []
    named = content.items() if isinstance(content, dict) else [(_name(one), one) for one in content]
    for number, (name, fields) in enumerate(named):
        if not isinstance(fields, dict) or not isinstance(name, str) or not name:
            raise Unreadable(_line(text, shape, number), f"entry {number + 1} of {shape} is no object with a name")
        pairs.append((Key(name), fields))
    return pairs


def _name(one: Any) -> Any:
    return one.get(NAME) if isinstance(one, dict) else None


def _at(text: str, name: str) -> int:
    return text.count("\n", 0, max(0, text.find(json.dumps(name)))) + 1


def _line(text: str, shape: str, number: int) -> int:
    """The line in which an entry begins; only looked for where something is wrong with it."""
    decoder = json.JSONDecoder()
    blank = re.compile(r"[\s,:]*")
    place = re.compile(r'"' + shape + r'"\s*:\s*[\[{]').search(text)
    if place is None:
        return 1
    start = end = place.end()
    for _ in range(number + 1):
        start = end = blank.match(text, end).end()  # type: ignore[union-attr]  # it matches nothing, too
        for _ in range(1 if shape == LISTED else 2):  # a name before the value
            end = blank.match(text, end).end()  # type: ignore[union-attr]
            _, end = decoder.raw_decode(text, end)
    return text.count("\n", 0, start) + 1


def _indent(text: str) -> str:
    found = re.search(r"\n([ \t]+)\S", text)
    return found[1] if found else "  "


def _encodable(text: str) -> bool:
    """Whether it holds no lone surrogate, as names that are not UTF-8 do."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
