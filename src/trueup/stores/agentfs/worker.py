"""One call of the sync engine, in a process of its own: JSON on stdin and on stdout, the token in the environment.

The engine is native code without time limits; what crashes or hangs here is an error message there. This file is run
as a program and imports nothing of ours, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from typing import Any
from urllib.parse import urlsplit

TOKEN = "TURSO_DB_AUTH_TOKEN"  # noqa: S105  # the name of a variable
FIELDS = (
    "cdc_operations",
    "main_wal_size",
    "revert_wal_size",
    "last_pull_unix_time",
    "last_push_unix_time",
    "revision",
    "network_sent_bytes",
    "network_received_bytes",
)


def main() -> None:
    """Do what stdin asks for: ``do`` (pull, push, checkpoint, stats), ``path``, ``url``, ``seconds``."""
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"ok": _done(request)}
    except Exception as error:  # noqa: BLE001  # the edge of a process
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))


def _done(request: dict[str, Any]) -> dict[str, Any]:
    socket.setdefaulttimeout(request["seconds"])  # the driver has no limit of its own
    if urlsplit(request["url"]).hostname in ("127.0.0.1", "::1", "localhost"):
        urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    import turso.sync

    connection = turso.sync.connect(request["path"], remote_url=request["url"], auth_token=os.environ.get(TOKEN))
    try:
        pulled = None
        if request["do"] == "pull":
            pulled = connection.pull()
            connection.checkpoint()  # so that the file is the whole database
        elif request["do"] == "push":
            connection.push()
        elif request["do"] == "checkpoint":
            connection.checkpoint()
        stats = connection.stats()
        return {"pulled": pulled} | {name: getattr(stats, name) for name in FIELDS}
    finally:
        connection.close()


if __name__ == "__main__":
    main()
