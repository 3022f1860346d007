"""``trueup sync``: show the plan, ask, apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, changes_question, run_engine
from trueup.cli.targets import (
    AD_HOC,
    Chosen,
    Overrides,
    allow_option,
    choose_all,
    policy_options,
    select_option,
    targets_argument,
    yes_option,
)
from trueup.core.check import Guard, Refusal
from trueup.core.errors import PlanRefused, UsageError
from trueup.core.plan import Item, Plan
from trueup.core.report import EXIT_REFUSED, Ending, Report, combine, exit_code, plan_exit_code
from trueup.render.plans import Words, plan_lines
from trueup.render.reports import report_lines
from trueup.render.text import line

if TYPE_CHECKING:
    from trueup.cli.distant import Distant


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a person wants changes applied."""

    yes: bool = False
    dry_run: bool = False
    allow: tuple[Guard, ...] = ()
    select: tuple[str, ...] = ()
    """gitignore patterns; empty: everything."""
    needless: Callable[[Plan], bool] = lambda _: False
    """Plans that nobody has to be asked about."""

    @property
    def selector(self) -> Callable[[Item], bool] | None:
        """Which changes are wanted; None: all."""
        return selector(self.select) if self.select else None


def selector(patterns: Sequence[str]) -> Callable[[Item], bool]:
    """Changes whose key matches one of the patterns, which read as in a .gitignore."""
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(patterns)
    return lambda item: spec.match_file(item.key)


@click.command(cls=Command)
@targets_argument
@policy_options
@allow_option
@select_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="INTEGER",
    help="Send the run to `trueup serve` on this port, with its own settings.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and stop; with --quiet the exit code 3 tells of drift.")
@yes_option
@pass_session
def sync(
    session: Session,
    *,
    names: tuple[str, ...],
    overrides: Overrides,
    allow: tuple[Guard, ...],
    select: tuple[str, ...],
    port: int | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Bring both sides into agreement.

    \b
    Examples:
      trueup sync                                   every target, each with its plan and question
      trueup sync photos --dry-run                  what would be done, nothing written
      trueup sync folder ~/photos /mnt/photos       two folders that no file configures
      trueup sync photos --select '*.jpg' --yes     only these, without a question
      trueup sync folder ./site /srv/site --direction push --deletes propagate
      trueup sync photos --port 8000                asked here, carried out by `trueup serve`

    The plan is shown first, each change with its reason, and you are asked. Versions that are replaced or deleted go
    to the trash, conflicts wait for `trueup conflicts`, and `trueup undo last` takes a run back.
    """
    wanted = Wanted(yes, dry_run, allow, select)
    at_server = None if port is None else _server(session, port, names, overrides)

    async def work(runner: Runner) -> int:
        chosen = choose_all(runner, names, overrides)
        if port is not None:
            chosen = [replace(one, words=replace(one.words, flags=f" --port {port}")) for one in chosen]
        entries: list[dict[str, Any]] = []

        async def one(index: int) -> int:
            target = chosen[index]
            entries.append({"target": target.spec.name, "report": None})
            distant = None if at_server is None else at_server(target)
            code, report = await (rehearse if wanted.dry_run else carry_out)(runner, target, wanted, distant)
            entries[-1]["report"] = report
            return code

        results = await runner.each([target.spec.name for target in chosen], one)
        code = combine([code for code, _ in results])
        for entry, (own, failure) in zip(entries, results, strict=True):
            entry |= {"error": failure, "exit_code": own}
        finish(session, "results", dry_run=dry_run, results=entries, exit_code=code)
        return code

    return run_engine(session, work)


def _server(session: Session, port: int, names: Sequence[str], overrides: Overrides) -> Callable[[Chosen], Distant]:
    """What carries a target out, at the server on a port.

    Raises:
        UsageError: If the server would not hear of what was said.
    """
    from trueup.cli.distant import Distant

    if overrides != Overrides():
        raise UsageError(
            "--port takes no other settings", why="the server has its own", attempt="without --port, or without these"
        )
    if names[:1] == (AD_HOC,):
        raise UsageError("--port takes targets by their names", why="the server knows those that are configured")
    state_dir = session.load_config().state_dir
    return lambda target: Distant(port, state_dir, target.spec.name)


async def rehearse(
    runner: Runner, target: Chosen, wanted: Wanted, distant: Distant | None = None
) -> tuple[int, Report]:
    """Show what would be done, and what would refuse it; a server looks, if one is named."""
    looks = (
        runner.engine.plan(target.spec, select=wanted.selector) if distant is None else distant.plan(wanted.selector)
    )
    plan = await looks
    refusals = runner.engine.refusals(plan, target.spec, allow=wanted.allow)
    present_plan(runner, plan, target.words, refusals)
    codes = [plan_exit_code(plan, drift=runner.session.quiet), EXIT_REFUSED if refusals else 0]
    return combine(codes), Report(plan, Ending.DECLINED)


async def carry_out(
    runner: Runner, target: Chosen, wanted: Wanted, distant: Distant | None = None
) -> tuple[int, Report]:
    """Run one target: the plan is shown, the question asked, the report shown; a server does it, if one is named."""
    asked = Asked(runner, target.words, yes=wanted.yes, needless=wanted.needless)
    try:
        if distant is not None:
            report = await distant.run(confirm=asked.confirm, allow=wanted.allow, select=wanted.selector)
        else:
            report = await runner.engine.run(
                target.spec,
                confirm=asked.confirm,
                allow=wanted.allow,
                select=wanted.selector,
                command=runner.session.typed,
            )
    except* PlanRefused as group:
        present_refused(runner, group, target.words)
        raise
    if wanted.select and not report.plan.changes:
        runner.session.tell([line("no change matches --select", "yellow")])
    return conclude(runner, report, target.words, shown=asked.shown), report


@dataclass(slots=True)
class Asked:
    """Shows a plan and asks whether to apply it."""

    runner: Runner
    words: Words
    yes: bool
    shown: bool = False
    needless: Callable[[Plan], bool] = lambda _: False
    """Plans that nobody has to be asked about."""

    async def confirm(self, plan: Plan) -> bool:
        """As `trueup.api.Confirm`.

        Raises:
            UsageError: If the question is due and nobody can be asked. Nothing has been done.
        """
        if not plan.changes:
            return True  # to remember that the sides agree nobody has to be asked
        present_plan(self.runner, plan, replace(self.words, next=None))
        self.shown = True
        if not self.yes and not self.needless(plan):
            question = changes_question(plan)
            self.runner.require_terminal(question)
            session = self.runner.session
            if session.quiet or not session.text:
                session.tell(plan_lines(plan, replace(self.words, next=None), verbose=session.verbose))
            if not await self.runner.ask(question):
                return False
        self.runner.stop.writing = True
        return True


def present_plan(runner: Runner, plan: Plan, words: Words, refusals: Sequence[Refusal] = ()) -> None:
    """Show a plan in the form that is wanted; with ``--json`` it is part of the document at the end."""
    runner.display.close()
    session = runner.session
    runner.event("plan", plan=plan)
    if session.text:
        session.show(plan_lines(plan, words, verbose=session.verbose, refusals=refusals))


def present_refused(runner: Runner, group: BaseExceptionGroup[PlanRefused], words: Words) -> None:
    """Show the plan that a guard refused: only with it can anybody tell whether the guard is right."""
    for error in group.exceptions:
        if isinstance(error, PlanRefused) and isinstance(error.plan, Plan):
            refusals = [refusal for refusal in error.refusals if isinstance(refusal, Refusal)]
            present_plan(runner, error.plan, words, refusals)


def conclude(runner: Runner, report: Report, words: Words, *, shown: bool) -> int:
    """Show what became of a run, and what it leaves open.

    Args:
        runner: The open engine.
        report: What became of the run.
        words: How commands for the target are typed.
        shown: Whether its plan was shown before.

    Returns:
        The exit code.
    """
    runner.display.close()
    runner.stop.writing = False
    session = runner.session
    runner.event("report", report=report)
    if session.text:
        plan = report.plan
        if not shown and (plan.conflicts or plan.unknown or plan.damaged or not plan.complete):
            session.show(plan_lines(plan, replace(words, next=None), verbose=session.verbose))
        session.show(report_lines(report, words, verbose=session.verbose))
    return exit_code(report)
