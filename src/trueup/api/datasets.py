"""Open datasets, and say what a run of one did in the words of its document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from trueup.api.comparing import Comparison
from trueup.core.audit import Method
from trueup.core.check import Limits
from trueup.core.errors import NotFound, TrueupError, UsageError
from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.plan import Item, Plan, Step
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.strategy import Policy
from trueup.core.table import Verb
from trueup.engine.ambient import Ambient
from trueup.engine.filter import DEFAULT_EXCLUDES, PatternFilter
from trueup.engine.job import Audit, Job
from trueup.engine.state import State
from trueup.engine.wrap import TimeLimited
from trueup.protocols import Opening, Store
from trueup.stores import open_store, scheme_of
from trueup.stores.file import open_url
from trueup.stores.manifest import ManifestStore
from trueup.stores.manifest.text import parse
from trueup.targets import datasets
from trueup.targets.datasets import ACTOR_ID, ACTOR_NAME, MANIFEST, Datasets, Layout

if TYPE_CHECKING:
    from trueup.api.engine import Engine

TIMEOUT_SECONDS = 300.0
"""For one attempt at one item."""
COMMAND = "comprehensive sync"
"""What the history says of a sync that nobody typed."""
NAMED = "actor_name"
"""The field of a manifest that says whose it is."""


def open_dataset(spec: Datasets, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job that compares a manifest with both copies of what it records. Blocks.

    Raises:
        UsageError: If the name is not the id's, or places overlap.
        ConfigError: If the manifest is damaged.
    """
    opening = replace(opening, filter=PatternFilter(exclude=DEFAULT_EXCLUDES))
    head = {"actor_id": spec.actor_id, NAMED: spec.actor_name}
    manifest = ManifestStore(Path(spec.manifest), opening, head=head)
    _refuse_mismatch(spec, manifest)
    stores: dict[Side, Store] = {MANIFEST: manifest}
    for side, place in ((LOCAL, spec.local), (REMOTE, spec.remote)):
        stores[side] = TimeLimited(_opened(place, opening), seconds=TIMEOUT_SECONDS)
    locations = {side: store.properties.location for side, store in stores.items()}
    _refuse_overlap(locations, state.directory)
    return Job(
        target=spec.target(locations),
        policy=Policy(conflict=spec.conflict),
        stores=stores,
        state=state,
        ambient=ambient,
        limits=spec.limits,
        audit=Audit(_method(spec), record=MANIFEST, closer=Comparison(spec, manifest)),
    )


def _method(spec: Datasets) -> Method:
    """Which sides may be written; what is compared is found out by the comparison."""
    return Method(datasets.table(conflict=spec.conflict, delete_orphans=spec.delete_orphans), lambda *_: None)


def _opened(place: str, opening: Opening) -> Store:
    """A folder that is not there yet comes with the first write."""
    if scheme_of(place) == "file":
        return open_url(place, opening, coming=True)
    return open_store(place, opening)


def _refuse_mismatch(spec: Datasets, manifest: ManifestStore) -> None:
    """A name that does not look like its id's must be the one that the manifest gives."""
    if not spec.actor_id or datasets.fits(spec.actor_id, spec.actor_name):
        return
    if manifest.head.get(NAMED) != spec.actor_name:
        raise UsageError(
            f"{spec.actor_name} is not the name of actor {spec.actor_id}",
            why=f"it is neither the id nor begins with {spec.actor_id}_, and the manifest does not say so",
        )


def _refuse_overlap(locations: Mapping[Side, str], state: Path) -> None:
    """Nothing may be kept in agreement with itself, and no ledger may be one of its own items."""
    paths = {side: Path(place) for side, place in locations.items() if Path(place).is_absolute()}
    paths[Side("the state")] = state.resolve()
    for side in (LOCAL, REMOTE):
        for other, path in paths.items():
            if side in paths and other != side and path.is_relative_to(paths[side]):
                raise UsageError(
                    f"{other} {path} lies in {side} {paths[side]}", attempt="another place for one of them"
                )


def is_unknown(plan: Plan) -> bool:
    """Whether there is nothing at all of an actor: most likely a mistyped name."""
    return plan.complete and not any(seen.items for seen in plan.observed.values()) and not plan.ancestors


async def refuse_unknown(spec: Datasets, plan: Plan) -> None:
    """Refuse an actor of whom there is nothing.

    Raises:
        NotFound: If there is no manifest, and no file on either side.
    """
    if is_unknown(plan) and not await anyio.to_thread.run_sync(_has_a_place, spec):
        raise NotFound(
            f"there is no actor {spec.actor_id} {spec.actor_name}",
            why="no manifest, no local folder, nothing on the remote",
            attempt="look at the id and the name",
        )


def _has_a_place(spec: Datasets) -> bool:
    return Path(spec.manifest).exists() or Path(spec.local).exists()


def actors(layout: Layout) -> Iterator[tuple[str, str] | TrueupError]:
    """All actors that have a manifest, by id and name; or why one cannot be told. Blocks.

    The name is the manifest's, else that of the only local folder that fits the id.
    """
    pattern, name = _pattern(Path(layout.manifest))
    for path in sorted(pattern):
        found = name.fullmatch(str(path))
        if found is None:
            continue
        groups = found.groupdict()
        actor_id, actor_name = groups.get("actor_id"), groups.get("actor_name")
        try:
            told = _told_by(path)
            actor_id = actor_id or str(told.get("actor_id") or "")
            actor_name = actor_name or str(told.get(NAMED) or "") or _by_folder(layout, actor_id)
            yield actor_id, actor_name
        except TrueupError as error:
            yield error


def _pattern(template: Path) -> tuple[Iterator[Path], re.Pattern[str]]:
    """The files that fit a template, and how to read id and name out of their paths."""
    text = str(template)
    globbed = re.sub(r"([*?\[])", r"[\1]", text).replace(ACTOR_ID, "*").replace(ACTOR_NAME, "*")
    pattern = re.escape(text)
    for mark, group in ((ACTOR_ID, "actor_id"), (ACTOR_NAME, "actor_name")):
        pattern = pattern.replace(re.escape(mark), f"(?P<{group}>[^/]+)", 1).replace(re.escape(mark), f"(?P={group})")
    return Path(template.anchor).glob(globbed.removeprefix(template.anchor)), re.compile(pattern)


def _told_by(path: Path) -> Mapping[str, object]:
    try:
        return parse(path.read_bytes()).head
    except (OSError, ValueError):
        return {}  # its own run says what is wrong with it


def _by_folder(layout: Layout, actor_id: str) -> str:
    """The only local folder that fits an id."""
    folder, name = _pattern(Path(datasets.filled(layout.local, actor_id, ACTOR_NAME)))
    found = (
        {match["actor_name"] for path in folder if (match := name.fullmatch(str(path)))}
        if ACTOR_NAME in layout.local
        else {actor_id}
    )
    fitting = sorted(one for one in found if datasets.fits(actor_id, one))
    if len(fitting) != 1:
        why = (
            f"these folders fit: {', '.join(fitting)}"
            if fitting
            else "its manifest does not say so, and no folder fits"
        )
        raise UsageError(f"actor {actor_id} has no known name", why=why, attempt=f"{NAMED} in its manifest")
    return fitting[0]


# -- in the words of the document ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Synced:
    """What a comprehensive sync did, or would do; the field names are those of its document."""

    uploaded: int = 0
    downloaded: int = 0
    added_to_manifest: int = 0
    updated_in_manifest: int = 0
    removed_from_manifest: int = 0
    deleted_local: int = 0
    deleted_s3: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, int | list[str]]:
        """Exactly the eight keys."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


_COUNTED = {
    (Verb.PUT, REMOTE): "uploaded",
    (Verb.PUT, LOCAL): "downloaded",
    (Verb.RECORD_ADD, MANIFEST): "added_to_manifest",
    (Verb.RECORD_CHANGE, MANIFEST): "updated_in_manifest",
    (Verb.RECORD_REMOVE, MANIFEST): "removed_from_manifest",
    (Verb.DELETE, LOCAL): "deleted_local",
    (Verb.DELETE, REMOTE): "deleted_s3",
}


def planned(plan: Plan) -> Synced:
    """What a plan would do."""
    synced = Synced(errors=_left_open(plan))
    for item in plan.changes:
        for step in item.steps:
            _count(synced, step)
    return synced


def done(report: Report) -> Synced:
    """What a run did, and what it did not."""
    if report.ending is Ending.DECLINED:
        return Synced(errors=_left_open(report.plan))
    synced = Synced(errors=_left_open(report.plan))
    steps = {step.id: step for item in report.plan.items for step in item.steps}
    failed: dict[str, Outcome] = {}
    for outcome in report.outcomes:
        if outcome.status is Status.DONE:
            _count(synced, steps[outcome.step])
        elif outcome.key not in failed or failed[outcome.key].status is Status.SKIPPED:
            failed[outcome.key] = outcome
    synced.errors += [f"{outcome.status.value}: {key}: {outcome.why}" for key, outcome in failed.items()]
    return synced


def _count(synced: Synced, step: Step) -> None:
    name = _COUNTED.get((step.verb, step.side))
    if name is not None:
        setattr(synced, name, getattr(synced, name) + 1)


def _left_open(plan: Plan) -> list[str]:
    sides = [
        f"{side}: {seen.why or 'not all of it could be seen'}"
        for side, seen in plan.observed.items()
        if not seen.complete
    ]
    unknown = [] if sides else [f"unknown: {item.key}: {item.why}" for item in plan.unknown]
    return [*sides, *(f"conflict: {item.key}: {item.why}" for item in plan.conflicts), *unknown]


async def comprehensive_sync(
    engine: Engine, spec: Datasets, *, dry_run: bool, told: Callable[[Report], None] = lambda _: None
) -> Synced:
    """Sync an actor without a question; what would need one is left, and said.

    Args:
        engine: An open engine.
        spec: The actor; that orphans are deleted was said with it.
        dry_run: Say what would be done, and do nothing.
        told: Is told what became of each run, and of a dry run its plan.

    Raises:
        NotFound: If there is no such actor.
        UsageError: If the name is not the id's.
        ConfigError: If the manifest is damaged.
        PlanRefused: If a guard stops the plan.
        Locked: If another run holds the actor.
    """
    if dry_run:
        plan = await engine.plan(spec)
        await refuse_unknown(spec, plan)
        told(Report(plan, Ending.DECLINED))
        return planned(plan)
    too_many = 0

    async def confirm(plan: Plan) -> bool:
        nonlocal too_many
        removed = sum(map(removes, plan.changes))
        too_many = 0 if spec.limits.permit(removed, plan.ancestors) else removed
        return not too_many

    report = await engine.run(spec, confirm=confirm, command=COMMAND)
    if not too_many:
        await refuse_unknown(spec, report.plan)
        told(report)
        return done(report)
    report = await engine.run(spec, select=lambda item: not removes(item), command=COMMAND)
    told(report)
    synced = done(report)
    synced.errors.append(
        f"{too_many} entries of the manifest have no copy anywhere; so many are not removed unasked: "
        f"trueup sync dataset {spec.actor_id} {spec.actor_name}"
    )
    return synced


def removes(item: Item) -> bool:
    """Whether the item takes an entry out of the manifest because there is no copy anywhere."""
    return any(step.verb is Verb.RECORD_REMOVE for step in item.steps)


def needless(plan: Plan, limits: Limits) -> bool:
    """Whether nobody has to be asked: nothing is deleted, and no more entries are removed than is ordinary."""
    deletes = any(step.verb is Verb.DELETE for item in plan.changes for step in item.steps)
    removed = sum(removes(item) for item in plan.changes)
    return not deletes and not plan.destroys and limits.permit(removed, plan.ancestors)
