"""``trueup diff``: how the two versions of an item differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches, unified_diff

import click

from trueup.cli.answers import finish
from trueup.cli.common import Output, Session, pass_session
from trueup.cli.group import Command
from trueup.cli.plan import exit_code_option
from trueup.cli.running import Runner, run_engine
from trueup.cli.targets import Chosen, Overrides, choose, folders_of, no_more, policy_options
from trueup.core.errors import NotFound, UsageError
from trueup.core.model import LOCAL, REMOTE, Entry, Key, Kind, Side, Unknown, is_directory
from trueup.core.plan import Item, Plan
from trueup.core.report import EXIT_DRIFT, EXIT_OK
from trueup.render.names import printable, size
from trueup.render.text import Line, line

LIMIT_BYTES = 1_000_000
"""Larger items are compared by size and digest only."""

_SNIFFED = 8192


@dataclass(frozen=True, slots=True)
class Version:
    """What one side holds under a key."""

    side: Side
    size: int | None
    """Bytes; None if nothing is there."""
    fingerprint: str = ""
    data: bytes | None = None
    """The content; None if it is too large, or no file."""
    note: str = ""

    @property
    def text(self) -> str | None:
        """The content as text; None if it is not text."""
        if self.data is None or b"\0" in self.data[:_SNIFFED]:
            return None
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    def same(self, other: Version) -> bool:
        """Whether both sides are known to hold the same, or nothing."""
        if self.note or other.note or self.size != other.size:
            return False
        if self.data is not None or other.data is not None:
            return self.data == other.data
        return self.size is None or (bool(self.fingerprint) and self.fingerprint == other.fingerprint)

    def __str__(self) -> str:
        """In words."""
        if self.note:
            return self.note
        if self.size is None:
            return "not there"
        return f"{size(self.size)}  {self.fingerprint}".rstrip()


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[NAME | folder LOCAL REMOTE] [KEY]")
@policy_options
@exit_code_option
@pass_session
def diff(session: Session, *, words: tuple[str, ...], overrides: Overrides, exit_code: bool) -> int:
    """Show how the two versions of an item differ.

    \b
    Examples:
      trueup diff photos                  everything that differs
      trueup diff photos notes/todo.txt   one item
      trueup diff folder ~/a /mnt/a notes/todo.txt

    Text is shown as a unified diff from remote (-) to local (+), anything else by size and hash. Writes nothing.
    """

    async def work(runner: Runner) -> int:
        target, rest = choose(runner, words, overrides)
        folders_of(target)
        no_more(rest[1:])
        plan = await runner.engine.plan(target.spec)
        items = _items(plan, Key(rest[0]) if rest else None)
        if rest:
            await _require(runner, target, Key(rest[0]), plan)
        runner.display.close()
        entries = []
        for key, item in items:
            local, remote = [await version(runner, target, side, key, item) for side in (LOCAL, REMOTE)]
            if local.same(remote):
                continue
            entries.append(
                {"key": key, LOCAL: str(local), REMOTE: str(remote), "diff": "".join(lines(key, local, remote))}
            )
            runner.event("diff", **entries[-1])
            if session.text:
                session.show(painted(key, local, remote))
        code = EXIT_DRIFT if entries and (exit_code or session.quiet) else EXIT_OK
        if session.text and not entries:
            session.show([line("no difference", "green")])
        if session.output is not Output.TEXT:
            finish(session, "diff", target=target.spec.name, items=entries, exit_code=code)
        return code

    return run_engine(session, work)


def _items(plan: Plan, key: Key | None) -> list[tuple[Key, Item | None]]:
    """What to compare: one key, whatever the plan says of it, or all files that differ."""
    table = {item.key: item for item in plan.items}
    if key is not None:
        return [(key, table.get(key))]
    return [(k, item) for k, item in table.items() if not is_directory(k) and _differs(item)]


async def _require(runner: Runner, target: Chosen, key: Key, plan: Plan) -> None:
    """Refuse a key that nothing has: a mistyped name must not look like an item without a difference.

    Raises:
        UsageError: If no side holds it, and the plan does not speak of it.
    """
    names = [item.key for item in plan.items]
    if key in names or is_directory(key):
        return
    for side in (LOCAL, REMOTE):
        try:
            await runner.engine.content(target.spec, side, key, limit=1)
        except NotFound:
            continue
        return
    near = [f"{key}/"] if f"{key}/" in names else get_close_matches(key, names, n=3)
    why = f"did you mean {' or '.join(near)}?" if near else "names are those that the plan shows, from the root on"
    raise UsageError(
        f"neither side of {target.spec.name} holds {key}",
        why=why,
        attempt=f"trueup diff {target.words.target}{target.words.flags}",
    )


def _differs(item: Item) -> bool:
    both = (item.side(LOCAL), item.side(REMOTE))
    if any(isinstance(seen, Unknown) for seen in both):
        return False
    contents = [seen.content if isinstance(seen, Entry) else None for seen in both]
    return contents[0] != contents[1]


async def version(runner: Runner, target: Chosen, side: Side, key: Key, item: Item | None) -> Version:
    """One side's version of a key, read if it is small.

    Raises:
        UsageError: If the key names a folder.
    """
    seen = item.side(side) if item is not None else None
    if isinstance(seen, Unknown):
        return Version(side, None, note=f"unknown: {printable(seen.why)}")
    if is_directory(key) or (isinstance(seen, Entry) and seen.content.kind is not Kind.FILE):
        raise UsageError(f"{printable(key)} is a folder", why="files can be compared")
    fingerprint = ""
    if isinstance(seen, Entry):
        fingerprint = str(seen.content.fingerprint or "")
        if seen.content.size > LIMIT_BYTES:
            return Version(side, seen.content.size, fingerprint)
    try:
        data = await runner.engine.content(target.spec, side, key, limit=LIMIT_BYTES + 1)
    except NotFound:
        return Version(side, None)
    if len(data) > LIMIT_BYTES:
        return Version(side, seen.content.size if isinstance(seen, Entry) else len(data), fingerprint)
    return Version(side, len(data), fingerprint or _hash(data), data)


def _hash(data: bytes) -> str:
    from blake3 import blake3

    return f"blake3:{blake3(data).hexdigest()}"


def lines(key: Key, local: Version, remote: Version) -> Iterator[str]:
    """A unified diff from remote to local, printable; sizes and hashes where there is no text."""
    name = printable(key)
    old, new = remote.text if remote.size is not None else "", local.text if local.size is not None else ""
    if old is None or new is None:
        yield f"{name}\n"
        yield f"  {LOCAL:<8}{local}\n"
        yield f"  {REMOTE:<8}{remote}\n"
        return
    theirs, ours = (f"{v.side}/{name}" if v.size is not None else f"{v.side}: {v}" for v in (remote, local))
    for part in unified_diff(_split(old), _split(new), theirs, ours):
        yield printable(part.rstrip("\n")) + "\n"


def _split(text: str) -> list[str]:
    """Lines, each ended; a last one that is not says so, as diff does."""
    found = text.split("\n")
    last = found.pop()
    ended = [part + "\n" for part in found]
    return [*ended, f"{last} (no newline at the end)\n"] if last else ended


def painted(key: Key, local: Version, remote: Version) -> Iterator[Line]:
    """The diff with its usual colours."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for number, text in enumerate(lines(key, local, remote)):
        yield line(text.rstrip("\n"), "bold" if number < 2 else styles.get(text[:1], ""))
