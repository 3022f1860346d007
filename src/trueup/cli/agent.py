"""``trueup agent``: sync an agent's database with a remote, look at it, keep and restore it; ``trueup sync agent``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from trueup.api import agent_files as files
from trueup.api.agents import Rounds, Select, location, needless, pulls, pushes, sync
from trueup.cli.answers import finish
from trueup.cli.choices import word_option
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import Asked, Wanted, conclude, present_refused, rehearse
from trueup.cli.targets import Chosen, allow_option, select_option, yes_option
from trueup.core.check import Guard
from trueup.core.errors import PlanRefused, UsageError
from trueup.core.report import EXIT_OK, combine
from trueup.core.strategy import Conflict, Deletes
from trueup.engine.ambient import Ambient
from trueup.render.names import count, printable, quote, size
from trueup.render.plans import Words
from trueup.render.text import line
from trueup.targets.agents import TOKEN, Agents

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=Group)
def agent() -> None:
    """Sync an agent's database with the one that a team shares, look at it, keep and restore it.

    \b
    Examples:
      trueup agent init helper
      trueup agent sync helper --remote-url file:///srv/team.db
      trueup agent stats helper --remote-url file:///srv/team.db
      trueup agent checkpoint helper --remote-url file:///srv/team.db --restore-point before

    ID_OR_PATH is a configured target, an id (./.agentfs/ID.db, else ~/.agentfs/ID.db), or a path. The remote's token is
    read from TURSO_DB_AUTH_TOKEN, never from an argument.
    """


def named(function: F) -> F:
    """Give the command its agent as ``name`` and ``remote_url``."""
    remote = click.option("--remote-url", metavar="URL", help="The remote: file://, http://, https:// or libsql://.")
    return click.argument("name", metavar="ID_OR_PATH")(remote(function))


def syncing(function: F) -> F:
    """Add what decides how a sync goes about it, as ``settings``."""
    options = [
        word_option("--conflict", Conflict, explain="Who wins when both sides changed."),
        word_option("--deletes", Deletes, explain="What a deletion on one side means for the other."),
        click.option("--partial-prefetch", is_flag=True, help="Refused: what both sides hold is compared whole."),
        click.option("--dry-run", is_flag=True, help="Show the plan and stop."),
        select_option,
        allow_option,
        yes_option,
    ]

    @functools.wraps(function)
    def gathered(
        *args: Any,
        conflict: Conflict | None,
        deletes: Deletes | None,
        partial_prefetch: bool,
        dry_run: bool,
        select: tuple[str, ...],
        allow: tuple[Guard, ...],
        yes: bool,
        **kwargs: Any,
    ) -> Any:
        if partial_prefetch:
            raise UsageError("remote does not support partial prefetch", why="what both sides hold is compared whole")
        changed = {"conflict": conflict, "deletes": deletes}
        policy = {name: value for name, value in changed.items() if value is not None}
        return function(*args, policy=policy, wanted=Wanted(yes, dry_run, allow, select), **kwargs)

    for option in reversed(options):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click keeps the shape


def run_of(verb: str, select: Select | None) -> Callable[[Callable[[], None]], click.Command]:
    """Make a command that runs an agent's sync of a function that has nothing but the words of its help.

    Args:
        verb: What the command is called.
        select: Which changes it carries out; None: all.
    """

    def decorate(told: Callable[[], None]) -> click.Command:
        @agent.command(verb, cls=Command, help=told.__doc__)
        @named
        @syncing
        @pass_session
        def run(session: Session, *, name: str, remote_url: str | None, policy: dict[str, Any], wanted: Wanted) -> int:
            return _run(session, name, remote_url, policy, wanted, select)

        return run

    return decorate


@run_of("sync", None)
def sync_() -> None:
    """Bring an agent's database and its remote into agreement.

    \b
    Examples:
      trueup agent sync helper --remote-url file:///srv/team.db
      trueup agent sync helper --remote-url http://127.0.0.1:8080/agents/team --dry-run

    What both have changed is there twice afterwards, under its name and as a sibling; what one has deleted goes to
    the trash. Nobody is asked as long as nothing is deleted.
    """


@run_of("pull", pulls)
def pull() -> None:
    """Bring what the remote has into an agent's database; what both have changed waits for push or sync.

    \b
    Examples:
      trueup agent pull helper --remote-url file:///srv/team.db
    """


@run_of("push", pushes)
def push() -> None:
    """Bring what an agent has to the remote; what both have changed is settled on both sides.

    \b
    Examples:
      trueup agent push helper --remote-url file:///srv/team.db
    """


@agent.command(cls=Command)
@named
@pass_session
def clone(session: Session, *, name: str, remote_url: str | None) -> int:
    """Make an agent's database that holds what a remote holds.

    \b
    Examples:
      trueup agent clone helper --remote-url file:///srv/team.db
    """
    path = files.database_of(name)
    if path.exists():
        raise UsageError(f"{path} is there already", attempt=f"trueup agent pull {quote(name)}")
    return _run(session, name, remote_url, {}, Wanted(yes=True), pulls)


@agent.command(cls=Command)
@named
@pass_session
def diff(session: Session, *, name: str, remote_url: str | None) -> int:
    """Show what a sync would do, and do nothing.

    \b
    Examples:
      trueup agent diff helper --remote-url file:///srv/team.db
    """
    return _run(session, name, remote_url, {}, Wanted(dry_run=True), None)


@agent.command(cls=Command)
@named
@pass_session
def stats(session: Session, *, name: str, remote_url: str | None) -> int:
    """Show how an agent stands, without asking the remote.

    \b
    Examples:
      trueup agent stats helper --remote-url file:///srv/team.db
    """

    async def work(runner: Runner) -> int:
        opened = await runner.engine.agent(_spec(runner, name, remote_url))
        found, points = await opened.stats(), await opened.points()
        if session.text:
            last = "never" if found.last_sync is None else found.last_sync.isoformat(timespec="seconds")
            session.show(
                [
                    line(f"  last sync        {last}"),
                    line(f"  pending changes  {found.pending_changes:,} in {count(found.pending_rows, 'row')}"),
                    line(f"  total synced     {found.total_synced:,}"),
                    line(f"  sent             {size(found.sent_bytes)}"),
                    line(f"  received         {size(found.received_bytes)}"),
                    line(f"  revision         {printable(found.revision) or 'not known'}"),
                    line(f"  log              {size(found.wal_bytes)}"),
                    line(f"  restore points   {', '.join(map(printable, points)) or 'none'}"),
                ]
            )
        seconds = None if found.last_sync is None else found.last_sync.timestamp()
        finish(
            session,
            "agent_stats",
            last_sync=seconds,
            pending_changes=found.pending_changes,
            pending_rows=found.pending_rows,
            total_synced=found.total_synced,
            sent_bytes=found.sent_bytes,
            received_bytes=found.received_bytes,
            revision=found.revision,
            wal_bytes=found.wal_bytes,
            restore_points=points,
            exit_code=EXIT_OK,
        )
        return EXIT_OK

    return run_engine(session, work)


@agent.command(cls=Command)
@named
@click.option("--restore-point", metavar="NAME", help="Keep a copy of the database under this name.")
@pass_session
def checkpoint(session: Session, *, name: str, remote_url: str | None, restore_point: str | None) -> int:
    """Fold the write-ahead log into an agent's database, and keep a copy of it if wanted.

    \b
    Examples:
      trueup agent checkpoint helper --remote-url file:///srv/team.db
      trueup agent checkpoint helper --remote-url file:///srv/team.db --restore-point before-the-experiment
    """

    async def work(runner: Runner) -> int:
        opened = await runner.engine.agent(_spec(runner, name, remote_url))
        folded = await opened.checkpoint(restore_point)
        kept = f"; kept as {restore_point}" if restore_point else ""
        return _said(session, "agent_checkpoint", f"folded {size(folded)}{kept}", folded_bytes=folded)

    return run_engine(session, work)


@agent.command(cls=Command)
@named
@click.argument("restore_point")
@pass_session
def restore(session: Session, *, name: str, remote_url: str | None, restore_point: str) -> int:
    """Put a restore point in the place of an agent's database, which is kept as a restore point too.

    \b
    Examples:
      trueup agent restore helper before-the-experiment --remote-url file:///srv/team.db
    """

    async def work(runner: Runner) -> int:
        opened = await runner.engine.agent(_spec(runner, name, remote_url))
        kept = await opened.restore(restore_point)
        text = f"restored {restore_point}; what was there is the restore point {kept}"
        return _said(session, "agent_restore", text, kept=kept)

    return run_engine(session, work)


@agent.command("init", cls=Command)
@click.argument("name", metavar="ID_OR_PATH")
@click.option("--force", is_flag=True, help="Replace a database that is there; it is kept beside the new one.")
@pass_session
def init(session: Session, *, name: str, force: bool) -> int:
    """Make an empty database for an agent.

    \b
    Examples:
      trueup agent init helper
    """
    path, now_s = files.database_of(name), Ambient().clock.now_ns() // 10**9
    kept = None
    if force and path.exists():
        kept = files.replace_by_empty(path, unique=Ambient().unique(), now_s=now_s)
    else:
        files.create(path, now_s=now_s)
    text = f"made {path}" + (f"; the old one is in {kept}" if kept else "")
    return _said(session, "agent_init", text, path=str(path))


@agent.command(cls=Command)
@click.argument("name", metavar="ID_OR_PATH")
@pass_session
def adopt(session: Session, *, name: str) -> int:
    """Make a plain database of a replica that the sync engine has made; the replica is kept beside it.

    \b
    Examples:
      trueup agent adopt .agentfs/helper.db
    """
    path = files.database_of(name)
    kept = files.adopt(path, unique=Ambient().unique())
    return _said(session, "agent_adopt", f"{path} is a plain database; the replica is in {kept}", path=str(path))


@agent.command(cls=Command)
@click.argument("remote", metavar="REMOTE_FILE")
@click.argument("to", metavar="FILE", type=click.Path(path_type=Path))
@pass_session
def backup(session: Session, *, remote: str, to: Path) -> int:
    """Copy the file of a remote as it is at one moment, whether it is served or not.

    \b
    Examples:
      trueup agent backup /srv/team.db team-backup.db
    """
    from trueup.replication.backup import backup as copy

    copy(Path(location(remote).removeprefix("file://")), to.absolute())
    return _said(session, "agent_backup", f"copied to {to}", path=str(to))


@click.command("agent", cls=Command)
@click.argument("name", metavar="[ID_OR_PATH]", required=False)
@click.option("--remote-url", metavar="URL", help="The remote of an agent that no file configures.")
@syncing
@pass_session
def sync_agent(
    session: Session, *, name: str | None, remote_url: str | None, policy: dict[str, Any], wanted: Wanted
) -> int:
    """Bring an agent's database and its remote into agreement: `trueup agent sync`, under the other name.

    \b
    Examples:
      trueup sync agent helper
      trueup sync agent helper --dry-run

    Without a name the only agent that is configured is meant. Nobody is asked as long as nothing is deleted.
    """
    return _run(session, name, remote_url, policy, wanted, None)


def _run(
    session: Session,
    name: str | None,
    remote_url: str | None,
    policy: dict[str, Any],
    wanted: Wanted,
    select: Select | None,
) -> int:
    async def work(runner: Runner) -> int:
        spec = _only(runner) if name is None else _spec(runner, name, remote_url)
        spec = replace(spec, policy=replace(spec.policy, **policy))
        chosen = Chosen(spec, Words(_typed(name or spec.name, remote_url)))
        every = _both(select, wanted.selector)
        if wanted.dry_run:
            chosen = replace(chosen, words=replace(chosen.words, next=f"next: trueup agent sync {chosen.words.target}"))
            code, report = await rehearse(runner, chosen, wanted)
            finish(session, "agent_sync", dry_run=True, rounds=[report], exit_code=code)
            return code
        asked = Asked(runner, chosen.words, yes=wanted.yes, needless=needless)
        try:
            rounds = await sync(
                runner.engine, spec, select=every, confirm=asked.confirm, allow=wanted.allow, command=session.typed
            )
        except* PlanRefused as group:
            present_refused(runner, group, chosen.words)
            raise
        code = _shown(runner, rounds, chosen.words, asked)
        finish(session, "agent_sync", dry_run=False, rounds=rounds.reports, exit_code=code)
        return code

    return run_engine(session, work)


def _shown(runner: Runner, rounds: Rounds, words: Words, asked: Asked) -> int:
    """Show what became of each round; what the last one leaves open decides the exit code."""
    codes = [conclude(runner, report, words, shown=asked.shown) for report in rounds.reports]
    return combine([codes[-1]])


def _both(one: Select | None, other: Select | None) -> Select | None:
    if one is None or other is None:
        return one or other
    return lambda item: one(item) and other(item)


def _spec(runner: Runner, name: str, remote_url: str | None) -> Agents:
    """The agent that is meant."""
    configured = runner.engine.targets.get(name)
    if isinstance(configured, Agents):
        return configured if remote_url is None else replace(configured, remote=location(remote_url))
    path = files.database_of(name)
    known = [one for one in runner.engine.targets.values() if isinstance(one, Agents) and one.database == str(path)]
    if remote_url is None and len(known) == 1:
        return known[0]
    if remote_url is None:
        raise UsageError(
            f"which remote has {name}?", why="no target of the configuration is called so", attempt="--remote-url URL"
        )
    return Agents(name, str(path), location(remote_url), token=lambda: os.environ.get(TOKEN))


def _only(runner: Runner) -> Agents:
    found = [one for one in runner.engine.targets.values() if isinstance(one, Agents)]
    if len(found) == 1:
        return found[0]
    why = f"there are {', '.join(one.name for one in found)}" if found else "none is configured, here or above"
    raise UsageError(
        "which agent?", why=why, attempt="trueup sync agent NAME, or trueup agent sync ID --remote-url URL"
    )


def _typed(name: str, remote_url: str | None) -> str:
    return quote(name) if remote_url is None else f"{quote(name)} --remote-url {quote(remote_url)}"


def _said(session: Session, document: str, text: str, **fields: Any) -> int:
    if session.text:
        session.show([line(text)])
    finish(session, document, exit_code=EXIT_OK, **fields)
    return EXIT_OK
