"""The Training Data tab: one green button, what the audit counts, and every image with its three columns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from trueup.core import codec
from trueup.core.model import LOCAL, REMOTE, Content, Entry, Key, Kind, Recorded, Token, key_bytes
from trueup.core.plan import Item
from trueup.core.report import Status
from trueup.engine.filter import DEFAULT_EXCLUDES, PatternFilter
from trueup.engine.journal import Journal
from trueup.engine.served import Row, SavedPlan, ServedRun
from trueup.engine.tokens import Scope
from trueup.render.wording import SAME, Mark
from trueup.stores.manifest.text import Manifest, Unreadable, parse
from trueup.targets.datasets import Datasets
from trueup.web.asked import Action, Asked
from trueup.web.pages.frame import form_of, frame_of, pages
from trueup.web.pages.rows import Cell, Line, cell, is_picture, line
from trueup.web.pages.targets import Offset, Told, Word, around, begun
from trueup.web.pages.words import TRAINED
from trueup.web.problems import Problem, not_found
from trueup.web.routes.common import PAGE, Chosen, Reader, Serving, Syncer
from trueup.web.service import Service
from trueup.web.targets import Named

LOOKED_AT = 20
"""Runs that may have carried out an audit's plan."""

router: APIRouter = pages()


@dataclass(frozen=True, slots=True)
class Image:
    """One image of an actor, as the tab shows it."""

    key: str
    cells: Sequence[Cell]
    """Recorded, local, remote."""
    marks: Sequence[Mark]
    """None: nobody has compared yet."""
    why: str
    side: str
    """Which side its picture comes from; empty if it has none that can be shown."""
    version: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """A page of an actor's images, and the manifest's trouble if it has some."""

    images: Sequence[Image]
    total: int
    offset: int
    trouble: str

    @property
    def next(self) -> int | None:
        """Where the next page begins."""
        return self.offset + PAGE if self.offset + len(self.images) < self.total else None


@router.get("/targets/{target_id}/training-data")
async def show(
    request: Request, who: Reader, service: Serving, target: Chosen, q: Word = "", offset: Offset = 0, told: Told = ""
) -> Response:
    """The tab. No image is read for it: a listing of the folder, the manifest, and what the last audit saw."""
    spec = _spec(target)
    context = await around(service, target, who, told=told)
    saved = await service.threads(service.ledger.latest, target.id)
    run: ServedRun | None = context["told"]
    return frame_of(request).page(
        request,
        "training.html",
        tab="training",
        spec=spec,
        audit=_audit(saved),
        synced=_synced(run),
        gallery=await service.threads(gallery, service, spec, saved, q, offset),
        q=q,
        may_delete=who.may(Scope.DELETE),
        **context,
    )


@router.post("/targets/{target_id}/training-data/sync")
async def sync(request: Request, who: Syncer, service: Serving, target: Chosen) -> Response:
    """The green button: audit, then sync everything that needs no question."""
    spec, form = _spec(target), await form_of(request)
    if form.has("delete_orphans") and not who.may(Scope.DELETE):
        raise Problem(403, "TU-SCOPE", "the token may not delete orphans", hint="a token with the scope delete")
    asked = Asked(
        action=Action.TRAINING,
        actor=(spec.actor_id, spec.actor_name),
        dry_run=form.has("dry_run"),
        delete_orphans=form.has("delete_orphans"),
        may_delete=form.has("delete_orphans"),
    )
    live = await service.runs.begin(target, asked, who.name)
    return await begun(service, live, back=f"{request.url.path.removesuffix('/sync')}")


def _spec(target: Named) -> Datasets:
    if not isinstance(target.spec, Datasets):
        raise not_found("this target has no training data")
    return target.spec


def _audit(saved: SavedPlan | None) -> dict[str, Any] | None:
    """What the last audit counted: items of each side, and what a sync would do."""
    if saved is None:
        return None
    verbs = saved.summary["verbs"]
    done = saved.summary.get("done", 0)
    return {
        "made_ns": saved.made_ns,
        "sides": {side: seen["items"] for side, seen in saved.summary["observed"].items()},
        "unseen": {side: seen["why"] for side, seen in saved.summary["observed"].items() if not seen["complete"]},
        "would": [] if done else [(word, verbs[verb]) for _, verb, word in TRAINED if verbs.get(verb)],
        "conflicts": saved.summary["conflicts"],
        "done": done,
    }


def _synced(run: ServedRun | None) -> dict[str, Any] | None:
    """The message after a run: all counts, and the errors."""
    document = (run.result or {}).get("synced") if run is not None else None
    if run is None or document is None:
        return None
    counts = [(word, document[key]) for key, _, word in TRAINED]
    return {"counts": counts, "errors": document["errors"], "dry_run": bool(run.asked.get("dry_run"))}


# -- the images ----------------------------------------------------------------------------------------------------


def gallery(service: Service, spec: Datasets, saved: SavedPlan | None, q: str, offset: int) -> Gallery:
    """A page of images: what is recorded, what the folder holds, what the last audit saw. Blocks."""
    manifest, trouble = _manifest(spec)
    local = dict(_listed(Path(spec.local)))
    rows = {row.key: row for row in (service.ledger.rows(saved.id) if saved is not None else [])}
    names = [key for key in {*manifest.entries, *local, *rows} if q.lower() in key.lower()]
    names.sort(key=lambda key: key_bytes(Key(key)))
    page = names[offset : offset + PAGE]
    synced = _synced_since(service, saved)
    rows = {key: row for key, row in rows.items() if key not in synced}
    lines = _lines(service, saved, [rows[key] for key in page if key in rows])
    images = [_image(key, manifest, local, lines.get(key), audited=saved is not None) for key in page]
    return Gallery(images, len(names), offset, trouble)


def _manifest(spec: Datasets) -> tuple[Manifest, str]:
    try:
        return parse(Path(spec.manifest).read_bytes()), ""
    except FileNotFoundError:
        return Manifest(), ""
    except (OSError, Unreadable) as error:
        return Manifest(), str(error)


def _listed(folder: Path) -> list[tuple[Key, Entry]]:
    """Files below a folder, with size and time; nothing is read, links are not followed. Blocks."""
    excluded = PatternFilter(exclude=DEFAULT_EXCLUDES)
    found: list[tuple[Key, Entry]] = []
    stack = [(str(folder), "")]
    while stack:
        path, prefix = stack.pop()
        try:
            entries = os.scandir(path)
        except OSError:
            continue  # the audit says so; here it is what can be seen at a glance
        with entries:
            for entry in entries:
                key = prefix + entry.name
                if excluded.excludes(key, directory=entry.is_dir(follow_symlinks=False)):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    stack.append((entry.path, f"{key}/"))
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    token = Token(f"{status.st_size}-{status.st_mtime_ns}")
                    found.append((Key(key), Entry(token, Content(Kind.FILE, status.st_size), status.st_mtime_ns)))
    return found


def _lines(service: Service, saved: SavedPlan | None, rows: Sequence[Row]) -> Mapping[str, tuple[Line, Item]]:
    if saved is None:
        return {}
    header = service.ledger.header(saved.id)
    documents = service.ledger.documents(saved.id, [row.n for row in rows])
    decoded = {row.key: (row.n, codec.decode(Item, documents[row.n], "item")) for row in rows}
    return {key: (line(n, item, header, selected=False), item) for key, (n, item) in decoded.items()}


def _synced_since(service: Service, saved: SavedPlan | None) -> set[str]:
    """The images of the last audit of which every step was carried out since. Blocks."""
    if saved is None:
        return set()
    runs = service.ledger.runs(target=saved.target, limit=LOOKED_AT)
    journal = Journal(service.state)
    outcomes = [
        outcome
        for run in runs
        if run.plan == saved.id and run.history is not None
        for outcome in journal.find(run.history).outcomes
    ]
    failed = {outcome.key for outcome in outcomes if outcome.status is not Status.DONE}
    return {str(outcome.key) for outcome in outcomes if outcome.key not in failed}


def _image(
    key: str, manifest: Manifest, local: Mapping[Key, Entry], found: tuple[Line, Item] | None, *, audited: bool
) -> Image:
    record = manifest.entries.get(Key(key))
    recorded = cell(None if record is None else Recorded(Token(""), record), None)
    here = local.get(Key(key))
    remote = Cell("not looked at", style="absent")
    marks: Sequence[Mark] = ()
    why, over_there = "", False
    if found is not None:
        shown, item = found
        remote, marks, why = cell(item.side(REMOTE), None), shown.marks, shown.why
        over_there = isinstance(item.side(REMOTE), Entry)
    elif audited:
        agrees = record is not None and here is not None
        remote = Cell("as recorded") if agrees else remote
        marks, why, over_there = (
            ((SAME,), "recorded, local and remote", True) if agrees else ((), "new since the audit", False)
        )
    side = LOCAL if here is not None else REMOTE if over_there else ""
    return Image(
        key,
        (recorded, cell(here, None), remote),
        marks,
        why,
        str(side) if is_picture(key) else "",
        str(here.token) if here is not None else "remote",
    )
