"""``trueup trash``: versions that runs have replaced or deleted."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from trueup.api import Pruned, TrashItem
from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.running import Runner, run_engine
from trueup.cli.targets import Chosen, choose, no_more, target_argument, yes_option
from trueup.core.errors import NotFound, UsageError
from trueup.core.report import EXIT_DRIFT, EXIT_OK, EXIT_PARTIAL
from trueup.render.names import count, printable, size
from trueup.render.tables import trash_lines
from trueup.render.text import line

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

side_option = click.option(
    "--side", metavar="SIDE", help="Whose trash, if several have such a version: local, remote, record, ..."
)


@click.group(cls=Group)
def trash() -> None:
    """List, restore and prune replaced and deleted versions.

    \b
    Examples:
      trueup trash ls photos
      trueup trash restore photos HANDLE
      trueup trash prune photos --older-than 30d

    The trash is the folder .trueup/ of each side. To take back a whole run, use `trueup undo`.
    """


def age(value: object) -> float:
    """``90``, ``12h``, ``30d``, ``2w`` as seconds, as an option's type."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", str(value))
    if match is None:
        raise click.BadParameter(f"{str(value)!r} is no age such as 12h, 30d, 2w")
    return float(match[1]) * _SECONDS[match[2] or "s"]


@trash.command("ls", cls=Command)
@target_argument
@pass_session
def ls(session: Session, *, words: tuple[str, ...]) -> int:
    """List what the trash of both sides holds.

    \b
    Examples:
      trueup trash ls photos
      trueup trash ls folder ~/a /mnt/a --json
    """

    async def work(runner: Runner) -> int:
        target, rest = choose(runner, words)
        no_more(rest)
        items = await runner.engine.trash(target.spec)
        if session.text:
            session.show(trash_lines((found.side, found.item) for found in items))
        for found in items:
            runner.event("kept", side=found.side, item=found.item)
        finish(session, "trash", target=target.spec.name, items=items, exit_code=EXIT_OK)
        return EXIT_OK

    return run_engine(session, work)


@trash.command("restore", cls=Command)
@click.argument("words", nargs=-1, required=True, metavar="[NAME | folder LOCAL REMOTE] HANDLE")
@side_option
@click.option("--to", type=click.Path(path_type=Path), metavar="PATH", help="Write it there, in place of its old name.")
@pass_session
def restore(session: Session, *, words: tuple[str, ...], side: str | None, to: Path | None) -> int:
    """Bring one version back under its old name.

    HANDLE is what `trueup trash ls` shows.

    \b
    Examples:
      trueup trash restore photos HANDLE
      trueup trash restore photos HANDLE --to /tmp/old.jpg

    Nothing is overwritten, and the version stays in the trash as well.
    """
    if to is not None and os.path.lexists(to):
        raise UsageError(f"{to} is there already", why="nothing is overwritten")

    async def work(runner: Runner) -> int:
        target, rest = choose(runner, words[:-1])
        no_more(rest)
        found = await _find(runner, target, words[-1], side)
        try:
            await runner.engine.restore(target.spec, found.item.handle, side=found.side, to=to)
        except OSError as error:
            raise UsageError(f"{to} cannot be written", why=error.strerror or str(error)) from error
        place = str(to) if to is not None else f"{found.item.key} on {found.side}"
        session.show([line(f"restored {printable(place)}  {size(found.item.size)}", "green")])
        finish(session, "restored", side=found.side, item=found.item, to=place, exit_code=EXIT_OK)
        return EXIT_OK

    return run_engine(session, work)


async def _find(runner: Runner, target: Chosen, handle: str, side: str | None) -> TrashItem:
    """The version of that handle; a side has to be named only where both have one."""
    items = await runner.engine.trash(target.spec)
    found = [item for item in items if item.item.handle == handle and side in (None, item.side)]
    if not found:
        raise NotFound(f"the trash holds no {handle}", attempt=f"trueup trash ls {target.words.target}")
    if len(found) > 1:
        raise UsageError(f"both sides have kept {handle}", attempt="the same command with --side local|remote")
    return found[0]


@trash.command("prune", cls=Command)
@target_argument
@click.option("--older-than", type=age, metavar="AGE", help="Only what has been there longer, such as 12h, 30d, 2w.")
@click.option("--run", metavar="RUN", help="Only what this run put there.")
@click.option("--last-copies", is_flag=True, help="Also what is the last copy: no side holds that name any more.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and stop.")
@yes_option
@pass_session
def prune(
    session: Session,
    *,
    words: tuple[str, ...],
    older_than: float | None,
    run: str | None,
    last_copies: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Destroy kept versions for good, except the last copy of anything.

    \b
    Examples:
      trueup trash prune photos --older-than 30d --dry-run
      trueup trash prune photos --older-than 30d
      trueup trash prune photos --run 20261121T034512-1f2e3d4c --yes
      trueup trash prune photos --older-than 1w --last-copies

    What is pruned cannot come back: neither `trueup undo` nor `trueup trash restore` has it then. The exit code is 2
    if something stays because it is the only copy: --yes alone never destroys that, --last-copies does.
    """

    async def work(runner: Runner) -> int:
        target, rest = choose(runner, words)
        no_more(rest)
        name = (await runner.engine.record(run)).summary.id if run is not None else None

        async def attempt(*, rehearse: bool, last: bool) -> Pruned:
            return await runner.engine.prune(
                target.spec, older_than_seconds=older_than, run_name=name, last_copies=last, dry_run=rehearse
            )

        pruned = await attempt(rehearse=True, last=last_copies)
        last = len((await attempt(rehearse=True, last=False)).refused) if last_copies else 0
        if pruned.removed and not dry_run:
            if not await _agreed(runner, pruned, last, yes=yes):
                return EXIT_DRIFT
            pruned = await attempt(rehearse=False, last=last_copies)
        code = EXIT_PARTIAL if pruned.refused else EXIT_OK
        _say(session, pruned, last, dry_run=dry_run)
        finish(
            session,
            "pruned",
            removed=pruned.removed,
            bytes=pruned.bytes,
            refused=pruned.refused,
            last_copies=last,
            dry_run=dry_run,
            exit_code=code,
        )
        return code

    return run_engine(session, work)


def _amount(pruned: Pruned, last: int) -> str:
    copies = f", {last:,} of them the last copy of anything under that name" if last else ""
    return f"{count(pruned.removed, 'version')}, {size(pruned.bytes)}{copies}"


async def _agreed(runner: Runner, pruned: Pruned, last: int, *, yes: bool) -> bool:
    """Whether it may be done. Last copies are here only because --last-copies has named them."""
    if yes:
        return True
    question = f"Destroy {_amount(pruned, last)}, for good?"
    runner.require_terminal(question)
    return await runner.ask(question)


def _say(session: Session, pruned: Pruned, last: int, *, dry_run: bool) -> None:
    if not session.text:
        return
    verb = "would destroy" if dry_run else "destroyed"
    session.show([line(f"{verb} {_amount(pruned, last)}")])
    session.show(line(f"  stays: {printable(handle)}: {printable(why)}", "yellow") for handle, why in pruned.refused)
