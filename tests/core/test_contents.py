"""What a kind knows of an item beside what its sides show: other tables for single items, contents by key."""

from __future__ import annotations

from trueup.core.audit import Method, audit, judge
from trueup.core.model import LOCAL, REMOTE, Content, Entry, Key, Kind, Token
from trueup.core.table import Act, Rule, Table, Verb

SEEN = {LOCAL: Entry(Token("l"), Content(Kind.FILE, 1)), REMOTE: Entry(Token("r"), Content(Kind.FILE, 1))}
RULES = {"aa": Rule("agree"), "ab": Rule("differs"), "a-": Rule("left"), "-a": Rule("right")}
UPLOAD = Rule("upload", (Act(Verb.PUT, REMOTE, LOCAL),))
ASKING, UPLOADING = Table((LOCAL, REMOTE), RULES), Table((LOCAL, REMOTE), RULES | {"ab": UPLOAD})


def test_another_table_can_hold_for_single_items() -> None:
    method = Method(ASKING, lambda side, _: side, choose=lambda key, _: UPLOADING if key == "mine" else ASKING)
    assert judge(Key("mine"), SEEN, method).rule is UPLOAD
    assert judge(Key("other"), SEEN, method).rule.reason == "differs"


def test_contents_that_are_known_by_key_count_in_place_of_what_sides_show() -> None:
    known = {Key("same"): {LOCAL: 1, REMOTE: 1}, Key("other"): {LOCAL: 1, REMOTE: 2}}
    method = Method(ASKING, lambda *_: "not asked", contents=known.__getitem__)
    items, agreed = audit([judge(Key(name), SEEN, method) for name in ("same", "other")], method)
    assert [item.key for item in items] == ["other"]
    assert agreed == 1
