"""Listings, by way of processes that wait for the pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from trueup.core.errors import StoreError, Unavailable
from trueup.core.model import Key
from trueup.stores.object import lister
from trueup.stores.object.connect import Place
from trueup.stores.object.errors import fault
from trueup.stores.object.names import ODD, RESERVED, problem
from trueup.stores.object.processes import Process, processes

Listed = tuple[bytes, str, int, int, bool]
"""As `lister` sends it: key, token, size, time in nanoseconds since the epoch, whether the key is odd."""

SAMPLE = 4_000
"""After so many keys it is clear how they spread over folders, and that it pays to list several at once."""
LEAST_KEYS = 500
"""A folder of fewer is not worth a request of its own: a page holds a thousand."""
MOST_FOLDERS = 2_000
"""Of one folder with more entries nobody knows the rest without listing it."""
LEVELS = 3
"""So deep folders are taken apart."""
LISTERS = 3
"""At once. More share no better: on a server on two cores three take 0.53 of the time of one, four 0.49."""
AHEAD = 8
"""Requests that wait at a lister."""

_RESERVED = f"{RESERVED}/".encode()


class Pages:
    """Everything below a prefix of a place, in the service's order, page by page.

    `next` blocks; `close` does not, and may be called by another thread meanwhile.

    Args:
        place: Where.
        below: Only what is below this; keys are told from the place on all the same.
        limit: No more than so many; -1: all.
        recursive: Whether folders are told with what they hold, or as one name that ends in a slash.
    """

    def __init__(self, place: Place, below: str = "", *, limit: int = -1, recursive: bool = True) -> None:
        self._place = place
        self._request = request(place, below, limit=limit, recursive=recursive)
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._ended = False
        self.ordered = True
        """Whether what came so far was in key order."""

    def next(self) -> list[Listed]:
        """The next page; empty at the end.

        Raises:
            StoreError: If the listing cannot begin, or breaks off.
        """
        while not self._ended:
            answer = _answer(self._process or self._begin())
            if answer and answer[0] == lister.ROWS:
                self.ordered = answer[2]
                if answer[1]:
                    listed: list[Listed] = answer[1]
                    return listed
            elif answer:
                self._whole()
                if answer[0] == lister.FAILED:
                    raise failure(self._place, answer)
            else:
                self.close()
                raise broken(self._place)
        return []

    def _begin(self) -> Process:
        self._process = process = processes.take()
        process.ask(self._request)
        return process

    def _whole(self) -> None:
        with self._lock:
            process, self._process, self._ended = self._process, None, True
        if process is not None:
            processes.give(process)

    def close(self) -> None:
        """No more is wanted."""
        with self._lock:
            process, self._process, self._ended = self._process, None, True
        if process is not None:
            processes.kill(process)

    def __iter__(self) -> Iterator[Listed]:
        """All that is listed."""
        try:
            while page := self.next():
                yield from page
        finally:
            self.close()


class Everything:
    """All keys of a place: by one lister, and if there are many, in folders of enough, by several at once.

    As `Pages`. The trash and the like are left out where they can be.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._pages: Pages | None = Pages(place)
        self._lanes: _Lanes | None = None
        self._sample: list[bytes] | None = []
        self._inside: bytes | None = None
        self._rest: list[Listed | str] = []
        self._last = b""
        self.ordered = True
        """Whether what came so far was in key order."""

    def next(self) -> list[Listed]:
        """As `Pages.next`."""
        page = self._next()
        if page:
            self.ordered = self.ordered and self._last < page[0][0]
            self._last = page[-1][0]
        return page

    def _next(self) -> list[Listed]:
        pages = self._pages
        if pages is None:
            return self._next_of_rest()
        page = pages.next()
        self.ordered = self.ordered and pages.ordered
        if self._inside is not None:
            return self._until_it_leaves(pages, page, self._inside)
        if self._sample is not None:
            self._sample += [listed[0] for listed in page]
            if len(self._sample) >= SAMPLE:
                self._divide(self._sample)
                self._sample = None
        return page

    def _divide(self, seen: list[bytes]) -> None:
        """Find the folders that are still to come; what is in the middle of being listed is listed on."""
        rest: list[Listed | str] = []
        inside = b""
        while self.ordered and inside.count(b"/") < LEVELS:
            names = list(dict.fromkeys(_first_name(key, inside) for key in seen if key.startswith(inside)))
            keys = sum(key.startswith(inside) for key in seen)
            if not names[-1].endswith(b"/") or keys < LEAST_KEYS * len(names):
                break
            entries = _entries(self._place, inside)
            if entries is None:
                break
            told = {inside + name for name in names}
            rest = [entry for name, entry in sorted(entries.items()) if name not in told] + rest
            inside += names[-1]
        if any(isinstance(entry, str) for entry in rest):
            self._rest, self._inside = rest, inside
            self._lanes = _Lanes(self._place, [entry for entry in rest if isinstance(entry, str)])

    def _until_it_leaves(self, pages: Pages, page: list[Listed], inside: bytes) -> list[Listed]:
        """What of a page is still in the folder that was listed when the rest was given to others."""
        if page and page[-1][0].startswith(inside):
            return page
        pages.close()
        self._pages = None
        return [listed for listed in page if listed[0].startswith(inside)] or self._next_of_rest()

    def _next_of_rest(self) -> list[Listed]:
        """The next page of a folder, or the objects up to it."""
        alone: list[Listed] = []
        while self._rest and self._lanes is not None:
            entry = self._rest[0]
            if isinstance(entry, str):
                if alone:
                    break
                if page := self._lanes.next():
                    self.ordered = self.ordered and self._lanes.ordered
                    return page
            else:
                alone.append(entry)
            del self._rest[0]
        return alone

    def close(self) -> None:
        """No more is wanted."""
        pages, lanes = self._pages, self._lanes
        for listing in (pages, lanes):
            if listing is not None:
                listing.close()


class _Lanes:
    """Folders one after the other, each listed by the next of several processes, which go ahead of the reader."""

    def __init__(self, place: Place, folders: Sequence[str]) -> None:
        self._place = place
        self._folders = folders
        self._processes = [processes.take() for _ in range(min(LISTERS, len(folders)))]
        self._lock = threading.Lock()
        self._at = 0
        self._asked = 0
        self.ordered = True
        """Whether the page that came last was in key order."""
        self._ask()

    def _ask(self) -> None:
        while self._asked < min(len(self._folders), self._at + AHEAD * len(self._processes)):
            process = self._processes[self._asked % len(self._processes)]
            process.ask(request(self._place, self._folders[self._asked]))
            self._asked += 1

    def next(self) -> list[Listed]:
        """The next page of the folder that is in turn; empty at its end.

        Raises:
            StoreError: If a listing cannot begin, or breaks off.
        """
        while self._processes:
            answer = _answer(self._processes[self._at % len(self._processes)])
            if not answer or answer[0] == lister.FAILED:
                self.close()
                raise failure(self._place, answer) if answer else broken(self._place)
            if answer[0] == lister.END:
                self._at += 1
                self._ended() if self._at == len(self._folders) else self._ask()
                return []
            self.ordered = answer[2]
            if answer[1]:
                listed: list[Listed] = answer[1]
                return listed
        return []

    def _ended(self) -> None:
        with self._lock:
            idle, self._processes = self._processes, []
        for process in idle:
            processes.give(process)

    def close(self) -> None:
        """No more is wanted."""
        with self._lock:
            busy, self._processes = self._processes, []
        for process in busy:
            processes.kill(process)


def request(place: Place, below: str, *, limit: int = -1, recursive: bool = True) -> dict[str, object]:
    """What is asked of a lister."""
    return {
        "scheme": place.scheme,
        "options": dict(place.options),
        "root": place.prefix,
        "below": below,
        "odd": ODD.pattern,
        "limit": limit,
        "recursive": recursive,
        "timeout": 60.0,
    }


def failure(place: Place, answer: tuple[Any, ...]) -> StoreError:
    """The error that a lister told of."""
    return fault(answer[1], answer[2], what=f"a list of {place.url}", url=place.url, bucket=place.bucket)


def broken(place: Place) -> StoreError:
    """A lister that has ended without a word."""
    return Unavailable(f"the list of {place.url} broke off", attempt="run the same command again")


def _answer(process: Process) -> tuple[Any, ...]:
    """The next frame; empty if it has been killed, or has closed its pipes."""
    try:
        return process.answer()
    except (BrokenPipeError, ValueError):
        return ()


def _first_name(key: bytes, folder: bytes) -> bytes:
    """What a key is, or is in, in a folder: a name that ends in a slash if it is a folder too."""
    name, slash, _ = key[len(folder) :].partition(b"/")
    return name + slash


def _entries(place: Place, folder: bytes) -> dict[bytes, Listed | str] | None:
    """What is in a folder: objects, and names of folders; None if there are too many, or names that hide others."""
    entries: dict[bytes, Listed | str] = {}
    for listed in Pages(place, folder.decode(), limit=MOST_FOLDERS + 1, recursive=False):
        raw = listed[0]
        if not raw.endswith(b"/"):
            entries[raw] = listed
        elif raw not in (folder, _RESERVED):
            entries[raw] = name = raw.decode()
            if problem(place.prefix, Key(name[:-1]), backslashes=True) is not None:
                return None  # listed as it is spelled here, it might be another folder
    return entries if len(entries) <= MOST_FOLDERS else None
