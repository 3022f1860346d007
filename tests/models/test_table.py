"""The decision table of model catalogues, word by word, and what it records."""

from __future__ import annotations

import pytest

from trueup.core.audit import audit, decide, judge
from trueup.core.model import Key, Record, Recorded, Shown, Side, Token, Unknown
from trueup.core.table import Verb, words
from trueup.targets.models import CATALOGUE, LAST, PROVIDER, TABLE, Guard, merged, method, vanished

EXPECTED = {
    "aaa": "agree",
    "aab": "changed",
    "aba": "agree",
    "abb": "changed",
    "abc": "changed",
    "a-a": "reactivated",
    "a-b": "reactivated",
    "a--": "added",
    "aa-": "added",
    "ab-": "added",
    "-aa": "missing",
    "-ab": "missing",
    "--a": "removed",
    "-a-": "agree",
}
HOW = method("2026-11-21T12:00:00+00:00")


def shown(letter: str, side: Side) -> Shown:
    if letter == "-":
        return None
    facts = {
        "context": {"value": ord(letter), "source": "native"} | ({"date": "2026-01-01"} if side != PROVIDER else {})
    }
    state = {"state": "active", "since": "2026-01-01T00:00:00+00:00"} if side != PROVIDER else {}
    return Recorded(Token(f"{side}{letter}"), Record.of({"id": "m", "hash": letter, "facts": facts, **state}))


def seen(word: str) -> dict[Side, Shown]:
    return {side: shown(letter, side) for side, letter in zip(TABLE.sides, word, strict=True)}


def test_every_word_has_its_expectation() -> None:
    assert set(EXPECTED) == set(words(3)) == set(TABLE.rules)


@pytest.mark.parametrize("word", EXPECTED)
def test_every_word_is_decided_as_the_table_says(word: str) -> None:
    assert decide(Key("m"), seen(word), HOW).reason == EXPECTED[word]


def test_nothing_but_the_catalogue_is_written_and_only_what_is_absent_twice_is_removed() -> None:
    for word, rule in TABLE.rules.items():
        assert all(act.side == CATALOGUE for act in rule.acts)
        removes = [act for act in rule.acts if act.verb is Verb.RECORD_REMOVE]
        assert bool(removes) == (word == "--a")


@pytest.mark.parametrize("unknown", [PROVIDER, LAST, CATALOGUE])
@pytest.mark.parametrize("word", EXPECTED)
def test_what_is_unknown_changes_nothing(word: str, unknown: Side) -> None:
    items, _ = audit([judge(Key("a@f/m"), seen(word) | {unknown: Unknown("an outage")}, HOW)], HOW)
    assert [item.steps for item in items] == [()]


def recorded(word: str) -> dict[str, object]:
    (item,), _ = audit([judge(Key("a@f/m"), seen(word), HOW)], HOW)
    (step,) = item.steps
    assert step.record is not None
    return step.record.fields


def test_a_missing_model_keeps_what_is_known_of_it() -> None:
    fields = recorded("-aa")
    assert (fields["state"], fields["since"], fields["hash"]) == ("missing", "2026-11-21T12:00:00+00:00", "a")


def test_a_model_that_is_back_is_active_from_then_on() -> None:
    missing = shown("a", CATALOGUE)
    assert isinstance(missing, Recorded)
    fields = merged(missing.record.fields | {"state": "missing"}, _listed("a"), "2026-11-21T12:00:00+00:00").fields
    assert (fields["state"], fields["since"]) == ("active", "2026-11-21T12:00:00+00:00")


def _listed(letter: str) -> dict[str, object]:
    found = shown(letter, PROVIDER)
    assert isinstance(found, Recorded)
    return found.record.fields


def test_a_fact_has_the_date_of_its_value() -> None:
    assert recorded("a--")["facts"] == {"context": {"value": 97, "source": "native", "date": "2026-11-21"}}
    kept = recorded("abb")["facts"]
    assert kept == {"context": {"value": 97, "source": "native", "date": "2026-11-21"}}
    before = shown("a", CATALOGUE)
    assert isinstance(before, Recorded)
    again = merged(before.record.fields, _listed("a"), "2026-11-21T12:00:00+00:00").fields
    assert again["facts"]["context"]["date"] == "2026-01-01"
    assert again["since"] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("recorded", "known", "gone", "listed", "guard"),
    [
        (10, 10, 3, 7, None),
        (10, 10, 4, 6, Guard.SHRINK),
        (10, 10, 10, 3, Guard.SHRINK),
        (10, 10, 10, 0, Guard.EMPTY),
        (3, 0, 0, 0, Guard.EMPTY),
        (0, 0, 0, 0, None),
        (0, 0, 0, 5, None),
    ],
)
def test_lists_that_shrink_too_much_or_are_empty_are_guarded(
    recorded: int, known: int, gone: int, listed: int, guard: Guard | None
) -> None:
    assert vanished(recorded=recorded, known=known, gone=gone, listed=listed) is guard
