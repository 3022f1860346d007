"""Lists objects, as a process of its own.

OpenDAL's blocking lister holds Python's global lock while it waits for a page, and may only be used by the thread that
made it: inside the main process every page would stop all other work, down to Ctrl-C. So listings are asked for here.

Reads one request after the other from its standard input and writes frames to its standard output until the input
ends. A frame is a length (four bytes, big-endian) and that many bytes: JSON for requests, `marshal` for answers, which
never leave the machine. Nothing of trueup is imported: starting has to be cheap.
"""

import json
import marshal
import re
import signal
import struct
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

BATCH = 1000
ROWS, END, FAILED = 0, 1, 2
EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
"""ETag of no bytes, where ETags are MD5."""

LONG = 200
"""Bytes; longer keys are looked at closely."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def serve(request: dict[str, Any], output: BinaryIO) -> None:
    """Answer one request with frames: rows, then the end or a failure."""
    import opendal
    from opendal.layers import TimeoutLayer

    failures = tuple(
        value for value in vars(opendal.exceptions).values() if isinstance(value, type) and issubclass(value, Exception)
    )
    try:
        operator = opendal.Operator(request["scheme"], **request["options"]).layer(
            TimeoutLayer(timeout=request["timeout"], io_timeout=request["timeout"])
        )
        _list(operator, request, output)
    except failures as error:
        send(output, (FAILED, type(error).__name__, str(error)))


def _list(operator: Any, request: dict[str, Any], output: BinaryIO) -> None:
    root, prefix, odd = request["root"], request["root"] + request["below"], re.compile(request["odd"])
    cut, left = len(root), request["limit"]
    listed: list[tuple[bytes, str, int, int, bool]] = []
    last, ordered = b"", True
    root, prefix, odd = request["root"], request["root"] + request["below"], re.compile(request["odd"])
    cut, left = len(root), request["limit"]
    listed, last, ordered = [], b"", True
    for entry in operator.list(prefix or "/", recursive=request["recursive"]):
        path = entry.path
        if not path.startswith(prefix) or len(path) == cut or path == "/":
            continue
        row = _row(path[cut:], entry.metadata, odd)
        ordered, last = ordered and last < row[0], row[0]
        listed.append(row)
        left -= 1
        if len(listed) >= BATCH or not left:
            send(output, (ROWS, listed, ordered))
            listed = []
        if not left:
            break
    send(output, (ROWS, listed, ordered))
    send(output, (END,))


def _row(path: str, metadata: Any, odd: re.Pattern[str]) -> tuple[bytes, str, int, int, bool]:
    """Key, token, size, time in nanoseconds since the epoch, and whether the key has to be looked at closely."""
    raw = path.encode()
    modified = metadata.last_modified
    time_ns = (modified - _EPOCH) // _MICROSECOND * 1000 if modified is not None else 0
    token = (metadata.etag or "").removeprefix("W/").strip('"')
    if path.endswith("/"):  # its size is not told; an empty one is a marker of other tools
        return raw, token, int(token not in ("", EMPTY)), time_ns, True
    return raw, token, metadata.content_length, time_ns, len(raw) > LONG or odd.search(path) is not None


def send(output: BinaryIO, answer: tuple[Any, ...]) -> None:
    """Write one frame."""
    frame = marshal.dumps(answer)
    output.write(struct.pack(">I", len(frame)) + frame)
    output.flush()


def main() -> None:
    """Serve until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    source, output = sys.stdin.buffer, sys.stdout.buffer
    try:
        while header := source.read(4):
            serve(json.loads(source.read(struct.unpack(">I", header)[0])), output)
    except BrokenPipeError:
        sys.stderr.close()  # nobody listens any more


if __name__ == "__main__":
    main()
