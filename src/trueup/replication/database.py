"""One SQLite file that is served: SQL goes in, pages come out, and every change has a revision.

The order of a pipeline, which survives being killed between any two steps::

    1. SQLite commits into its write-ahead log.
    2. The pages of the new frames are recorded under a new revision, durably. The client is answered.
    3. The log is copied into the file, and emptied. Pulls go on during the copy.
    4. What the file looks like then is noted.

A log that is found when a database is opened is taken through what was missing. Salt and length of the log tell
whether step 2 was done; the note of step 4 tells whether the file is the one that was left. If it is not (a copy was
put back, another program wrote to it) a new epoch begins, and clients of the old one are refused: pages of two
histories must never meet in one replica.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from trueup.replication import frames, hrana
from trueup.replication.limits import Limits
from trueup.replication.opening import beside, connected, is_empty, locked, look
from trueup.replication.pages import Body, Files, messages, messages_bytes
from trueup.replication.refused import Refused, disk_faults, faults, replaced
from trueup.replication.revisions import Revisions, State
from trueup.replication.wire import PAGE_BYTES, PullRequest, header, parse_bitmap

_DIGITS: Final = re.compile(r"[0-9]{1,15}")


class Database:
    """An open database; its methods may be called from any thread.

    Args:
        path: Of the file. It is made if it is not there, as long as its folder is.
        limits: Of requests.

    Raises:
        Locked: If another process serves it, or this one does already.
        Corrupt: If the file is not a database.
        UsageError: If its pages have another size than the protocol knows.
        NoSpace: If the disk is full.
        StoreError: If it cannot be opened.
    """

    def __init__(self, path: Path, *, limits: Limits | None = None) -> None:
        self.path = path = path.resolve()  # SQLite keeps the log beside the file, not beside a link to it
        self._limits = limits or Limits()
        self._writing = threading.Lock()
        """Held by who uses SQLite; taken before the other."""
        self._mutex = threading.Lock()
        """Held by who uses the files and the records."""
        self._listeners: set[Callable[[], None]] = set()
        self._answers: weakref.WeakSet[Body] = weakref.WeakSet()
        """Those that are being sent: what they read must not change until they have it."""
        self._closed = False
        self._recorded = False
        self._settled = False
        with contextlib.ExitStack() as stack, faults(path):
            stack.enter_context(locked(path))
            look(path)
            emptied = is_empty(beside(path, "-wal"))
            self._connection = connected(path, self._limits)
            stack.callback(self._connection.close)
            self._files = Files(path)
            stack.callback(self._files.close)
            stack.callback(self._connection.close)  # before the files; a second time does nothing
            self._revisions = stack.enter_context(contextlib.closing(Revisions(beside(path, "-revisions"))))
            self._state = self._known(emptied=emptied)
            self._settle()
            self._stack = stack.pop_all()

    # -- life ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait for what is being done, and let go of the file. What comes later is refused; a second call is empty."""
        with self._writing, self._mutex:
            if self._closed:
                return
            self._closed = True
            self._take_answers()
            with self._stack, contextlib.suppress(Refused), disk_faults():  # what fails now is done when it is opened
                self._settle()
        self._announce()

    @property
    def revision(self) -> str:
        """What is there now."""
        return self._state.revision

    @property
    def at(self) -> tuple[str, int]:
        """The revision, and how many pages the database has in it."""
        state = self._state
        return state.revision, state.pages

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this, in the thread of the writer, after each change and at the end; the answer ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _announce(self) -> None:
        for listener in list(self._listeners):
            listener()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._mutex:
            if self._closed:
                raise Refused(503, "CLOSING", "the remote is shutting down")
            with disk_faults():
                if not self._recorded:
                    self._record()
                yield

    def _take_answers(self) -> None:
        """Before anything is written: the pages of answers that are still being sent."""
        for answer in list(self._answers):
            answer.take()
        self._answers.clear()

    def _body(self, parts: Iterator[bytes | memoryview], size: int) -> Body:
        body = Body(parts, size, self._mutex, self._limits.memory_bytes)
        self._answers.add(body)
        return body

    # -- SQL goes in -----------------------------------------------------------------------------------------------

    def pipeline(self, body: bytes, *, if_revision: str | None = None) -> tuple[str, bytes]:
        """Run a pipeline; the revision after it, and its answer as JSON.

        Args:
            body: Of the request.
            if_revision: Do nothing if this is not the revision.

        Raises:
            Refused: If it is malformed, or the revision is another, or what it did cannot be recorded.
        """
        requests = hrana.parse(body)
        before = self._state
        try:
            with self._writing, self._held():
                self._take_answers()
                if not self._settled:
                    self._settle()
                self._expect(if_revision)
                self._recorded = self._settled = False
                try:
                    answer = hrana.Session(self._connection, self._limits).run(requests)
                finally:
                    self._record()
                return self._state.revision, answer
        finally:
            if self._state.number != before.number:
                self._announce()

    def tidy(self) -> None:
        """Do what a pipeline has left for later: after its answer is sent, or else before the next request.

        Raises:
            Refused: If the disk fails.
        """
        with self._writing:
            if self._settled or self._closed:
                return
            with self._held():  # now it is recorded: after the copy nobody could say what a page was before
                self._take_answers()
            # Pulls go on meanwhile: what is copied they read in the log, and what they read in the file is not copied.
            with disk_faults():
                self._copy_log("PASSIVE")
            with self._held():
                self._take_answers()
                self._settle()

    def _expect(self, revision: str | None) -> None:
        now = self._state.revision
        if revision is not None and revision != now:
            raise Refused(409, "CHANGED", f"the remote is at revision {now}, not {revision}: pull first", revision=now)

    # -- pages come out --------------------------------------------------------------------------------------------

    def waits(self, request: PullRequest) -> float:
        """How many seconds this client wants to wait, as nothing is new for it; 0 if it is to be answered."""
        if request.server_revision or not request.long_poll_ms or request.client_revision != self.revision:
            return 0.0
        return min(request.long_poll_ms / 1000, self._limits.poll_seconds)

    def pull(self, request: PullRequest) -> tuple[str, Body]:
        """Pages that a client lacks, as one state of the database; its revision, and the answer.

        Raises:
            Refused: If the client knows another database, or wants old pages that are gone, or there is no room.
        """
        with self._held():
            known = self._number(request.client_revision)
            wanted = self._number(request.server_revision) or self._state.number
            if wanted == self._state.number:
                if request.selector or request.query:
                    self._revisions.pin(self._state)
                size = self._state.pages
                pages = self._selected(request.selector, size, known)
                found = messages(self._files.read_all(pages))
            else:
                size = self._pinned(wanted)
                pages = self._selected(request.selector, size, known)
                found = messages((page, self._as_of(page, wanted)) for page in pages)
            revision = f"{self._state.epoch}.{wanted}"
            head = header(revision, size)
            body = self._body(_answer(head, found), len(head) + messages_bytes(pages))
            if wanted != self._state.number:
                body.take()  # while it can still be refused: of old pages some may be gone
                body.check()
            return revision, body

    def _number(self, revision: str) -> int:
        """Of a revision of this epoch; 0 for none.

        A restored copy of file and records has fewer revisions than some clients know.
        """
        if not revision:
            return 0
        epoch, _, digits = revision.rpartition(".")
        number = int(digits) if _DIGITS.fullmatch(digits) else 0
        if epoch != self._state.epoch or not 0 < number <= self._state.number:
            raise replaced(self._state.revision)
        return number

    def _selected(self, selector: bytes, size: int, known: int) -> Sequence[int]:
        pages = self._revisions.changed_after(known, size) if known else range(size)
        if not selector:
            return pages
        chosen = parse_bitmap(selector, size)
        return chosen if not known else sorted(set(chosen).intersection(pages))

    def _pinned(self, number: int) -> int:
        size = self._revisions.pinned_pages(number)
        if size is None:
            raise self._gone(number)
        return size

    def _as_of(self, page: int, number: int) -> bytes:
        if self._revisions.changed_in(page) <= number:
            return self._files.read(page)
        content = self._revisions.old_page(page, number)
        if content is None:
            raise self._gone(number)
        return content

    def _gone(self, number: int) -> Refused:
        return Refused(
            409,
            "GONE",
            f"pages of revision {self._state.epoch}.{number} are no longer kept here: clone again, or without a prefix",
            revision=self._state.revision,
        )

    def copy(self) -> tuple[str, Body]:
        """The whole database as a file that SQLite can open; its revision, and its bytes."""
        with self._held():
            pages = range(self._state.pages)
            content = self._files.read_runs(pages)
            return self._state.revision, self._body(content, len(pages) * PAGE_BYTES)

    # -- the records follow ----------------------------------------------------------------------------------------

    def _known(self, *, emptied: bool) -> State:
        """What the records say, if they are about this file; else the beginning of an epoch.

        Args:
            emptied: The log was there and had no bytes: what a checkpoint leaves. Another program that finishes one
                removes the log.
        """
        index = frames.read_index(self._files.shared)
        state = self._revisions.state()
        if state is not None and self._is_about_this_file(state, index, emptied=emptied):
            return state
        return State(secrets.token_hex(8), 0, 0, b"", 0, None)

    def _is_about_this_file(self, state: State, index: frames.Index, *, emptied: bool) -> bool:
        if index.frames and index.salt == state.salt:
            return index.frames >= state.frames
        if state.stamp is None:
            return not index.frames and emptied
        return state.stamp == self._files.stamp()

    def _settle(self) -> None:
        """Take the records and the file to what SQLite has committed; again from the start if it was interrupted."""
        if self._record():
            self._checkpoint()
        else:
            self._files.in_log = {}
            if self._state.number == 0:
                self._begin(replace(self._state, number=1, pages=self._files.pages(), stamp=self._files.stamp()))
            elif self._state.stamp is None:
                self._note(replace(self._state, stamp=self._files.stamp()))
        self._settled = True

    def _record(self) -> bool:
        """Give the frames that are not recorded yet a revision of their own; whether the log has any frames."""
        index = frames.read_index(self._files.shared)
        if index.frames:
            self._record_frames(index)
        self._recorded = True
        return index.frames > 0

    def _record_frames(self, index: frames.Index) -> None:
        recorded = self._state.frames if index.salt == self._state.salt else 0
        if not recorded:
            self._files.in_log = {}  # the log began anew, as all of the one before was in the file
        elif not self._files.in_log:
            self._files.in_log = frames.places(self._files.log, 0, recorded)
        changed = frames.places(self._files.log, recorded, index.frames)
        state = replace(self._state, number=self._state.number + 1, pages=index.pages, salt=index.salt)
        state = replace(state, frames=index.frames, stamp=None)
        if self._state.number == 0:
            self._begin(state)
        elif changed:
            old = self._old_content(changed)
            self._revisions.record(state, changed, old)
            self._state = state
            if old:
                self._revisions.trim(self._limits.history_bytes)
        self._files.in_log |= changed

    def _old_content(self, changed: dict[int, int]) -> dict[int, bytes]:
        """Of pages that are about to be lost, and of which a revision consists that somebody has a part of."""
        pin = self._revisions.newest_pin()
        return {
            page: self._files.read(page)
            for page in changed
            if pin and page < self._state.pages and self._revisions.changed_in(page) <= pin
        }

    def _checkpoint(self) -> None:
        """Copy the log into the file, unless somebody is reading or there is no room: then it stays, and is read."""
        if self._copy_log("TRUNCATE"):
            self._files.in_log = {}
            self._note(replace(self._state, stamp=self._files.stamp()))

    def _copy_log(self, how: str) -> bool:
        try:
            busy, _, _ = self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            return False
        return not busy

    def _begin(self, state: State) -> None:
        self._revisions.begin_epoch(state)
        self._state = state

    def _note(self, state: State) -> None:
        self._revisions.note(state)
        self._state = state


def _answer(head: bytes, rest: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield head
    yield from rest
