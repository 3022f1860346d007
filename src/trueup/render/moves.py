"""Moved folders: many moves that a person made as one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trueup.core.model import Key, Side, is_directory
from trueup.core.plan import Item, Step
from trueup.core.table import Verb
from trueup.core.tree import SIDES
from trueup.render.names import count


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder all of whose files keep their names below another one."""

    side: Side
    old: Key
    new: Key
    files: int
    created: str
    """The step that makes the new folder; its line is the folder's."""
    covered: frozenset[str]
    """Ids of all its steps: the moves, the directories made and removed for them."""


def moved_folders(items: Iterable[Item]) -> list[Folder]:
    """The largest folders that a plan moves as a whole, by their new names."""
    steps = [step for item in items for step in item.steps]
    found = [folder for side in SIDES for folder in _on_side(side, [step for step in steps if step.side == side])]
    return sorted(found, key=lambda folder: (folder.new, folder.side))


def _on_side(side: Side, steps: Sequence[Step]) -> list[Folder]:
    moves = sorted(
        (step.value.key, step.key, step.id) for step in steps if step.verb is Verb.MOVE and step.value is not None
    )
    made = {step.key: step.id for step in steps if step.verb is Verb.PUT and is_directory(step.key)}
    gone = {step.key: step.id for step in steps if step.verb is Verb.DELETE and is_directory(step.key)}
    found: list[Folder] = []
    for old in sorted(gone) if moves else ():
        if not (found and old.startswith(found[-1].old)):
            below = moves[bisect_left(moves, (old,)) : bisect_left(moves, (Key(old[:-1] + "0"),))]
            folder = _folder(side, old, below, made, gone)
            if folder is not None:
                found.append(folder)
    return found


def _folder(
    side: Side,
    old: Key,
    below: Sequence[tuple[Key, Key, str]],
    made: Mapping[Key, str],
    gone: Mapping[Key, str],
) -> Folder | None:
    """What is below the old folder, if all of it goes to one new folder under the names that it has."""
    if not below:
        return None
    first_old, first_new, _ = below[0]
    new = Key(first_new.removesuffix(first_old[len(old) :]))
    if new not in made or any(target != new + origin[len(old) :] for origin, target, _ in below):
        return None
    pairs = {directory: Key(new + directory[len(old) :]) for directory in gone if directory.startswith(old)}
    both = {step for directory, twin in pairs.items() if twin in made for step in (gone[directory], made[twin])}
    return Folder(side, old, new, len(below), made[new], frozenset(both | {step for _, _, step in below}))


def folders_counted(folders: Sequence[Folder]) -> str:
    """``~ 1 folder moved (10,000 files)``."""
    files = sum(folder.files for folder in folders)
    return f"~ {count(len(folders), 'folder')} moved ({count(files, 'file')})"
