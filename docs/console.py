"""Run what documents show: every ``console`` block, in order, with the real command.

Each document gets a home of its own in a temporary folder, with a state of its own. A line that begins with ``$`` is a
command, ``>`` continues it, and what follows is what it prints. A command must end with exit code 0, unless the next
one is ``echo $?``. Where output is shown it must be what the command prints; a line ``...`` stands for any lines.
Run ids, digests of plans, times and the home are replaced by fixed ones. A question is answered as the block shows it.

A document that names a bucket gets an S3 server of its own, on loopback, with the buckets and the keys below.
`https://s3.example.com` stands for its address. Without that server the exit code is 77, and the document is not run.

Usage: ``python docs/console.py [--write] [DOCUMENT...]``; with ``--write`` what is shown is brought up to date.
"""

from __future__ import annotations

import argparse
import difflib
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trueup.testing.engines import Missing, WeedMini
from trueup.testing.sigv4 import Credentials

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/tutorial.md", "docs/object-stores.md", "docs/registries.md", "docs/troubleshooting.md")

HOME = "/home/you"
"""What the temporary home is called in documents."""
QUESTION = re.compile(r"(\[y/N\] |\([a-z, ]+\)\? )(\w+)$", re.MULTILINE)
ANY = "..."

ENDPOINT = "https://s3.example.com"
"""What the address of the server is called in documents."""
BUCKETS = ("team",)
MISSING = 77
"""Exit code if the server is not installed."""

SETTLED_SECONDS = 2.5
"""A little more than the tick of `trueup.stores.file`."""

_RUN = re.compile(r"\b\d{8}T\d{6}-[0-9a-f]{8}\b")
_FIXED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=/)[0-9a-f]{16}-[0-9a-f]{8}(?=/)"), "5f0c2a9d71e64b38-5b30e4ca"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "5f0c2a9d71e64b38"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "2026-11-21 09:00:00"),
    (re.compile(r"\b\d+\.\d s\b"), "0.1 s"),
    (re.compile(r'"pid": \d+, "host": "[^"]*"'), '"pid": 4711, "host": "desk"'),
)
_SHELL = 'cd "$(cat "$KEPT/cwd")"; source "$KEPT/env"; (exit "$BEFORE"); eval "$COMMAND"; CODE=$?; '
_SHELL += (
    'declare -px | grep -v "^declare -x \\(COMMAND\\|BEFORE\\|KEPT\\)=" > "$KEPT/env"; pwd > "$KEPT/cwd"; exit $CODE'
)


@dataclass(slots=True)
class Command:
    """One command of a document, and what is shown below it."""

    text: str
    line: int
    """Of its first output line, counted from 0."""
    shown: list[str] = field(default_factory=list)


class Weed(WeedMini):
    """Takes the keys that documents show."""

    credentials = Credentials("your-key", "your-secret")


@dataclass(slots=True)
class Home:
    """A folder to run commands in, remembered from one to the next as a shell does."""

    path: Path
    endpoint: str = ENDPOINT
    """Of the server, if there is one."""
    code: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    """Ids of runs, and what they are called in the document."""

    def __post_init__(self) -> None:
        """Begin in an empty home."""
        (self.path / "home").mkdir()
        (self.path / "cwd").write_text(str(self.path / "home"))
        (self.path / "env").write_text("")

    def run(self, command: Command) -> str:
        """Run one command; what it printed, with fixed ids, times and home."""
        text = command.text.replace(HOME, str(self.path / "home")).replace(ENDPOINT, self.endpoint)
        for real, called in self.runs.items():
            text = text.replace(called, real)
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.path / "home"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TZ": "UTC",
            "KEPT": str(self.path),
            "BEFORE": str(self.code),
            "COMMAND": text,
        } | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        answers = [match[2] for match in QUESTION.finditer("\n".join(command.shown))]
        output = self._on_terminal(environment, answers) if answers else self._plain(environment)
        if not command.text.startswith("trueup "):
            self._settle()
        return self._fixed(output)

    def _settle(self) -> None:
        """Nobody types as fast: what a command before has edited was edited some seconds ago.

        What was edited in the same instant would be looked at twice, and the counts would depend on the machine.
        """
        now = time.time()
        for path in (self.path / "home").rglob("[!.]*"):
            if path.is_file() and "/." not in str(path) and path.stat().st_mtime > now - SETTLED_SECONDS:
                os.utime(path, (now - 2 * SETTLED_SECONDS,) * 2)

    def _plain(self, environment: dict[str, str]) -> str:
        done = subprocess.run(  # noqa: S603  # the documents' own commands
            ["/bin/bash", "-c", _SHELL],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        self.code = done.returncode
        return done.stdout.decode("utf-8", "surrogateescape")

    def _on_terminal(self, environment: dict[str, str], answers: list[str]) -> str:
        """A question is only asked where somebody can answer."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve("/bin/bash", ["/bin/bash", "-c", _SHELL], environment)  # noqa: S606  # as above
        seen = b""
        while chunk := _read(terminal):
            seen += chunk
            if answers and seen.endswith((b"] ", b"? ")):
                os.write(terminal, answers.pop(0).encode() + b"\n")
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.code = os.waitstatus_to_exitcode(status)
        return seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n")

    def _fixed(self, text: str) -> str:
        text = text.replace(str(self.path / "home"), HOME).replace(self.endpoint, ENDPOINT)
        for run in _RUN.findall(text):
            number = len(self.runs)
            self.runs.setdefault(run, f"20261121T09{number:02}00-{0x1F2E3D4C + number * 0x01357BD1:08x}")
        text = _RUN.sub(lambda match: self.runs[match[0]], text)
        for pattern, fixed in _FIXED:
            text = pattern.sub(fixed, text)
        return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other end is closed
        return b""


def commands(lines: list[str]) -> list[Command]:
    """All commands of a document, in order."""
    found: list[Command] = []
    inside = False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Command(line[2:], number + 1))
        elif inside and (line == ">" or line.startswith("> ")) and not found[-1].shown:
            found[-1].text += "\n" + line[2:]
            found[-1].line = number + 1
        elif inside:
            found[-1].shown.append(line)
    return found


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether the printed lines are those shown, where ``...`` stands for any."""
    if ANY not in [line.strip() for line in shown]:
        return shown == printed
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == ANY else re.escape(line) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


def check(document: Path, *, write: bool) -> list[str]:
    """Run a document; what is wrong with it, as lines of text.

    Args:
        document: A Markdown file.
        write: Bring the output that is shown up to date instead of complaining about it.

    Raises:
        Missing: If it needs a server that is not installed.
    """
    lines = document.read_text("utf-8").splitlines()
    todo = commands(lines)
    wrong: list[str] = []
    changes: list[tuple[Command, list[str]]] = []
    with _served(todo) as endpoint, tempfile.TemporaryDirectory(prefix="trueup-docs-") as folder:
        home = Home(Path(folder).resolve(), endpoint)
        for number, command in enumerate(todo):
            printed = home.run(command).splitlines()
            asked = number + 1 < len(todo) and todo[number + 1].text == "echo $?"
            if home.code and not asked:
                wrong += [f"{document.name}:{command.line}: $ {command.text}", f"ended with {home.code}", *printed]
            if command.shown and not matches(command.shown, [line.rstrip() for line in printed]):
                changes.append((command, [line.rstrip() for line in printed]))
    if write:
        for command, printed in reversed(changes):
            lines[command.line : command.line + len(command.shown)] = printed
        document.write_text("\n".join(lines) + "\n", "utf-8")
        return wrong
    for command, printed in changes:
        title = f"{document.name}:{command.line}: $ {command.text}"
        wrong += [title, *difflib.unified_diff(command.shown, printed, "shown", "printed", lineterm="")]
    return wrong


@contextmanager
def _served(todo: list[Command]) -> Iterator[str]:
    """The address of a server, if commands need one."""
    if not any("s3://" in command.text for command in todo):
        yield ENDPOINT
        return
    with tempfile.TemporaryDirectory(prefix="trueup-docs-s3-", ignore_cleanup_errors=True) as folder:
        server = Weed(Path(folder).resolve(), buckets=BUCKETS)
        server.start()
        try:
            yield server.endpoint
        finally:
            server.stop(kill=True)  # nothing of it is kept


def main() -> int:
    """Run the documents that are named, or all."""
    parser = argparse.ArgumentParser(description="Run what documents show.")
    parser.add_argument("documents", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="bring the output that is shown up to date")
    arguments = parser.parse_args()
    wrong: list[str] = []
    try:
        for document in arguments.documents or [ROOT / name for name in DOCUMENTS]:
            wrong += check(document, write=arguments.write)
    except Missing as error:
        print(error)
        return MISSING
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
