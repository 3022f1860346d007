"""Errors that come out of task groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ungrouped(*expected: type[Exception]) -> Iterator[None]:
    """Raise the first error of the expected classes by itself, out of the groups in which tasks have wrapped it.

    Callers name what went wrong and print what to do; a group of one can say neither. Without an expected error in it
    a group stays as it is: that is a mistake of ours, and all of it is wanted.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        matched, _ = group.split(expected)
        if matched is None:
            raise
        error: BaseException = matched
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
