"""``trueup history`` and ``undo``: what runs did, and how to take one back."""

from __future__ import annotations

import click

from trueup.cli.answers import finish
from trueup.cli.apply import words_for
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import Asked, conclude, present_plan, present_refused
from trueup.cli.targets import allow_option, choose, no_more, yes_option
from trueup.core.check import Guard
from trueup.core.errors import PlanRefused
from trueup.core.plan import Plan
from trueup.core.report import exit_code
from trueup.render.names import moment, printable
from trueup.render.reports import can_be_undone, outcome_line, steps_by_id
from trueup.render.tables import history_lines
from trueup.render.text import line


@click.group(cls=Group)
def history() -> None:
    """List and show runs.

    \b
    Examples:
      trueup history ls
      trueup history show last
    """


@history.command("ls", cls=Command)
@click.argument("words", nargs=-1, metavar="[NAME | folder LOCAL REMOTE]")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, the newest first.")
@pass_session
def ls(session: Session, *, words: tuple[str, ...], limit: int) -> int:
    """List runs, the newest first.

    \b
    Examples:
      trueup history ls
      trueup history ls photos --limit 10
      trueup history ls --json
    """

    async def work(runner: Runner) -> int:
        target = None
        if words:
            chosen, rest = choose(runner, words)
            no_more(rest)
            target = chosen.spec
        runs = await runner.engine.history(target=target, limit=limit)
        if session.text:
            session.show(history_lines(runs))
        for run in runs:
            runner.event("run", run=run)
        finish(session, "history", runs=runs, exit_code=0)
        return 0

    return run_engine(session, work)


@history.command("show", cls=Command)
@click.argument("run")
@pass_session
def show(session: Session, *, run: str) -> int:
    """Show what a run did, step by step.

    RUN is its id, a beginning of it that no other run has, or `last`.

    \b
    Examples:
      trueup history show last
      trueup history show 20261121T0345 --json
    """

    async def work(runner: Runner) -> int:
        record = await runner.engine.record(run)
        if session.text:
            summary = record.summary
            steps = steps_by_id(record.plan)
            session.show(
                [
                    ((f"run {summary.id}", "bold"), (f"  {summary.state.value}", "")),
                    line(f"  {printable(summary.target_name)}  {moment(summary.started_ns)}"),
                    line(f"  {printable(summary.command)}"),
                    *(outcome_line(outcome, steps.get(outcome.step)) for outcome in record.outcomes),
                ]
            )
            if can_be_undone(record.plan, record.outcomes):
                session.show([line(f"  undo: trueup undo {summary.id}", "dim")])
        finish(session, "run", run=record.summary, plan=record.plan, outcomes=record.outcomes, exit_code=0)
        return 0

    return run_engine(session, work)


@click.command(cls=Command)
@click.argument("run")
@click.option("--dry-run", is_flag=True, help="Show what would be taken back, and stop.")
@allow_option
@yes_option
@pass_session
def undo(session: Session, *, run: str, dry_run: bool, allow: tuple[Guard, ...], yes: bool) -> int:
    """Take a run back.

    RUN is its id, a beginning of it that no other run has, or `last`.

    \b
    Examples:
      trueup undo last --dry-run
      trueup undo last
      trueup undo 20261121T034512-1f2e3d4c --yes

    What somebody has changed since stays as it is, is reported, and makes the exit code 2. An undo is a run: it can be
    taken back too.
    """

    async def work(runner: Runner) -> int:
        record = await runner.engine.record(run)
        words = words_for(runner, record.plan)
        asked = Asked(runner, words, yes=yes)

        async def rehearse(plan: Plan) -> bool:
            present_plan(runner, plan, words)
            return False

        try:
            report = await runner.engine.undo(
                record.summary.id, confirm=rehearse if dry_run else asked.confirm, allow=allow, command=session.typed
            )
        except* PlanRefused as group:
            present_refused(runner, group, words)
            raise
        code = 0 if dry_run else exit_code(report)
        if not dry_run:
            conclude(runner, report, words, shown=asked.shown)
        entry = {"target": record.summary.target_name, "report": report, "error": None, "exit_code": code}
        finish(session, "results", dry_run=dry_run, results=[entry], exit_code=code)
        return code

    return run_engine(session, work)
