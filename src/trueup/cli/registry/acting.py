"""Carry out what a command asks for by name, and say what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from trueup.cli.registry.entries import specs
from trueup.cli.registry.options import Options
from trueup.cli.running import Runner
from trueup.core.audit import Judged
from trueup.core.model import Key
from trueup.core.report import EXIT_DRIFT, Ending, Report, Status, exit_code
from trueup.core.table import Rule
from trueup.render.names import printable
from trueup.render.text import line


def choosing(keys: set[Key], rule: Rule) -> Callable[[Sequence[Judged]], list[Judged]]:
    """Asks for these items, by this rule."""
    return lambda judged: [replace(one, rule=rule) for one in judged if one.key in keys]


async def carried_out(
    runner: Runner, options: Options, kind: str, ask: Callable[[Sequence[Judged]], Sequence[Judged]], **more: Any
) -> Report:
    """Run what is asked for, on the target of that kind."""
    spec = specs(runner, options)[kind]
    return await runner.engine.act(spec, ask, command=runner.session.typed, **more)


def conclude(runner: Runner, report: Report, done: str) -> int:
    """Say what became of each entry; the exit code."""
    session = runner.session
    runner.display.close()
    runner.event("report", report=report)
    if report.ending is Ending.DECLINED:
        return EXIT_DRIFT
    for item in report.plan.changes:
        outcomes = [outcome for outcome in report.outcomes if outcome.step in {step.id for step in item.steps}]
        failed = [outcome for outcome in outcomes if outcome.status is not Status.DONE]
        if failed:
            session.tell([line(f"✗ {printable(item.key)}: {printable(failed[0].why)}", "red")])
        elif session.text:
            session.show([line(f"✓ {done} {printable(item.key)}", "green")])
    if session.text and report.run is not None and report.counts[Status.DONE] and not report.plan.destroys:
        session.show([line(f"  undo: trueup undo {report.run}", "dim")])
    return exit_code(report)
