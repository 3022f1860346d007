"""``trueup schedule``: what the server begins by itself, and the same for other programs' timetables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from trueup.cli.answers import finish, respond
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.kept import opened, refuse_odd
from trueup.config import Config
from trueup.core.errors import UsageError
from trueup.core.report import EXIT_OK
from trueup.engine.ambient import Ambient
from trueup.engine.schedules import Schedule, Schedules
from trueup.engine.timers import calendar
from trueup.render.names import moment, printable
from trueup.render.text import Line, line
from trueup.targets.folders import Folders

NEXT = 3


@click.group(cls=Group)
def schedule() -> None:
    """Look at targets, or sync them, at set times, while `trueup serve` runs.

    \b
    Examples:
      trueup schedule add nightly photos '0 3 * * *' --zone Europe/Berlin --apply
      trueup schedule ls
      trueup schedule rm nightly

    A run that a schedule begins never takes payload away: what deletes waits for an approval. What was missed while no
    server ran is done once. A target whose last run is still under way is left out that time.
    """


@schedule.command("add", cls=Command)
@click.argument("name")
@click.argument("target")
@click.argument("cron")
@click.option("--zone", default="UTC", show_default=True, metavar="ZONE", help="Whose clock counts: Europe/Berlin.")
@click.option(
    "--jitter", type=click.IntRange(0, 86400), default=0, metavar="SECONDS", help="Begin up to so much later."
)
@click.option("--apply", "applies", is_flag=True, help="Apply what nobody has to approve; else only plan.")
@pass_session
def add(session: Session, *, name: str, target: str, cron: str, zone: str, jitter: int, applies: bool) -> int:
    """Add a schedule. CRON is a line of five fields: minute, hour, day, month, day of the week.

    \b
    Examples:
      trueup schedule add nightly photos '0 3 * * *' --zone Europe/Berlin --apply
      trueup schedule add often photos '*/15 * * * *' --jitter 60
    """
    refuse_odd(name)
    with opened(session) as (config, state):
        if target not in config.targets and not target.startswith("actor:") and target not in _WORDS:
            config.target(target)
        made = Schedule(name, target, cron, zone, jitter, applies, created_ns=Ambient().clock.now_ns())
        Schedules(state).add(made)
    said = f"added {printable(name)}: next {moment(made.next_ns())}"
    respond(session, "schedule", [line(said)], schedule=made, exit_code=EXIT_OK)
    return EXIT_OK


_WORDS = ("policies", "envs", "models")
"""Targets that need no configuration."""


@schedule.command("ls", cls=Command)
@pass_session
def ls(session: Session) -> int:
    """List schedules, with the next times.

    \b
    Examples:
      trueup schedule ls
      trueup schedule ls --json
    """
    with opened(session) as (_, state):
        found = Schedules(state).listed()
    now_ns = Ambient().clock.now_ns()
    lines = [text for one in found for text in _about(one, now_ns)]
    none = line("no schedules yet. Make one: trueup schedule add NAME TARGET CRON")
    respond(session, "schedules", lines or [none], schedules=found, exit_code=EXIT_OK)
    return EXIT_OK


def _about(one: Schedule, now_ns: int) -> Iterator[Line]:
    times = ", ".join(moment(ns) for ns in islice(one.times(now_ns), NEXT))
    what = "applies" if one.apply else "plans"
    yield line(f"{printable(one.name)}  {what} {printable(one.target)}  {one.cron} {one.zone}  next {times}")
    if one.skipped:
        yield line(f"  left out the last time: {printable(one.skipped)}", "yellow")


@schedule.command("rm", cls=Command)
@click.argument("name")
@pass_session
def rm(session: Session, *, name: str) -> int:
    """Remove a schedule. Runs that it began go on.

    \b
    Examples:
      trueup schedule rm nightly
    """
    with opened(session) as (_, state):
        removed = Schedules(state).remove(name)
    if not removed:
        raise _unknown(name)
    respond(session, "removed", [line(f"removed {printable(name)}")], removed=name, exit_code=EXIT_OK)
    return EXIT_OK


@schedule.command("export", cls=Command)
@click.argument("name")
@click.option("--systemd", "form", flag_value="systemd", help="A service and a timer of systemd.")
@click.option("--cron", "form", flag_value="cron", help="A line of a crontab.")
@pass_session
def export(session: Session, *, name: str, form: str | None) -> int:
    """Print a schedule for another program's timetable, which needs no server.

    \b
    Examples:
      trueup schedule export nightly --cron
      trueup schedule export nightly --systemd

    What is applied there deletes nothing either: a run that would is refused.
    """
    if form is None:
        raise UsageError("for whom?", attempt=f"trueup schedule export {shlex.quote(name)} --systemd, or --cron")
    with opened(session) as (config, state):
        found = next((one for one in Schedules(state).listed() if one.name == name), None)
    if found is None:
        raise _unknown(name)
    command = _command(config, found)
    folder = Path.cwd() if config.path is None else config.path.parent
    text = _crontab(found, folder, command) if form == "cron" else _units(found, folder, command)
    if session.text:
        session.answer(text)
    finish(session, "export", form=form, text=text, exit_code=EXIT_OK)
    return EXIT_OK


def _unknown(name: str) -> UsageError:
    return UsageError(f"there is no schedule {name}", attempt="trueup schedule ls")


def _command(config: Config, found: Schedule) -> list[str]:
    if not found.apply:
        return ["trueup", "plan", found.target]
    if not isinstance(config.targets.get(found.target), Folders):
        raise UsageError(
            f"{found.target} is no pair of folders",
            why="without the server nothing would keep a deletion waiting",
            attempt="trueup serve, which runs the schedule itself",
        )
    return ["trueup", "sync", found.target, "--yes", "--max-delete", "0"]


def _crontab(found: Schedule, folder: Path, command: list[str]) -> str:
    typed = f"cd {shlex.quote(str(folder))} && {shlex.join(command)}".replace("%", "\\%")
    return f"CRON_TZ={found.zone}\n{found.cron} {typed}\n"


def _units(found: Schedule, folder: Path, command: list[str]) -> str:
    quoted = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"' for word in command)
    delay = f"RandomizedDelaySec={found.jitter_seconds}\n" if found.jitter_seconds else ""
    return (
        f"# ~/.config/systemd/user/trueup-{found.name}.service\n"
        f"[Unit]\nDescription=trueup schedule {found.name}\n\n"
        f"[Service]\nType=oneshot\nWorkingDirectory={str(folder).replace('%', '%%')}\n"
        f"ExecStart=/usr/bin/env {quoted}\n\n"
        f"# ~/.config/systemd/user/trueup-{found.name}.timer\n"
        f"[Unit]\nDescription=trueup schedule {found.name}\n\n"
        f"[Timer]\nOnCalendar={calendar(found.cron, found.zone)}\nPersistent=true\n{delay}\n"
        f"[Install]\nWantedBy=timers.target\n"
    )
