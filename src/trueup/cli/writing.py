"""Text for a configuration that is written for somebody: nothing in it would be refused."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from trueup.core.errors import ConfigError, UsageError

_LATER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|~")
"""A place that is not relative to the current folder: a URL, a bucket, a home folder."""


def relative(place: str, folder: Path) -> str:
    """A path that is typed in the current folder, as a file in another one writes it."""
    if _LATER.match(place) or Path(place).is_absolute():
        return place
    path = os.path.relpath(place, folder)
    return path if path.startswith("..") else "." if path == "." else f"./{path}"


def quoted(text: str) -> str:
    """A TOML string; JSON's differ only in DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def validate(file: Path, text: str) -> None:
    """Nothing is written that would be refused later."""
    from trueup.config.document import parse
    from trueup.config.layers import Reader
    from trueup.config.problems import Problem, Source, refuse
    from trueup.config.secret import Place

    problems: list[Problem] = []
    try:
        document = parse(file.resolve(), text.encode(), Source.PROJECT, problems)
        if document is not None:
            Reader(document, Place(file.resolve().parent, os.environ, file.parent), problems).layer()
        refuse(problems)
    except UnicodeEncodeError as error:
        raise UsageError("a name is not UTF-8", why="TOML cannot hold it") from error
    except ConfigError as error:
        raise UsageError("that cannot be configured", why=str(error)) from error


def write(file: Path, text: str, *, force: bool) -> None:
    """A file that appeared meanwhile is not replaced either; one that is replaced is so at once."""
    new = file.with_name(f".{file.name}.{os.getpid()}.new") if force else file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with new.open("x", encoding="utf-8") as opened:
            opened.write(text)
        new.replace(file)
    except FileExistsError as error:
        raise UsageError(f"{new} is there already", attempt="trueup init --force") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be written", why=error.strerror or str(error)) from error
