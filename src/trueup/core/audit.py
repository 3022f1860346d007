"""Recorded against real: items of a plan from what any number of sides show, by the table that a kind declares."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

from trueup.core.model import Damaged, Entry, Key, Record, Recorded, Shown, Side, Token, Unknown, key_bytes
from trueup.core.plan import Item, Phase, Ref, Step
from trueup.core.table import UNKNOWN_RULE, Act, Rule, Sign, Table, Verb, word

RECORDING = frozenset({Verb.RECORD_ADD, Verb.RECORD_CHANGE, Verb.RECORD_REMOVE})
"""Verbs whose side records; they come after the content that they speak of."""

AGREE = "agree"
"""Reason of the rule under which nothing is wrong; such items are counted and not listed."""


Recording = Callable[[Key, Mapping[Side, Shown], Act], Record]
"""What an act records of an item."""


@dataclass(frozen=True, slots=True)
class Method:
    """How a kind compares its sides, and what it records."""

    table: Table
    identity: Callable[[Side, Entry | Recorded], Hashable]
    """What makes two entries of different sides the same content. Equal records are, whatever it would say."""
    record: Recording | None = None
    """None for kinds that only remove records."""
    choose: Callable[[Key, Mapping[Side, Shown]], Table] | None = None
    """Another table for single items, over the same sides: a strategy that depends on the item, a person's decision."""
    contents: Callable[[Key], Mapping[Side, Hashable]] | None = None
    """In place of `identity`, where more is known of an item than its sides show: what each side holds of it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One item: what the sides showed, and what is to be done about it."""

    key: Key
    seen: Mapping[Side, Shown]
    rule: Rule


def audit(items: Iterable[Judged], method: Method) -> tuple[tuple[Item, ...], int]:
    """What is to be done about every item that does not agree.

    Args:
        items: As `judge` returns them.
        method: How they were compared.

    Returns:
        All items that do not agree, in key order, and how many agree.
    """
    judged = list(items)
    open_ = [one for one in judged if one.rule.reason != AGREE]
    return planned(open_, method), len(judged) - len(open_)


def planned(judged: Iterable[Judged], method: Method) -> tuple[Item, ...]:
    """Items with the steps that their rules ask for, in key order."""
    steps = _Steps(method)
    ordered = sorted(judged, key=lambda one: key_bytes(one.key))
    return tuple(steps.item(one.key, one.seen, one.rule) for one in ordered)


def judge(key: Key, seen: Mapping[Side, Shown], method: Method) -> Judged:
    """What the sides showed of one item, and the table's rule for it; sides outside the table inform only."""
    return Judged(key, seen, decide(key, seen, method))


def decide(key: Key, seen: Mapping[Side, Shown], method: Method) -> Rule:
    """The table's rule for what the sides showed."""
    table = method.table if method.choose is None else method.choose(key, seen)
    contents = None if method.contents is None else method.contents(key)
    shown = [seen.get(side) for side in table.sides]
    if contents is None and isinstance(shown[0], Recorded) and shown.count(shown[0]) == len(shown):
        return table.decide(word([True] * len(shown)))  # one record everywhere: it need not be read
    return table.decide(
        word(_content(side, one, method, contents) for side, one in zip(table.sides, shown, strict=True))
    )


def _content(
    side: Side, shown: Shown, method: Method, contents: Mapping[Side, Hashable] | None
) -> Hashable | Sign | None:
    match shown:
        case None:
            return None
        case Unknown():
            return Sign.UNKNOWN
        case Damaged():
            return Sign.DAMAGED
        case _:
            return method.identity(side, shown) if contents is None else contents[side]


@dataclass(slots=True)
class _Steps:
    method: Method
    count: int = 0

    def item(self, key: Key, seen: Mapping[Side, Shown], rule: Rule) -> Item:
        steps: list[Step] = []
        for act in rule.acts:
            steps += self._step(key, seen, act, tuple(step.id for step in steps))
        removes = any(step.verb in (Verb.DELETE, Verb.RECORD_REMOVE) for step in steps)
        return Item(
            key=key,
            reason=rule.reason,
            seen=dict(seen),
            ancestor=None,
            steps=tuple(steps),
            phase=Phase.DELETE if removes else Phase.WRITE,
            standing=rule.standing,
            why=_why(rule, seen),
        )

    def _step(self, key: Key, seen: Mapping[Side, Shown], act: Act, needs: tuple[str, ...]) -> list[Step]:
        expect = _token(seen.get(act.side))
        if act.verb is Verb.ACT:
            record = self.method.record(key, seen, act) if self.method.record is not None else None
            return [Step(self._id(), key, act.side, act.verb, None, None, needs, record)]
        if act.verb in RECORDING:
            record = None
            if act.verb is not Verb.RECORD_REMOVE and self.method.record is not None:
                record = self.method.record(key, seen, act)
            return [Step(self._id(), key, act.side, act.verb, expect, None, needs, record)]
        source = seen.get(act.source) if act.source is not None else None
        value = None
        if act.source is not None and isinstance(source, Entry):
            value = Ref(act.source, key, source.token, source.content, source.modified_ns, source.mode)
        saves = [Step(self._id(), key, act.side, Verb.SAVE, expect)] if expect is not None else []
        needs = (*needs, *(save.id for save in saves))
        return [*saves, Step(self._id(), key, act.side, act.verb, expect, value, needs)]

    def _id(self) -> str:
        self.count += 1
        return f"s{self.count}"


def _token(shown: Shown) -> Token | None:
    return shown.token if isinstance(shown, Entry | Recorded | Damaged) else None


def _why(rule: Rule, seen: Mapping[Side, Shown]) -> str:
    said = {side: shown.why for side, shown in seen.items() if isinstance(shown, Unknown | Damaged)}
    if rule is UNKNOWN_RULE or not rule.why:
        return "; ".join(f"{side}: {why}" for side, why in said.items())
    text = rule.why
    for side, why in said.items():
        text = text.replace("{" + side + "}", why)
    return text
