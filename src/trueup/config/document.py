"""Configuration files: found, read, and where in them each key stands."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trueup.config.problems import Origin, Problem, Source, dotted
from trueup.config.secret import WAYS

FILE_NAME = "trueup.toml"
PYPROJECT = "pyproject.toml"
SECTION = ("tool", "trueup")
"""Our table in a pyproject.toml."""
MAX_BYTES = 1024 * 1024
"""No configuration that a person wrote is larger."""

MAX_PARTS = 200
"""Of the dotted keys in one line; more than ten have no meaning."""

_ADMINISTRATOR = 0
_STRING = re.compile(rb"""\"[^"]*\"|'[^']*'""")

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
"""How tomllib ends its messages (CPython, Lib/tomllib/_parser.py)."""

_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[A-Za-z0-9_-]+|\s|.''',
    re.DOTALL,
)
"""TOML 1.0 as far as a scan for keys needs it; the text has already been accepted by tomllib."""


@dataclass(frozen=True, slots=True)
class Document:
    """One configuration file."""

    path: Path
    source: Source
    table: Mapping[str, Any]
    """Our part of it."""
    lines: Mapping[tuple[str, ...], int]
    """Of the keys and table headers in our part, counted from 1."""
    digest: str
    """SHA-256 of the whole file: of the bytes that `table` was read from."""
    private: bool = True
    """Whether nobody but the user and the administrator could write them."""

    def origin(self, path: tuple[str, ...], *, profile: str = "") -> Origin:
        """Where a key stands; inside an inline table, where that table begins."""
        while path and path not in self.lines:
            path = path[:-1]
        return Origin(self.source, self.path, self.lines.get(path), profile)


def commands(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The commands that a document would run once it is trusted, each after the name of its setting."""
    for name, how, value in fetched(table):
        if how == "command":
            yield name, shlex.join(map(str, value)) if isinstance(value, list) else str(value)


def loaded(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The code that a document would load, the pages that it would ask for, the processes that it would signal."""
    for section, targets in table.items():
        found = targets if section == "targets" else {}
        if section == "profiles" and isinstance(targets, dict):
            for profile in targets.values():
                yield from loaded(profile if isinstance(profile, dict) else {})
        for name, settings in found.items() if isinstance(found, dict) else ():
            for setting in ("environment", "urls", "reload_pidfile", "reload_url"):
                if isinstance(settings, dict) and setting in settings:
                    value = settings[setting]
                    said = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                    yield dotted((section, name, setting)), said


def fetched(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, str, object]]:
    """The secrets that a document would fetch once it is trusted: the name of the setting, the way, and from where."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from fetched(value, (*above, name))
        elif name in WAYS and len(table) == 1 and len(above) > 1:
            yield dotted(above), name, value


class _Unusable(Exception):
    """A file cannot be used; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def locate(start: Path) -> Path | None:
    """The nearest ``trueup.toml``, or ``pyproject.toml`` with our section, in a folder or above it."""
    for folder in (start, *start.parents):
        if _is_file(folder / FILE_NAME):
            return folder / FILE_NAME
        if _is_file(folder / PYPROJECT) and _has_section(folder / PYPROJECT):
            return folder / PYPROJECT
    return None


def read(path: Path, source: Source, problems: list[Problem]) -> Document | None:
    """Read one file.

    Args:
        path: The file; of one called ``pyproject.toml`` only our section counts.
        source: Whose file it is.
        problems: Receives why it cannot be used, if it cannot.
    """
    try:
        content, private = _content(path, source)
    except _Unusable as error:
        problems.append(error.problem)
        return None
    found = parse(path, content, source, problems)
    return None if found is None else replace(found, private=private)


def parse(path: Path, content: bytes, source: Source, problems: list[Problem]) -> Document | None:
    """Like `read`, of bytes that the file holds or is to hold."""
    try:
        table = _table(path, source, content)
    except _Unusable as error:
        problems.append(error.problem)
        return None
    lines = dict(_lines(content.decode()))
    if path.name == PYPROJECT:
        for name in SECTION:
            table = table.get(name, {})
        lines = {key[len(SECTION) :]: line for key, line in lines.items() if key[: len(SECTION)] == SECTION}
    if not isinstance(table, dict):
        problems.append(Problem(Origin(source, path), "tool.trueup must be a table"))
        return None
    return Document(path, source, table, lines, hashlib.sha256(content).hexdigest())


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # not there, or in a folder that may not be searched: then it is not ours either
        return False


def _has_section(path: Path) -> bool:
    """A file that cannot be read counts if it could be meant for us: reading it again will say why."""
    try:
        content, _ = _content(path, Source.PROJECT)
        if SECTION[1].encode() not in content:
            return False
        tool = _table(path, Source.PROJECT, content).get(SECTION[0])
    except _Unusable:
        return True
    return isinstance(tool, dict) and SECTION[1] in tool


def _content(path: Path, source: Source) -> tuple[bytes, bool]:
    try:
        with path.open("rb") as file:
            private = _is_private(os.fstat(file.fileno()))
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Unusable(Problem(Origin(source, path), "cannot be read", error.strerror or str(error))) from error
    if len(content) > MAX_BYTES:
        raise _Unusable(Problem(Origin(source, path), "is no configuration", f"it is larger than {MAX_BYTES} bytes"))
    return content, private


def _is_private(status: os.stat_result) -> bool:
    """Whether a file can be written by its user and the administrator only; the user's own group does not count."""
    others = stat.S_IWOTH if status.st_gid == os.getegid() else stat.S_IWOTH | stat.S_IWGRP
    return status.st_uid in (_ADMINISTRATOR, os.geteuid()) and not status.st_mode & others


def _table(path: Path, source: Source, content: bytes) -> dict[str, Any]:
    def unusable(line: int, what: str, why: str) -> _Unusable:
        return _Unusable(Problem(Origin(source, path, line), what, why))

    if line := _endless_key(content):
        raise unusable(line, "is no configuration", f"a key has more than {MAX_PARTS} parts")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unusable(line, "is not UTF-8", f"byte 0x{content[error.start]:02x} at offset {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _PLACE.search(message)
        line, column = content.count(b"\n") + 1, 0
        if place and place[1]:
            line, column = int(place[1]), int(place[2])
        at = f"column {column}: " if column else "end of the file: "
        raise unusable(line, "is not TOML", at + _PLACE.sub("", message)) from error
    except RecursionError as error:
        raise unusable(1, "is no configuration", "it is nested too deeply") from error


def _endless_key(content: bytes) -> int:
    """Number of the first line whose keys have too many parts, else 0. The time of tomllib grows with their square."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.count(b".") > MAX_PARTS and _STRING.sub(b"", line).count(b".") > MAX_PARTS:
            return number
    return 0


def _lines(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every key and table header with its line; the keys of inline tables are left out."""
    header: tuple[str, ...] = ()
    for line, statement in _statements(text.replace("\r\n", "\n")):
        if statement[0] == "[":
            header = _key(piece for piece in statement if piece not in "[]")
            yield header, line
        else:
            yield header + _key(statement[: statement.index("=")]), line


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Headers and ``key = value`` pairs in pieces without blanks and comments, and the line that each begins in."""
    line, begin, depth = 1, 1, 0
    statement: list[str] = []
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece == "\n" and depth == 0 and statement:
            yield begin, statement
            statement = []
        elif not piece.isspace() and not piece.startswith("#"):
            begin = begin if statement else line
            depth += (piece in "[{") - (piece in "]}")
            statement.append(piece)
        line += piece.count("\n")
    if statement:
        yield begin, statement


def _key(pieces: Iterator[str] | list[str]) -> tuple[str, ...]:
    return tuple(
        tomllib.loads(f"key = {piece}")["key"] if piece[0] in "\"'" else piece for piece in pieces if piece != "."
    )
