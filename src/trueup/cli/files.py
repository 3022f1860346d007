"""``trueup sync templates|settings|static``: what a web team deploys, between folders and buckets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from trueup.api.files import Wish, find
from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import Wanted, carry_out, rehearse
from trueup.cli.targets import Chosen, Overrides, allow_option, policy_options, select_option, yes_option
from trueup.core.errors import UsageError
from trueup.core.plan import Plan
from trueup.core.report import combine
from trueup.core.table import Verb
from trueup.render.names import quote
from trueup.render.plans import Words
from trueup.targets import Reload, Settings, Templates, settings, static, templates
from trueup.targets.folders import Folders
from trueup.targets.settings import patterns_of

F = TypeVar("F", bound=Callable[..., Any])
Known = Callable[[Folders], Folders]

no_check_option = click.option("--no-check", is_flag=True, help="Publish files that are not valid, too.")


def harmless(plan: Plan) -> bool:
    """Whether nothing is deleted and no version is destroyed: nobody is asked about that."""
    return not plan.destroys and not any(step.verb is Verb.DELETE for item in plan.changes for step in item.steps)


def _places(function: F) -> F:
    """Add what all three take; the command gets a ``wish`` without its kind, ``overrides`` and ``wanted``."""

    @functools.wraps(function)
    def gathered(*args: Any, **kwargs: Any) -> Any:
        flags = {name: kwargs.pop(name) for name in ("yes", "dry_run", "allow", "select")}
        wish = Wish("", kwargs.pop("path"), kwargs.pop("bucket"), (), kwargs.pop("target") or "")
        return function(*args, wish=wish, wanted=Wanted(**flags, needless=harmless), **kwargs)

    options = (
        click.argument("target", required=False),
        click.option(
            "--path", metavar="DIR", multiple=True, help="A folder on this machine, in place of those configured."
        ),
        click.option("--bucket", metavar="NAME|URL", default="", help="A name of [buckets], or a URL."),
        policy_options,
        allow_option,
        select_option,
        click.option(
            "--dry-run", is_flag=True, help="Show the plan and stop; with --quiet the exit code 3 tells of drift."
        ),
        yes_option,
    )
    for option in reversed(options):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click keeps the shape


def _command(session: Session, wish: Wish, overrides: Overrides, wanted: Wanted, known: Known) -> int:
    if overrides.name is not None:
        raise UsageError("--name is for an ad hoc folder", attempt=f"trueup sync {wish.kind} NAME")

    async def work(runner: Runner) -> int:
        spec = known(find(session.load_config(), wish))
        chosen = overrides.applied(spec)
        words = Words(_typed(runner, wish, spec), overrides.flags())
        entry: dict[str, Any] = {"target": spec.name, "report": None}

        async def one(_: int) -> int:
            act = rehearse if wanted.dry_run else carry_out
            code, entry["report"] = await act(runner, Chosen(chosen, words), wanted)
            return code

        results = await runner.each([spec.name], one)
        code = combine([code for code, _ in results])
        for own, failure in results:
            entry |= {"error": failure, "exit_code": own}
        finish(session, "results", dry_run=wanted.dry_run, results=[entry], exit_code=code)
        return code

    return run_engine(session, work)


def _typed(runner: Runner, wish: Wish, spec: Folders) -> str:
    """How the target is typed in other commands."""
    if spec.name in runner.engine.targets and not (wish.paths or wish.bucket):
        return quote(spec.name)
    places = [f"--path {quote(path)}" for path in wish.paths]
    return " ".join([wish.kind, *places, *([f"--bucket {quote(wish.bucket)}"] if wish.bucket else [])])


@click.command("templates", cls=Command)
@_places
@no_check_option
@click.option("--warm/--no-warm", default=None, help="Compile what changed again, through the cache's environment.")
@pass_session
def sync_templates(
    session: Session, *, wish: Wish, overrides: Overrides, wanted: Wanted, no_check: bool, warm: bool | None
) -> int:
    """Bring templates and their bucket into agreement.

    \b
    Examples:
      trueup sync templates --dry-run              what would be done, with what would be cleared
      trueup sync templates                        the configured target of this kind
      trueup sync templates --path templates --bucket s3://site/templates
      trueup sync templates --direction pull --conflict remote_wins

    A template that Jinja2 cannot parse is held, on either side; --no-check publishes it. Nobody is asked as long as
    nothing is deleted and no version is destroyed. When all is written, bytecode and keys of the configured caches go
    that were made from what changed, or from what includes or extends it.
    """

    def known(spec: Folders) -> Folders:
        nature = spec.nature if isinstance(spec.nature, Templates) else Templates()
        wanted_warm = nature.warm if warm is None else warm
        return replace(spec, nature=replace(nature, check=nature.check and not no_check, warm=wanted_warm))

    return _command(session, replace(wish, kind=templates.KIND), overrides, wanted, known)


@click.command("settings", cls=Command)
@_places
@no_check_option
@click.option("--adapter", metavar="NAME", multiple=True, help="Only the settings of this adapter.")
@click.option("--no-reload", is_flag=True, help="Do not have the application read them again.")
@pass_session
def sync_settings(
    session: Session,
    *,
    wish: Wish,
    overrides: Overrides,
    wanted: Wanted,
    no_check: bool,
    adapter: tuple[str, ...],
    no_reload: bool,
) -> int:
    """Bring YAML settings and their bucket into agreement, and have the application read them again.

    \b
    Examples:
      trueup sync settings --dry-run
      trueup sync settings --direction pull --conflict remote_wins
      trueup sync settings --adapter database --adapter cache --no-reload

    A file that is not valid is held before it replaces anything, on either side, with line and column. If the
    application cannot read the new settings, the previous ones are put back.
    """

    def known(spec: Folders) -> Folders:
        nature = spec.nature if isinstance(spec.nature, Settings) else Settings()
        reload = Reload() if no_reload else nature.reload
        return replace(spec, nature=replace(nature, check=nature.check and not no_check, reload=reload))

    wish = replace(wish, kind=settings.KIND, patterns=patterns_of(adapter))
    return _command(session, wish, overrides, wanted, known)


@click.command("static", cls=Command)
@_places
@pass_session
def sync_static(session: Session, *, wish: Wish, overrides: Overrides, wanted: Wanted) -> int:
    """Bring static files and their bucket into agreement, with the types that browsers need.

    \b
    Examples:
      trueup sync static --dry-run
      trueup sync static --path dist --bucket s3://site/static --direction push --deletes propagate

    What is uploaded gets its Content-Type and Cache-Control; see the settings `types`, `cache_control`, `uncached`.
    """
    return _command(session, replace(wish, kind=static.KIND), overrides, wanted, lambda spec: spec)
