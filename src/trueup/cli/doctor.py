"""``trueup doctor``: what keeps runs from working."""

from __future__ import annotations

import click

from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, run_engine
from trueup.cli.targets import choose, no_more
from trueup.core.report import EXIT_FAILED, EXIT_OK
from trueup.render.tables import finding_lines


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[NAME | folder LOCAL REMOTE]")
@pass_session
def doctor(session: Session, *, words: tuple[str, ...]) -> int:
    """Find what keeps runs from working.

    \b
    Examples:
      trueup doctor
      trueup doctor photos
      trueup doctor folder ~/a /mnt/a

    Looks at the state, at each side, at free space and permissions, at the server if there is one, and says what to do
    about what is wrong. Writes nothing. The exit code is 1 if anything is.
    """

    async def work(runner: Runner) -> int:
        target = None
        if words:
            chosen, rest = choose(runner, words)
            no_more(rest)
            target = chosen.spec
        findings = await runner.engine.doctor(target)
        code = EXIT_OK if all(finding.ok for finding in findings) else EXIT_FAILED
        if session.text:
            session.show(finding_lines(findings))
        for finding in findings:
            runner.event("finding", finding=finding)
        finish(session, "findings", findings=findings, exit_code=code)
        return code

    return run_engine(session, work)
