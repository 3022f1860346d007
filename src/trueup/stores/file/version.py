"""Which version of a file is there, and whether it is the expected one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from trueup.core.errors import PreconditionFailed
from trueup.core.model import DIRECTORY_TOKEN, Key, Token
from trueup.stores.file import place


@contextmanager
def gone_is_changed(key: Key) -> Iterator[None]:
    """A file that is not there any more, or its folder, is a lost race."""
    try:
        yield
    except FileNotFoundError as error:
        raise PreconditionFailed(f"{key} was changed meanwhile") from error


def check_version(key: Key, token: Token, status: os.stat_result) -> None:
    """Raise PreconditionFailed unless a file of this version is there."""
    if not stat.S_ISREG(status.st_mode) or place.token_of(status) != token:
        raise PreconditionFailed(f"{key} was changed meanwhile")


def check_expected(key: Key, expect: Token | None, status: os.stat_result | None) -> None:
    """The same, also for no file at all, and for a directory."""
    if expect is None:
        if status is not None:
            raise PreconditionFailed(f"{key} was created meanwhile")
    elif status is None:
        raise PreconditionFailed(f"{key} was deleted meanwhile")
    elif expect == DIRECTORY_TOKEN:
        if not stat.S_ISDIR(status.st_mode):
            raise PreconditionFailed(f"{key} is no longer a directory")
    else:
        check_version(key, expect, status)


def same_version(out: os.stat_result, expected: os.stat_result) -> bool:
    """Whether what came out is what went in. A rename changes the change time, so that is left out."""
    return (out.st_ino, out.st_size, out.st_mtime_ns) == (expected.st_ino, expected.st_size, expected.st_mtime_ns)


def written_token(before: os.stat_result, after: os.stat_result) -> Token:
    """Version of what was written.

    The rename moves the change time, so the file is looked at once more through its open descriptor; if anything
    else moved with it, somebody has edited it already, and the version to remember is the one before.
    """
    return place.token_of(after if same_version(after, before) else before)
