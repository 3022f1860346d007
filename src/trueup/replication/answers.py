"""One request to one database, whatever brought it here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from trueup.replication.database import Database
from trueup.replication.pages import Body
from trueup.replication.refused import Refused
from trueup.replication.wire import parse_pull

PIPELINE: Final = "/v2/pipeline"
PULL: Final = "/pull-updates"
BACKUP: Final = "/backup"
STATE: Final = ""
"""What is below the address of a database."""

REVISION_HEADER: Final = "Trueup-Revision"
"""Of every answer: the revision that it is about, or after it."""
CONDITION_HEADER: Final = "If-Revision"
"""Of a pipeline: do nothing if the revision is another."""

_METHODS: Final = {PIPELINE: "POST", PULL: "POST", BACKUP: "GET", STATE: "GET"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request without its transport."""

    method: str
    path: str
    """Below the address of the database."""
    body: bytes = b""
    if_revision: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer without its transport."""

    status: int
    kind: str
    """Of content."""
    body: bytes | Body
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Of the body, in bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size

    def close(self) -> None:
        """Nobody wants more of it."""
        if not isinstance(self.body, bytes):
            self.body.close()


def check(method: str, path: str) -> None:
    """Whether there is such a thing, before the body is read.

    Raises:
        Refused: If there is not.
    """
    expected = _METHODS.get(path)
    if expected is None:
        raise Refused(404, "NOT_FOUND", "there is nothing at this address")
    if method != expected:
        raise Refused(405, "METHOD", f"this address takes {expected} only")


def may_create(asked: Asked) -> bool:
    """Whether a database that is not there may be made for this: a client that knows nothing wants to begin.

    Raises:
        Refused: If the client knows one. An empty database would then wipe what the client has.
    """
    if asked.path != PULL:
        return False
    request = parse_pull(asked.body)
    if request.client_revision or request.server_revision:
        raise Refused(409, "REPLACED", "remote was replaced: the database that you know is not here any more")
    return True


def patience(database: Database, asked: Asked) -> float:
    """How many seconds to wait for a change of the database before this is answered.

    Raises:
        Refused: If it is malformed.
    """
    return database.waits(parse_pull(asked.body)) if asked.path == PULL else 0.0


def reply(database: Database, asked: Asked) -> Reply:
    """Do it; may take as long as a disk takes.

    Raises:
        Refused: If it is not done.
    """
    match asked.path:
        case "/v2/pipeline":
            revision, answer = database.pipeline(asked.body, if_revision=asked.if_revision)
            return Reply(200, "application/json", answer, {REVISION_HEADER: revision})
        case "/pull-updates":
            revision, body = database.pull(parse_pull(asked.body))
            return Reply(200, "application/protobuf", body, {REVISION_HEADER: revision})
        case "/backup":
            revision, body = database.copy()
            return Reply(200, "application/vnd.sqlite3", body, {REVISION_HEADER: revision})
        case _:
            revision, pages = database.at
            about = json.dumps({"revision": revision, "pages": pages}).encode()
            return Reply(200, "application/json", about, {REVISION_HEADER: revision})


def tidy(database: Database, asked: Asked) -> None:
    """What is left to do after the answer was sent. If it fails, the next request does it, or says why not."""
    if asked.path == PIPELINE:
        with suppress(Refused):
            database.tidy()


def refusal(refused: Refused) -> Reply:
    """The answer that says why not."""
    document = {"error": refused.what, "code": refused.kind}
    headers = {}
    if refused.revision:
        headers[REVISION_HEADER] = document["revision"] = refused.revision
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Reply(refused.status, "application/json", json.dumps(document).encode(), headers)


def bearer(authorization: str | None) -> str:
    """The token of a header.

    Raises:
        Refused: If there is none.
    """
    kind, _, token = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise unauthorized()
    return token.strip()


def unauthorized() -> Refused:
    """No token, or a wrong one: nobody is told which."""
    return Refused(401, "UNAUTHORIZED", "this remote wants a valid token")


def length(declared: str | None, most: int) -> int:
    """Of a body, from its header.

    Raises:
        Refused: If it is not known or too large.
    """
    if declared is None or not (declared.isascii() and declared.isdigit()) or len(declared) > 15:
        raise Refused(411, "LENGTH", "the request does not say how long it is")
    if int(declared) > most:
        raise too_large(most)
    return int(declared)


def too_large(most: int) -> Refused:
    """More than the limits allow."""
    return Refused(413, "TOO_LARGE", f"the request is larger than {most} bytes, which is the limit of this remote")
