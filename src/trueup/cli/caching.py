"""``trueup sync cache``: refresh, invalidate, warm or clear the keys of an application."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trueup.cli.answers import finish
from trueup.cli.choices import word_option
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import Asked, conclude, present_plan
from trueup.cli.targets import yes_option
from trueup.core.errors import UsageError
from trueup.core.plan import Plan
from trueup.core.report import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, plan_exit_code
from trueup.render.names import printable, quote, size
from trueup.render.plans import Words
from trueup.render.text import line
from trueup.targets.caches import Caches, Library

if TYPE_CHECKING:
    from trueup.api.caching import CacheReport, Stats

OPERATIONS = ("refresh", "invalidate", "warm", "clear")
SHOWN = 20
"""Names of keys in a dry run, for each namespace; -v shows all."""


@click.command("cache", cls=Command)
@click.argument("name", required=False)
@click.option("--url", metavar="URL", help="The cache: redis://, unix://, memory://, or a folder; else the target's.")
@word_option("--preset", Library, explain="Which library names the keys.")
@click.option("--app", metavar="APP", help="What its keys begin with.")
@click.option("--environment", metavar="MODULE:ATTRIBUTE", help="The Jinja environment that compiles the templates.")
@click.option(
    "--operation", type=click.Choice(OPERATIONS), default="refresh", show_default=True, help="What to do with the keys."
)
@click.option("--namespace", metavar="N", multiple=True, help="Only these namespaces.")
@click.option("--key", metavar="K", multiple=True, help="Only this key; it must be one of the application's.")
@click.option("--no-warm", is_flag=True, help="Compile no templates after an invalidation.")
@click.option("--stats", is_flag=True, help="Show keys and bytes by namespace, and do nothing.")
@click.option("--dry-run", is_flag=True, help="List the keys that would go, and stop.")
@yes_option
@pass_session
def sync_cache(
    session: Session,
    *,
    name: str | None,
    url: str | None,
    preset: Library | None,
    app: str | None,
    environment: str | None,
    operation: str,
    namespace: tuple[str, ...],
    key: tuple[str, ...],
    no_warm: bool,
    stats: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Refresh, invalidate, warm or clear a cache: the keys of one application, and no others.

    \b
    Examples:
      trueup sync cache web --dry-run                     what has changed, by the keys' real names
      trueup sync cache web --operation clear --namespace responses --yes
      trueup sync cache --url redis://localhost --preset django --app shop --operation clear
      trueup sync cache web --stats

    What is deleted cannot be brought back by `trueup undo`; `trueup history` shows the run. The server is scanned page
    by page and never flushed.
    """
    given = {"url": url, "preset": preset.value if preset else None, "app": app}

    async def work(runner: Runner) -> int:
        from trueup.api.caching import CacheReport, Operation, Request

        spec, words = _chosen(runner, name, {k: v for k, v in given.items() if v is not None}, environment)
        if stats:
            found = await runner.engine.cache_stats(replace(spec, namespaces=namespace))
            _show_stats(session, found)
            finish(session, "cache_stats", namespaces=_plain(found), exit_code=EXIT_OK)
            return EXIT_OK
        report = CacheReport()
        request = Request(Operation(operation), namespace, key, not no_warm)
        asked = Asked(runner, words, yes=yes)

        async def rehearsed(plan: Plan) -> bool:
            present_plan(runner, plan, replace(words, next=f"next: trueup sync cache {words.target}"))
            return False

        confirm = rehearsed if dry_run else asked.confirm
        await runner.engine.cache(spec, request, into=report, confirm=confirm, command=session.typed)
        assert report.report is not None  # noqa: S101  # what has not ended has raised
        runner.display.close()
        if dry_run:
            code = plan_exit_code(report.report.plan, drift=session.quiet)
            _show_keys(session, report)
        else:
            code = conclude(runner, report.report, words, shown=asked.shown)
            if code == EXIT_FAILED and (report.deleted or report.warmed):
                code = EXIT_PARTIAL
        _show_notes(session, report)
        finish(
            session,
            "cache",
            dry_run=dry_run,
            report=report.report,
            planned={namespace: {"count": len(keys), "keys": keys} for namespace, keys in report.planned.items()},
            deleted=report.deleted,
            to_warm=report.to_warm,
            warmed=report.warmed,
            notes=report.notes,
            exit_code=code,
        )
        return code

    return run_engine(session, work)


def _chosen(runner: Runner, name: str | None, given: dict[str, str], environment: str | None) -> tuple[Caches, Words]:
    """The target that is meant, with the flags on top."""
    found = {one.name: one for one in runner.engine.targets.values() if isinstance(one, Caches)}
    if name is not None and name not in found:
        runner.engine.find(name)
        raise UsageError(f"{name} is no cache", why="its kind is another one")
    if name is None and "url" not in given and len(found) != 1:
        why = f"there are {', '.join(found)}" if found else "none is configured, here or in a folder above"
        raise UsageError("which cache?", why=why, attempt="trueup sync cache NAME, or --url URL --preset P --app A")
    spec = Caches()
    if name is not None:
        spec = found[name]
    elif "url" not in given:
        (spec,) = found.values()
    if "url" in given and "://" not in given["url"]:
        given = {**given, "url": str(Path(given["url"]).expanduser().absolute())}
    spec = replace(spec, **given)  # type: ignore[arg-type]  # names of its own fields
    if environment is not None:
        said = environment

        def load() -> Any:
            from trueup.stores.cache.templates import load_environment

            return load_environment(said, Path.cwd())

        spec = replace(spec, environment=load)
    flags = " ".join(f"--{flag} {quote(value)}" for flag, value in given.items())
    return spec, Words(" ".join(filter(None, [quote(name) if name else "", flags])))


def _show_keys(session: Session, report: CacheReport) -> None:
    if not session.text:
        return
    for namespace, keys in report.planned.items():
        shown = keys if session.verbose else keys[:SHOWN]
        session.show([line(f"  {namespace}: {len(keys):,} keys")])
        session.show(line(f"    {printable(key)}", "dim") for key in shown)
        if len(keys) > len(shown):
            session.show([line(f"    ... and {len(keys) - len(shown):,} more (-v shows all)", "dim")])


def _show_notes(session: Session, report: CacheReport) -> None:
    if session.text:
        session.show(line(f"  note: {printable(note)}", "dim") for note in report.notes)


def _show_stats(session: Session, found: dict[str, Stats]) -> None:
    if not session.text:
        return
    for name, one in found.items():
        about = "" if one.exact else "about "
        session.show([line(f"  {name:<12}{one.keys:>12,} keys  {about}{size(one.bytes)}")])
    rates = {one.hit_rate for one in found.values() if one.hit_rate is not None}
    session.show(line(f"  hit rate of the whole server: {rate:.1%}", "dim") for rate in rates)


def _plain(found: dict[str, Stats]) -> dict[str, Any]:
    return {
        name: {"keys": one.keys, "bytes": one.bytes, "exact": one.exact, "hit_rate": one.hit_rate}
        for name, one in found.items()
    }
