"""The command on a real terminal: what is awaited, and what is typed then."""

import os
import pty
import select
import signal
import sys
from collections.abc import Sequence

from tests.cli.home import Home

PATIENCE_SECONDS = 30


def talk(
    home: Home, arguments: Sequence[str], exchanges: Sequence[tuple[str, bytes | signal.Signals]]
) -> tuple[int, str]:
    """Run the command on a terminal; wait for each text, then type, or send a signal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home.path)
        os.execvpe(sys.executable, [sys.executable, "-m", "trueup", *arguments], home.env | {"TERM": "xterm"})  # noqa: S606
    output = b""
    try:
        for awaited, reply in exchanges:
            start = len(output)
            while awaited.encode() not in output[start:]:
                output += _read(terminal)
            if isinstance(reply, signal.Signals):
                os.kill(pid, reply)
            else:
                os.write(terminal, reply)
        while True:
            output += _read(terminal)
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    ready, _, _ = select.select([terminal], [], [], PATIENCE_SECONDS)
    data = os.read(terminal, 65536) if ready else b""
    if not data:
        raise OSError
    return data
