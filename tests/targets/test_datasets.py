"""The table of datasets word by word, what counts as the same content, and what is recorded of it."""

from __future__ import annotations

import string
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.errors import UsageError
from trueup.core.model import LOCAL, REMOTE, Content, Entry, Key, Kind, Record, Recorded, Shown, Side, Token
from trueup.core.strategy import Conflict
from trueup.core.table import Standing, Verb, words
from trueup.targets.datasets import (
    MANIFEST,
    Datasets,
    Layout,
    entry_of,
    filled,
    fits,
    identities,
    modified_of,
    same,
    size_of,
    table,
    told_by_record,
    unsafe,
)

VARIANTS = list(product(Conflict, [False, True]))
SIDES = (MANIFEST, LOCAL, REMOTE)
MD5, OTHER, BLAKE3 = "a" * 32, "b" * 32, "c" * 64


def applied(word: str, conflict: Conflict, *, delete_orphans: bool) -> tuple[dict[Side, str], set[str]]:
    """What the sides hold after the rule's acts, and what lies in the trash."""
    held = {side: letter for side, letter in zip(SIDES, word, strict=True) if letter != "-"}
    trash = set()
    for act in table(conflict=conflict, delete_orphans=delete_orphans).rules[word].acts:
        match act.verb:
            case Verb.PUT:
                assert act.source in (LOCAL, REMOTE)
                trash |= {held[act.side]} if act.side in held else set()
                held[act.side] = held[act.source]
            case Verb.DELETE:
                trash.add(held.pop(act.side))
            case Verb.RECORD_ADD:
                assert act.side not in held
                assert act.source is not None
                held[act.side] = held[act.source]
            case Verb.RECORD_CHANGE:
                assert act.side in held
                assert act.source is not None
                held[act.side] = held[act.source]
            case Verb.RECORD_REMOVE:
                del held[act.side]
            case _:
                pytest.fail(f"{act.verb} in a table of datasets")
    return held, trash


@pytest.mark.parametrize(("conflict", "delete_orphans"), VARIANTS)
@pytest.mark.parametrize("word", list(words(3)))
def test_no_content_is_lost(word: str, conflict: Conflict, *, delete_orphans: bool) -> None:
    held, trash = applied(word, conflict, delete_orphans=delete_orphans)
    assert set(word[1:]) - {"-"} <= {held.get(LOCAL), held.get(REMOTE)} | trash


@pytest.mark.parametrize(("conflict", "delete_orphans"), VARIANTS)
@pytest.mark.parametrize("word", list(words(3)))
def test_afterwards_all_agree_or_a_person_is_asked(word: str, conflict: Conflict, *, delete_orphans: bool) -> None:
    rule = table(conflict=conflict, delete_orphans=delete_orphans).rules[word]
    held, _ = applied(word, conflict, delete_orphans=delete_orphans)
    if rule.standing is Standing.CONFLICT:
        assert not rule.acts
        assert word in ("abc", "-ab")
    else:
        assert len(set(held.values())) <= 1
        assert set(held) in (set(), set(SIDES)), "a copy here, a copy there, and recorded: or nothing at all"


@pytest.mark.parametrize("conflict", list(Conflict))
def test_only_orphans_are_ever_deleted_and_only_if_that_was_said(conflict: Conflict) -> None:
    for delete_orphans in (False, True):
        rules = table(conflict=conflict, delete_orphans=delete_orphans).rules
        deleting = {word for word, rule in rules.items() if any(act.verb is Verb.DELETE for act in rule.acts)}
        assert deleting == ({"-a-", "--a", "-aa", "-ab"} if delete_orphans else set())


@pytest.mark.parametrize(("conflict", "delete_orphans"), VARIANTS)
def test_an_entry_is_removed_only_if_nothing_is_anywhere(conflict: Conflict, *, delete_orphans: bool) -> None:
    rules = table(conflict=conflict, delete_orphans=delete_orphans).rules
    assert [word for word, rule in rules.items() for act in rule.acts if act.verb is Verb.RECORD_REMOVE] == ["a--"]


@pytest.mark.parametrize(("conflict", "delete_orphans"), VARIANTS)
def test_content_is_written_before_it_is_recorded(conflict: Conflict, *, delete_orphans: bool) -> None:
    for rule in table(conflict=conflict, delete_orphans=delete_orphans).rules.values():
        sides = [act.side == MANIFEST for act in rule.acts]
        assert sides == sorted(sides)


def test_every_rule_says_why() -> None:
    for conflict, delete_orphans in VARIANTS:
        rules = table(conflict=conflict, delete_orphans=delete_orphans).rules
        assert all(rule.why for word, rule in rules.items() if word != "aaa")


def test_unknown_is_never_acted_on() -> None:
    decided = table(delete_orphans=True).decide("-?a")
    assert not decided.acts
    assert decided.standing is Standing.UNKNOWN


# -- the same content ----------------------------------------------------------------------------------------------


def test_digests_prove_and_etags_prove_only_that_content_is_the_same() -> None:
    assert same({"md5": MD5}, {"md5": MD5}) is True
    assert same({"md5": MD5}, {"md5": OTHER}) is False
    assert same({"md5": MD5}, {"etag": MD5}) is True
    assert same({"md5": MD5}, {"etag": OTHER}) is None, "it may be encrypted"
    assert same({"etag": "x-3"}, {"etag": "x-3"}) is True
    assert same({"etag": "x-3"}, {"etag": "y-3"}) is None
    assert same({"blake3": BLAKE3, "md5": MD5}, {"blake3": BLAKE3, "etag": "x-3"}) is True
    assert same({}, {}) is None


def test_sides_are_told_who_holds_the_same() -> None:
    found = identities({MANIFEST: {"md5": MD5}, LOCAL: {"md5": MD5}, REMOTE: {"md5": OTHER}})
    assert found == {LOCAL: LOCAL, REMOTE: REMOTE, MANIFEST: LOCAL}
    assert identities({MANIFEST: {}, REMOTE: {"md5": MD5}}) == {REMOTE: REMOTE, MANIFEST: MANIFEST}


@pytest.mark.parametrize(
    ("fields", "evidence"),
    [
        ({"md5_hash": MD5.upper()}, {"md5": MD5}),
        ({"etag": f'"{MD5}"'}, {"etag": MD5, "md5": MD5}),
        ({"etag": "abc-3"}, {"etag": "abc-3"}),
        ({"md5_hash": MD5, "blake3_hash": BLAKE3}, {"md5": MD5, "blake3": BLAKE3}),
        ({"md5_hash": "unknown", "etag": None}, {}),
    ],
)
def test_an_entry_tells_digests_however_they_are_spelled(fields: dict[str, object], evidence: object) -> None:
    assert told_by_record(fields) == evidence


def test_size_and_time_of_both_shapes() -> None:
    assert size_of({"size_bytes": 3}) == size_of({"size": 3}) == 3
    assert size_of({"size": "3"}) is None
    assert modified_of({"modified_timestamp": 1.5}) == 1.5
    assert modified_of({"last_modified": "1970-01-01T00:00:01Z"}) == 1.0
    assert modified_of({"last_modified": "1970-01-01T00:00:01"}) == 1.0, "a time without a zone is UTC"
    assert modified_of({"last_modified": "yesterday"}) is None
    assert modified_of({}) is None


# -- what is recorded ----------------------------------------------------------------------------------------------

SPEC = Datasets("x", "7", "7_x", "/p/m.json", "/p/data/7_x", "s3://b/pre/7_x/", folder="/p")
FILE = Entry(Token("t"), Content(Kind.FILE, 5), 1_500_000_000)


def test_a_new_entry_of_each_shape() -> None:
    listed = entry_of(SPEC, Key("a b.png"), {LOCAL: FILE}, LOCAL, {"md5": MD5, "blake3": BLAKE3}, listed=True)
    assert listed.fields == {
        "filename": "a b.png",
        "local_path": "data/7_x/a b.png",
        "s3_url": "s3://b/pre/7_x/a b.png",
        "size_bytes": 5,
        "modified_timestamp": 1.5,
        "md5_hash": MD5,
        "blake3_hash": BLAKE3,
        "status": "synced",
    }
    named = entry_of(SPEC, Key("a b.png"), {LOCAL: FILE}, LOCAL, {"md5": MD5}, listed=False)
    assert named.fields == {
        "s3_url": "s3://b/pre/7_x/a b.png",
        "s3_key": "pre/7_x/a b.png",
        "size": 5,
        "last_modified": "1970-01-01T00:00:01.500000+00:00",
        "etag": MD5,
    }


def test_a_changed_entry_keeps_what_nobody_here_knows_and_no_digest_of_other_content() -> None:
    old = {
        "filename": "a",
        "md5_hash": OTHER,
        "blake3_hash": BLAKE3,
        "caption": "a cup",
        "etag": OTHER,
        "size_bytes": 9,
    }
    seen: dict[Side, Shown] = {MANIFEST: Recorded(Token("v"), Record.of(old)), REMOTE: FILE}
    fields = entry_of(SPEC, Key("a"), seen, REMOTE, {"md5": MD5}, listed=True).fields
    assert fields["caption"] == "a cup"
    assert fields["md5_hash"] == fields["etag"] == MD5
    assert "blake3_hash" not in fields
    assert fields["size_bytes"] == 5


# -- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/b", "../x", "a\\b", ".hidden", "-f", "a\nb", "a\x7f", "a?b", "a#b", "\udce9", "x" * 201]
)
def test_what_cannot_be_a_part_of_a_path_is_refused(text: str) -> None:
    assert unsafe(text)
    layout = Layout("l/{actor_name}", "r/{actor_name}", "m/{actor_id}")
    for actor in ((text, "x"), ("x", text)):
        with pytest.raises(UsageError):
            layout.actor(*actor)


@given(st.text(alphabet=string.ascii_letters + string.digits + "_ é", min_size=1, max_size=50))
def test_ordinary_names_are_taken(text: str) -> None:
    assert unsafe(text) == ""


def test_a_template_is_filled_once() -> None:
    assert filled("d/{actor_name}/{actor_id}", "{actor_name}", "x") == "d/x/{actor_name}"
    assert filled("file:///d/{actor_name}", "1", "a b") == "file:///d/a%20b"


def test_a_name_is_its_id_or_begins_with_it() -> None:
    assert fits("0042", "0042")
    assert fits("0042", "0042_european")
    assert not fits("0042", "00421_european")
    assert not fits("0042", "0043_european")
