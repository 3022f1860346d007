"""Tables over any number of sides."""

from __future__ import annotations

import pytest

from trueup.core.model import Side
from trueup.core.table import UNKNOWN_RULE, Act, Rule, Sign, Table, Verb, word, words

MANIFEST, LOCAL, REMOTE = Side("manifest"), Side("local"), Side("remote")


def test_equal_contents_share_a_letter_in_order_of_appearance() -> None:
    assert word(["x", "x", "y"]) == "aab"
    assert word(["y", None, "x"]) == "a-b"
    assert word([None, 7, 7]) == "-aa"


def test_damage_shows_where_something_is_and_unknown_everywhere() -> None:
    assert word(["x", Sign.DAMAGED, None]) == "ax-"
    assert word([Sign.UNKNOWN, "x"]) == "?a"


def test_a_damaged_side_lends_its_letter_to_nobody() -> None:
    assert word([Sign.DAMAGED, "y", "y"]) == "xaa"


def test_words_over_three_sides_are_complete() -> None:
    expected = {word(contents) for contents in _products(3, [None, 1, 2, 3])} - {"---"}
    assert set(words(3)) == expected
    assert len(list(words(3))) == len(expected) == 14


def test_words_with_damage_are_complete() -> None:
    expected = {word([one, other]) for one in (None, 1, 2) for other in (None, 1, 2, Sign.DAMAGED)}
    assert set(words(2, damageable=[1])) == expected - {"--"}


def _products(sides: int, contents: list[int | None]) -> list[list[int | None]]:
    if not sides:
        return [[]]
    return [[content, *rest] for content in contents for rest in _products(sides - 1, contents)]


UP = Act(Verb.PUT, REMOTE, LOCAL)
DOWN = Act(Verb.PUT, LOCAL, REMOTE)
DATASET = {
    "aaa": Rule("agree"),
    "aa-": Rule("upload", (UP,)),
    "a-a": Rule("download", (DOWN,)),
    "a--": Rule("gone", (Act(Verb.RECORD_REMOVE, MANIFEST),)),
    "-a-": Rule("upload", (UP, Act(Verb.RECORD_ADD, MANIFEST, LOCAL))),
    "--a": Rule("download", (DOWN, Act(Verb.RECORD_ADD, MANIFEST, REMOTE))),
    "-aa": Rule("untracked", (Act(Verb.RECORD_ADD, MANIFEST, LOCAL),)),
    "-ab": Rule("conflict"),
    "ab-": Rule("upload", (UP, Act(Verb.RECORD_CHANGE, MANIFEST, LOCAL))),
    "a-b": Rule("download", (DOWN, Act(Verb.RECORD_CHANGE, MANIFEST, REMOTE))),
    "aba": Rule("upload", (UP, Act(Verb.RECORD_CHANGE, MANIFEST, LOCAL))),
    "aab": Rule("download", (DOWN, Act(Verb.RECORD_CHANGE, MANIFEST, REMOTE))),
    "abb": Rule("moved on", (Act(Verb.RECORD_CHANGE, MANIFEST, LOCAL),)),
    "abc": Rule("conflict"),
}
SIDES = (MANIFEST, LOCAL, REMOTE)


def test_a_complete_table_decides_every_word() -> None:
    table = Table(SIDES, DATASET)
    assert [table.decide(spelled).reason for spelled in words(3)] == [DATASET[spelled].reason for spelled in words(3)]


def test_unknown_is_reported_and_never_acted_on() -> None:
    table = Table(SIDES, DATASET)
    for spelled in ("?aa", "a?-", "--?", "???"):
        assert table.decide(spelled) is UNKNOWN_RULE
    assert UNKNOWN_RULE.acts == ()


def test_a_missing_word_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no rule for abc"):
        Table(SIDES, {spelled: rule for spelled, rule in DATASET.items() if spelled != "abc"})


def test_an_impossible_word_is_refused() -> None:
    with pytest.raises(ValueError, match="impossible words bbb"):
        Table(SIDES, DATASET | {"bbb": Rule("never")})


def test_damage_has_to_be_decided_where_it_can_happen() -> None:
    with pytest.raises(ValueError, match="has no rule for"):
        Table(SIDES, DATASET, damageable=(LOCAL,))


def test_a_rule_for_a_side_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="writes elsewhere"):
        Table(SIDES, DATASET | {"aaa": Rule("agree", (Act(Verb.PUT, Side("elsewhere"), LOCAL),))})


@pytest.mark.parametrize("spelled", ["-a-", "-x-"])
def test_a_rule_that_copies_from_nothing_good_is_refused(spelled: str) -> None:
    rules = {known: Rule("report") for known in words(3, damageable=[1])}
    source = LOCAL if spelled == "-x-" else REMOTE
    with pytest.raises(ValueError, match="holds nothing good there"):
        Table(SIDES, rules | {spelled: Rule("copy", (Act(Verb.PUT, MANIFEST, source),))}, damageable=(LOCAL,))
