"""Conflicts: both versions side by side, and a person's decision."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from trueup.core import codec
from trueup.core.errors import TrueupError
from trueup.core.model import Entry, Key, Side
from trueup.core.plan import Item
from trueup.render.names import printable, size
from trueup.web.documents import PlanRow
from trueup.web.pages.frame import form_of, frame_of, pages, segment, to, zoned
from trueup.web.pages.rows import is_picture
from trueup.web.pages.targets import Offset, Told, around, begun
from trueup.web.problems import not_found
from trueup.web.routes import targets as rest
from trueup.web.routes.common import PAGE, Chosen, Reader, Serving, Syncer
from trueup.web.service import Service
from trueup.web.targets import Named

MOST_BYTES = 256 * 1024
"""Of a text that is compared line by line."""
MOST_LINES = 400
"""Of a comparison that is shown."""

CHOICES: Sequence[tuple[str, str, str]] = (
    ("local", "Keep local", "The local version replaces the remote one, which goes to the trash."),
    ("remote", "Keep remote", "The remote version replaces the local one, which goes to the trash."),
    ("both", "Keep both", "One stays under the name; the other gets a name of its own beside it."),
    ("skip", "Skip", "Nothing is done; the conflict stays."),
)
"""What can be decided, and what follows from it."""

router: APIRouter = pages()


@dataclass(frozen=True, slots=True)
class Version:
    """What one side holds of an item in conflict, or what both held when they last agreed."""

    title: str
    side: str
    """Empty for what was agreed: its content is nowhere to be seen."""
    facts: Sequence[tuple[str, str]]
    token: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of a comparison."""

    sign: str
    text: str

    @property
    def style(self) -> str:
        """How it is shown."""
        return {"+": "plus", "-": "minus", "@": "hunk"}.get(self.sign, "")


@router.get("/targets/{target_id}/conflicts")
async def show(
    request: Request,
    who: Reader,
    service: Serving,
    target: Chosen,
    key: Annotated[str, Query(max_length=4096)] = "",
    offset: Offset = 0,
    told: Told = "",
) -> Response:
    """All conflicts, and one of them in full: the one that is named, else the first."""
    found = await rest.list_conflicts(who, service, target, offset, PAGE)
    row = next((row for row in found.rows if row.key == key), None)
    if key and row is None and not told:
        raise not_found("this is no conflict any more", hint="look again: make a plan")
    row = row or (found.rows[0] if found.rows else None)
    item = codec.decode(Item, row.item, "item") if row is not None else None
    return frame_of(request).page(
        request,
        "conflicts.html",
        tab="conflicts",
        found=found,
        row=row,
        versions=_versions(item) if item is not None else [],
        picture=row is not None and is_picture(row.key),
        compared=await _compared(service, target, item) if item is not None else None,
        similar=_similar(found.rows, row),
        choices=CHOICES,
        **await around(service, target, who, told=told),
    )


@router.post("/targets/{target_id}/conflicts")
async def resolve(request: Request, who: Syncer, service: Serving, target: Chosen) -> Response:
    """Settle a conflict, or all in its folder, as a person decided."""
    form = await form_of(request)
    home = request.url.path
    rows = (await rest.list_conflicts(who, service, target, 0, 1000)).rows
    row = next((row for row in rows if row.key == form.one("key")), None)
    if row is None:
        raise not_found("this is no conflict any more", hint="look again: make a plan")
    if form.one("keep") == "skip":
        later = [one.key for one in rows if one.n > row.n] or [rows[0].key]
        return to(f"{home}?key={segment(later[0])}")
    keys = [one.key for one in _similar(rows, row)] if form.has("similar") else [row.key]
    body = rest.Resolution(keys=keys, keep=form.one("keep"))
    run = await rest.resolve(who, service, target, Response(), body)
    live = service.runs.live(run.id)
    return await begun(service, live, back=home) if live is not None else to(f"{home}?told={run.id}")


def _similar(rows: Sequence[PlanRow], row: PlanRow | None) -> list[PlanRow]:
    """The conflicts in the same folder, itself included."""
    if row is None:
        return []
    folder = row.key.rpartition("/")[0]
    return [one for one in rows if one.key.rpartition("/")[0] == folder]


def _versions(item: Item) -> list[Version]:
    versions = [_version(side, item) for side in ("local", "remote")]
    if item.ancestor is not None:
        content = item.ancestor.content
        facts = [("Size", f"{size(content.size)} ({content.size:,} bytes)"), ("Hash", str(content.fingerprint or "-"))]
        versions.insert(1, Version("Last agreed", "", facts))
    return versions


def _version(side: str, item: Item) -> Version:
    seen = item.side(Side(side))
    title = side.capitalize()
    if not isinstance(seen, Entry):
        return Version(title, "", [("State", "not there" if seen is None else "could not be seen")])
    content = seen.content
    facts = [
        ("Size", f"{size(content.size)} ({content.size:,} bytes)"),
        ("Hash", str(content.fingerprint or "not known")),
        ("Changed", zoned(seen.modified_ns)),
    ]
    return Version(title, side, facts, seen.token)


async def _compared(service: Service, target: Named, item: Item) -> list[Compared] | None:
    """Both versions line by line; None if they are no texts, too large, or gone."""
    if is_picture(item.key) or not all(isinstance(item.side(Side(side)), Entry) for side in ("local", "remote")):
        return None
    texts = []
    async with service.engine() as engine:
        for side in ("local", "remote"):
            try:
                data = await engine.content(target.spec, Side(side), Key(item.key), limit=MOST_BYTES + 1)
            except TrueupError:
                return None  # the plan, which is older, saw it; a resolution looks again
            if len(data) > MOST_BYTES or b"\0" in data:
                return None
            try:
                texts.append(data.decode())
            except UnicodeDecodeError:
                return None
    return await service.threads(lambda: list(_difference(*texts)))


def _difference(local: str, remote: str) -> Iterator[Compared]:
    lines = difflib.unified_diff(local.splitlines(), remote.splitlines(), lineterm="", n=3)
    for number, text in enumerate(lines):
        if number < 2:
            continue  # the names of two files
        if number - 2 >= MOST_LINES:
            yield Compared("@", "and more")
            return
        yield Compared(text[:1], printable(text if text.startswith("@") else text[1:]))
