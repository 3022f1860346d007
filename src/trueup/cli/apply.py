"""``trueup apply``: carry out a plan that was saved before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.plan import read_plan
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import Asked, Wanted, conclude, present_refused
from trueup.cli.targets import AD_HOC, DATASET, allow_option, select_option, yes_option
from trueup.core.check import Guard
from trueup.core.errors import PlanRefused
from trueup.core.model import LOCAL, REMOTE
from trueup.core.plan import Plan
from trueup.core.report import Ending, Report, exit_code
from trueup.render.names import quote
from trueup.render.plans import Words
from trueup.targets import folders


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@select_option
@click.option("--skip-stale", is_flag=True, help="Apply what still matches; the rest is reported as changed.")
@allow_option
@yes_option
@pass_session
def apply(
    session: Session,
    *,
    file: Path,
    select: tuple[str, ...],
    skip_stale: bool,
    allow: tuple[Guard, ...],
    yes: bool,
) -> int:
    """Carry out a plan that was saved before.

    \b
    Examples:
      trueup plan photos -o photos.plan && trueup apply photos.plan
      trueup apply photos.plan --select 'summer/' --yes
      trueup apply photos.plan --skip-stale

    FILE is what `trueup plan -o` has written; `-` reads it from stdin. Exactly its changes are made, each only if both
    sides are still as the plan saw them. If any is not, nothing is done, unless --skip-stale is given.
    """
    wanted = Wanted(yes, allow=allow, select=select)

    async def work(runner: Runner) -> int:
        plan = read_plan(file)
        words = words_for(runner, plan)
        asked = Asked(runner, words, yes=yes)
        select_item = wanted.selector
        shown = plan
        if select_item is not None:
            shown = replace(plan, items=tuple(item for item in plan.items if not item.is_change or select_item(item)))
        if await asked.confirm(shown):
            try:
                report = await runner.engine.apply(
                    plan, select=select_item, allow=allow, skip_stale=skip_stale, command=session.typed
                )
            except* PlanRefused as group:
                present_refused(runner, group, words)
                raise
        else:
            report = Report(shown, Ending.DECLINED)
        conclude(runner, report, words, shown=True)
        code = exit_code(report)
        entry = {"target": plan.target.name, "report": report, "error": None, "exit_code": code}
        finish(session, "results", dry_run=False, results=[entry], exit_code=code)
        return code

    return run_engine(session, work)


def words_for(runner: Runner, plan: Plan) -> Words:
    """How the target of a plan is typed."""
    if plan.target.name in runner.engine.targets:
        return Words(quote(plan.target.name))
    if plan.target.kind == DATASET:
        return Words(quote(plan.target.name))
    if plan.target.kind != folders.KIND:
        return Words(plan.target.kind)
    return Words(f"{AD_HOC} {quote(plan.target.locations[LOCAL])} {quote(plan.target.locations[REMOTE])}")
