"""Recorded against real: what is made of what any number of sides show."""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest

from trueup.core.audit import Judged, Method, audit, decide, judge, planned
from trueup.core.model import (
    LOCAL,
    REMOTE,
    Content,
    Damaged,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Record,
    Recorded,
    Shown,
    Side,
    Token,
    Unknown,
)
from trueup.core.plan import Phase, Ref, Step
from trueup.core.table import Act, Rule, Standing, Table, Verb, words

RECORD, CACHE = Side("record"), Side("cache")
SIDES = (RECORD, LOCAL, REMOTE)
ADD = Act(Verb.RECORD_ADD, RECORD, LOCAL)
CHANGE = Act(Verb.RECORD_CHANGE, RECORD, LOCAL)
FORGET = Act(Verb.RECORD_REMOVE, RECORD)
UPLOAD, DOWNLOAD = Act(Verb.PUT, REMOTE, LOCAL), Act(Verb.PUT, LOCAL, REMOTE)
TOLD = Rule("told", (Act(Verb.ACT, CACHE), ADD))
RULES = {
    "aaa": Rule("agree"),
    "a--": Rule("lost", (FORGET,)),
    "-a-": Rule("new", (UPLOAD, ADD)),
    "aba": Rule("changed", (UPLOAD, CHANGE)),
    "ax-": Rule("damaged", standing=Standing.DAMAGED, why="here: {local}"),
    "-x-": Rule("bare", standing=Standing.DAMAGED),
    "--a": Rule("orphan", (Act(Verb.DELETE, REMOTE),)),
}

Seen = Mapping[Side, Shown]


def content(text: str) -> Content:
    return Content(Kind.FILE, len(text), Fingerprint("x", text))


def held(text: str) -> Entry:
    return Entry(Token(f"v-{text}"), content(text), 7, 0o600)


def recorded(text: str) -> Recorded:
    return Recorded(Token(f"r-{text}"), Record.of({"is": text}))


def identity(_: Side, shown: Entry | Recorded) -> object:
    if isinstance(shown, Recorded):
        return shown.record.fields["is"]
    return shown.token.removeprefix("v-")


def record(key: Key, seen: Seen, _: Act) -> Record:
    shown = seen.get(LOCAL)
    assert isinstance(shown, Entry)
    return Record.of({"is": identity(LOCAL, shown), "of": key})


def method(*, records: bool = True) -> Method:
    every = {word: Rule("left", standing=Standing.CONFLICT) for word in words(3, damageable=[1])}
    table = Table(SIDES, every | RULES, damageable=(LOCAL,))
    return Method(table, identity, record if records else None)


def steps(seen: Seen, rule: Rule | None = None, *, records: bool = True) -> tuple[Step, ...]:
    how = method(records=records)
    judged = judge(Key("k"), seen, how) if rule is None else Judged(Key("k"), seen, rule)
    (item,) = planned([judged], how)
    return item.steps


def test_what_agrees_is_counted_and_the_rest_is_listed_in_order() -> None:
    how = method()
    same: Seen = {RECORD: recorded("one"), LOCAL: held("one"), REMOTE: held("one")}
    new: Seen = {LOCAL: held("two")}
    all_ = [("b", same), ("\udcff", new), ("\U00010000", new)]
    items, agreed = audit([judge(Key(key), seen, how) for key, seen in all_], how)
    assert agreed == 1
    assert [item.key for item in items] == ["\U00010000", "\udcff"], "by bytes"
    assert len({step.id for item in items for step in item.steps}) == 4


def test_one_record_on_all_sides_agrees_and_is_not_read() -> None:
    def read(_: Side, __: Entry | Recorded) -> object:
        raise AssertionError("it was read")

    seen: Seen = {side: recorded("one") for side in SIDES}
    assert decide(Key("k"), seen, replace(method(), identity=read)).reason == "agree"


def test_what_need_not_be_read_is_decided_as_if_it_were() -> None:
    anything: list[Shown] = [None, recorded("one"), recorded("two"), held("one"), held("two"), Unknown("hung")]
    for shown in itertools.product(anything, [*anything, Damaged("cut", Token("t"))], anything):
        if not any(shown):
            continue
        seen = dict(zip(SIDES, shown, strict=True))
        assert decide(Key("k"), seen, method()) == decide(Key("k"), seen, reading_all(seen)), seen


def reading_all(seen: Seen) -> Method:
    told = {side: identity(side, one) for side, one in seen.items() if isinstance(one, Entry | Recorded)}
    return replace(method(), contents=lambda _: told)


def test_content_comes_before_its_record_which_waits_for_it() -> None:
    put, add = steps({LOCAL: held("one")})
    assert (put.verb, put.side, put.expect, put.needs) == (Verb.PUT, REMOTE, None, ())
    assert put.value == Ref(LOCAL, Key("k"), Token("v-one"), content("one"), 7, 0o600)
    assert (add.verb, add.side, add.expect, add.needs) == (Verb.RECORD_ADD, RECORD, None, (put.id,))
    assert add.record == Record.of({"is": "one", "of": "k"})


def test_what_is_overwritten_is_saved_first() -> None:
    save, put, change = steps({RECORD: recorded("old"), LOCAL: held("new"), REMOTE: held("old")})
    assert (save.verb, save.side, save.expect) == (Verb.SAVE, REMOTE, "v-old")
    assert (put.expect, put.needs) == ("v-old", (save.id,))
    assert (change.verb, change.expect, change.needs) == (Verb.RECORD_CHANGE, "r-old", (save.id, put.id))


def test_a_record_that_goes_expects_the_one_that_was_seen_and_goes_last() -> None:
    how = method()
    (item,) = planned([judge(Key("k"), {RECORD: recorded("one")}, how)], how)
    (forget,) = item.steps
    assert (forget.verb, forget.expect, forget.record) == (Verb.RECORD_REMOVE, "r-one", None)
    assert item.phase is Phase.DELETE


def test_what_is_deleted_is_saved() -> None:
    save, delete = steps({REMOTE: held("one")})
    assert (save.verb, delete.verb, delete.needs) == (Verb.SAVE, Verb.DELETE, (save.id,))


def test_an_act_is_told_what_the_kind_records_and_what_follows_waits_for_it() -> None:
    seen = {LOCAL: held("one"), REMOTE: held("one")}
    act, add = steps(seen, TOLD)
    assert (act.verb, act.side, act.expect, act.record) == (Verb.ACT, CACHE, None, Record.of({"is": "one", "of": "k"}))
    assert add.needs == (act.id,)
    act, add = steps(seen, TOLD, records=False)
    assert (act.record, add.record) == (None, None)


def test_a_source_that_is_not_there_gives_no_value() -> None:
    (put,) = steps({}, Rule("odd", (DOWNLOAD,)))
    assert put.value is None


@pytest.mark.parametrize(
    ("seen", "reason", "standing", "why"),
    [
        ({RECORD: recorded("one"), LOCAL: Damaged("cut", Token("t"), 3)}, "damaged", Standing.DAMAGED, "here: cut"),
        ({LOCAL: Damaged("cut", Token("t"))}, "bare", Standing.DAMAGED, "local: cut"),
        ({RECORD: recorded("one"), LOCAL: Unknown("hung")}, "unknown", Standing.UNKNOWN, "local: hung"),
        ({REMOTE: Unknown("down"), LOCAL: Unknown("hung")}, "unknown", Standing.UNKNOWN, "remote: down; local: hung"),
    ],
)
def test_damaged_is_not_present_and_unknown_is_not_missing(
    seen: Seen, reason: str, standing: Standing, why: str
) -> None:
    how = method()
    (item,) = planned([judge(Key("k"), seen, how)], how)
    assert (item.reason, item.standing, item.steps, item.why) == (reason, standing, (), why)


def test_what_is_damaged_can_be_replaced_by_its_version() -> None:
    save, put = steps({LOCAL: Damaged("cut", Token("t"), 3), REMOTE: held("one")}, Rule("mended", (DOWNLOAD,)))
    assert (save.expect, put.expect) == ("t", "t")


def test_a_side_outside_the_table_informs_and_decides_nothing() -> None:
    seen: Seen = {RECORD: recorded("one"), LOCAL: held("one"), REMOTE: held("one"), CACHE: Unknown("down")}
    assert judge(Key("k"), seen, method()).rule.reason == "agree"


def test_equal_fields_make_one_record() -> None:
    assert Record.of({"b": 1, "a": "é"}) == Record.of({"a": "é", "b": 1})
    assert Record.of({"a": [1]}).fields == {"a": [1]}
