"""Several effects, one after the other: what most stores need for `Write.batch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from trueup.core.errors import NoSpace, StoreError
from trueup.core.model import Key, Token
from trueup.protocols.abilities import Write
from trueup.protocols.values import Effect, Move, Put, Remove, Source, Trash, Written


async def carry_out(store: Write, effect: Effect) -> Written:
    """One effect by the method that it is meant for."""
    match effect:
        case Put():
            return await store.write(effect.key, effect.source, expect=effect.expect, trash=effect.trash)
        case Remove():
            return await store.remove(effect.key, expect=effect.expect, trash=effect.trash)
        case Move():
            return await store.move(effect.origin, effect.target, expect=effect.expect)
        case _:
            assert_never(effect)


async def one_by_one(store: Write, effects: Sequence[Effect]) -> list[Written | StoreError]:
    """A batch by single calls."""
    answers: list[Written | StoreError] = []
    for effect in effects:
        if _is_full(answers):
            answers.append(answers[-1])
            continue
        try:
            answers.append(await carry_out(store, effect))
        except StoreError as error:
            answers.append(error)
    return answers


def in_turn(
    effects: Sequence[Effect],
    *,
    put: Callable[[Key, Source, Token | None, Trash | None], Written],
    remove: Callable[[Key, Token, Trash | None], Written],
    move: Callable[[Key, Key, Token], Written],
) -> list[Written | StoreError]:
    """A batch by functions that block, in the thread that calls this."""
    answers: list[Written | StoreError] = []
    for effect in effects:
        if _is_full(answers):
            answers.append(answers[-1])
            continue
        try:
            match effect:
                case Put():
                    answers.append(put(effect.key, effect.source, effect.expect, effect.trash))
                case Remove():
                    answers.append(remove(effect.key, effect.expect, effect.trash))
                case Move():
                    answers.append(move(effect.origin, effect.target, effect.expect))
                case _:
                    assert_never(effect)
        except StoreError as error:
            answers.append(error)
    return answers


def _is_full(answers: Sequence[Written | StoreError]) -> bool:
    """Whether the side has said that it has no room: then nothing more is tried there."""
    return bool(answers) and isinstance(answers[-1], NoSpace)
