"""A server that kills itself: dying.py FILE POINT COUNT; prints its address and token.

It dies the COUNT-th time that it comes to POINT, as `kill -9` does it; see POINTS.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trueup.replication import Database, hrana, serving
from trueup.replication.revisions import Revisions

POINTS: dict[str, tuple[Any, str, bool]] = {
    "before a statement": (hrana.Session, "_execute", True),
    "after a statement": (hrana.Session, "_execute", False),
    "after the pipeline": (hrana.Session, "run", False),
    "before the record": (Revisions, "record", True),
    "after the record": (Revisions, "record", False),
    "after the copy": (Database, "_copy_log", False),
    "before the checkpoint": (Database, "_checkpoint", True),
    "before the note": (Revisions, "note", True),
    "after the note": (Revisions, "note", False),
    "before the answer": (Database, "pipeline", False),
}
"""Class, method, and whether it dies before it."""
ANY_MOMENT = "at any moment"
"""COUNT is then a number of 0.1 ms after the beginning of a pipeline that changes something."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, count: int) -> None:
    if point == ANY_MOMENT:
        _wrap(hrana.Session, "run", lambda: threading.Timer(count / 10_000, die).start(), before=True)
        return
    left = [count]

    def come() -> None:
        left[0] -= 1
        if left[0] == 0:
            die()

    owner, name, before = POINTS[point]
    _wrap(owner, name, come, before=before)


def _wrap(owner: Any, name: str, come: Callable[[], None], *, before: bool) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **more: Any) -> Any:
        if before:
            come()
        result = original(*args, **more)
        if not before:
            come()
        return result

    setattr(owner, name, wrapped)


def main() -> None:
    path, point, count = sys.argv[1:]
    with serving(Path(path)) as served:
        if point:
            arm(point, int(count))
        sys.stdout.write(f"{served.url}\n{served.token}\n")
        sys.stdout.flush()
        sys.stdin.read()  # until whoever started it goes away


if __name__ == "__main__":
    main()
