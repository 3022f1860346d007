"""One key: what has to be looked at first, what is not ours to judge, how siblings are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Seen,
    Side,
    Token,
    Unknown,
)
from trueup.core.reconcile import (
    SIBLING_DIGITS,
    LookCloser,
    Reason,
    decide,
    is_sibling,
    other,
    reconcile,
    sibling_key,
    spell,
)
from trueup.core.strategy import Conflict, Direction, Policy
from trueup.core.table import Rule

NOW = 10**18
KEY = Key("f.txt")


def file(text: str | None = None, *, size: int = 1, algorithm: str = "blake3") -> Entry:
    """A file; without a text, one that was not fingerprinted."""
    fingerprint = None if text is None else Fingerprint(algorithm, text.encode().hex())
    return Entry(Token("now"), Content(Kind.FILE, size, fingerprint))


def agreed(text: str | None, *, size: int = 1, algorithm: str = "blake3") -> Ancestor:
    return Ancestor(Token("then"), Token("then"), file(text, size=size, algorithm=algorithm).content)


def rule(
    local: Seen, remote: Seen, ancestor: Ancestor | None = None, policy: Policy | None = None
) -> Rule | LookCloser:
    return reconcile(Difference(KEY, local, remote, ancestor), policy or Policy(), now_ns=NOW)


def reason(local: Seen, remote: Seen, ancestor: Ancestor | None = None, policy: Policy | None = None) -> str:
    decided = rule(local, remote, ancestor, policy)
    assert isinstance(decided, Rule)
    return decided.reason


# -- looking closer --------------------------------------------------------------------------------------------------


def test_files_of_one_size_are_looked_at_where_they_are_not_fingerprinted() -> None:
    assert rule(file(), file()) == LookCloser((LOCAL, REMOTE))
    assert rule(file("a"), file()) == LookCloser((REMOTE,))
    assert rule(file(), file("a")) == LookCloser((LOCAL,))
    assert rule(file(), None, agreed("a")) == LookCloser((LOCAL,))
    assert rule(None, file(), agreed("a")) == LookCloser((REMOTE,))


def test_another_size_is_another_content_without_a_look() -> None:
    assert reason(file(size=1), file(size=2)) == Reason.CONFLICT
    assert reason(file(size=2), file("a"), agreed("a")) == Reason.UPDATE
    assert reason(file(size=2), None, agreed("a")) == Reason.EDIT_BEATS_DELETE


def test_a_side_whose_size_says_enough_is_not_read() -> None:
    assert rule(file(size=2), file(size=1), agreed("a", size=1)) == LookCloser((REMOTE,))
    assert rule(file(size=1), file(size=2), agreed("a", size=1)) == LookCloser((LOCAL,))


def test_a_side_with_the_size_of_the_ancestor_is_read_before_it_is_called_unchanged() -> None:
    assert rule(file(), file("a"), agreed("a")) == LookCloser((LOCAL,))
    assert reason(file("b"), file("a"), agreed("a")) == Reason.UPDATE


def test_fingerprints_of_two_algorithms_are_no_difference_but_a_reason_to_look_at_both() -> None:
    assert rule(file("a"), file("a", algorithm="md5")) == LookCloser((LOCAL, REMOTE))
    assert rule(file("a"), file("b", algorithm="md5"), agreed("a")) == LookCloser((LOCAL, REMOTE))


@pytest.mark.parametrize("ancestor", [agreed(None), agreed("a", algorithm="md5")])
def test_an_ancestor_that_cannot_be_compared_counts_as_lost(ancestor: Ancestor) -> None:
    assert reason(file("a"), None, ancestor) == Reason.CREATE
    assert reason(None, file("a"), ancestor) == Reason.CREATE
    assert reason(file("a"), file("a"), ancestor) == Reason.ADOPT
    assert reason(file("a"), file("b"), ancestor) == Reason.CONFLICT


def test_directories_are_equal_whatever_they_hold() -> None:
    key = Key("d/")
    one, two = (Entry(DIRECTORY_TOKEN, Content(Kind.DIRECTORY, excluded)) for excluded in (0, 3))
    agreed_on = Ancestor(DIRECTORY_TOKEN, DIRECTORY_TOKEN, DIRECTORY_CONTENT)
    assert spell(Difference(key, one, two, None)) == "-aa"
    assert spell(Difference(key, one, two, agreed_on)) == "aaa"
    assert spell(Difference(key, one, None, agreed_on)) == "aa-"


def test_two_kinds_are_never_equal() -> None:
    assert spell(Difference(Key("d"), file("a"), Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT), None)) == "-ab"


def test_every_pattern_has_its_word() -> None:
    one, two, old = file("b"), file("c"), file("a")
    words: dict[str, tuple[Seen, Seen]] = {
        "aaa": (old, old),
        "aab": (old, one),
        "aba": (one, old),
        "abb": (one, one),
        "abc": (one, two),
        "a--": (None, None),
        "aa-": (old, None),
        "ab-": (one, None),
        "a-a": (None, old),
        "a-b": (None, one),
    }
    for spelled, (local, remote) in words.items():
        assert spell(Difference(KEY, local, remote, agreed("a"))) == spelled
    assert [spell(Difference(KEY, one, there, None)) for there in (None, one, two)] == ["-a-", "-aa", "-ab"]
    assert spell(Difference(KEY, None, one, None)) == "--a"


def test_a_word_that_cannot_be_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such word: bbb"):
        decide("bbb", Policy(), None)


def test_both_are_kept_only_when_the_loser_can_be_named() -> None:
    policy = Policy(conflict=Conflict.BACKUP_BOTH)
    assert rule(file(size=2), file("a"), None, policy) == LookCloser((LOCAL,))
    assert reason(file("b", size=2), file(), None, policy) == Reason.KEEP_BOTH
    push = Policy(Direction.PUSH, Conflict.BACKUP_BOTH)
    assert rule(file("b", size=2), file(), None, push) == LookCloser((REMOTE,))


def test_the_newest_wins_by_the_times_of_the_entries() -> None:
    policy = Policy(conflict=Conflict.NEWEST_WINS)
    old, new = (Entry(Token("t"), file(text).content, when) for text, when in (("a", 1), ("b", 9_000_000_000)))
    assert reason(old, new, None, policy) == Reason.REMOTE_WINS
    assert reason(new, old, None, policy) == Reason.LOCAL_WINS
    assert reason(new, new, agreed("a"), policy) == Reason.ADOPT
    assert reason(file("a"), file("b"), None, policy) == Reason.CONFLICT


# -- what is not ours to judge ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ancestor", [None, agreed("a")])
@pytest.mark.parametrize("there", [None, file("a"), file("b")])
def test_an_unreadable_item_is_unknown_whatever_the_other_side_holds(there: Seen, ancestor: Ancestor | None) -> None:
    for local, remote in ((Unknown("no permission"), there), (there, Unknown("no permission"))):
        assert rule(local, remote, ancestor) == Rule(Reason.UNKNOWN)


def test_a_link_alone_is_skipped_and_nobody_misses_it() -> None:
    link = Unknown("a link", Kind.SKIPPED)
    assert rule(link, None) == Rule(Reason.SKIPPED)
    assert rule(None, link) == Rule(Reason.SKIPPED)
    assert rule(link, link) == Rule(Reason.SKIPPED)


def test_a_link_in_the_place_of_something_is_unknown() -> None:
    link = Unknown("a link", Kind.SKIPPED)
    assert rule(link, file("a")) == Rule(Reason.UNKNOWN)
    assert rule(link, None, agreed("a")) == Rule(Reason.UNKNOWN)
    assert rule(link, link, agreed("a")) == Rule(Reason.UNKNOWN)
    assert rule(Unknown("a link", Kind.SKIPPED, hidden=1), None) == Rule(Reason.UNKNOWN)
    assert rule(link, Unknown("no permission")) == Rule(Reason.UNKNOWN)


@pytest.mark.parametrize("there", [None, file("a"), Unknown("too big", Kind.FILTERED)])
@pytest.mark.parametrize("ancestor", [None, agreed("a")])
def test_what_a_filter_excludes_is_skipped_even_if_it_was_agreed(there: Seen, ancestor: Ancestor | None) -> None:
    excluded = Unknown("too big", Kind.FILTERED, hidden=2)
    assert rule(excluded, there, ancestor) == Rule(Reason.SKIPPED)
    assert rule(there, excluded, ancestor) == Rule(Reason.SKIPPED)


# -- siblings --------------------------------------------------------------------------------------------------------

PRINT = Fingerprint("blake3", "0123456789abcdef")


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("f.txt", "f.conflict-local-01234567.txt"),
        ("d/f.txt", "d/f.conflict-local-01234567.txt"),
        ("d.x/f", "d.x/f.conflict-local-01234567"),
        ("f", "f.conflict-local-01234567"),
        (".hidden", ".hidden.conflict-local-01234567"),
        ("d/.hidden", "d/.hidden.conflict-local-01234567"),
        (".hidden.txt", ".hidden.conflict-local-01234567.txt"),
        ("f.tar.gz", "f.tar.conflict-local-01234567.gz"),
        ("f.", "f.conflict-local-01234567."),
    ],
)
def test_a_sibling_is_named_after_its_content_and_keeps_the_extension(key: str, named: str) -> None:
    assert sibling_key(Key(key), LOCAL, PRINT) == named


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from([LOCAL, REMOTE]))
def test_the_name_of_a_sibling_is_known_again_and_stays_in_its_directory(name: str, side: Side) -> None:
    key = Key(f"d/{name.replace('/', '_')}")
    sibling = sibling_key(key, side, PRINT)
    assert is_sibling(sibling)
    assert sibling.startswith("d/")
    assert sibling != key


@pytest.mark.parametrize(
    "key",
    [
        "f.txt",
        "f.conflict-local-0123456.txt",
        "f.conflict-local-012345678.txt",
        "f.conflict-nobody-01234567.txt",
        "f.conflict-local-0123456X.txt",
        "d.conflict-local-01234567.x/f.txt",
        "f.conflict-local-01234567\n",
    ],
)
def test_other_names_are_no_siblings(key: str) -> None:
    assert not is_sibling(Key(key))


@pytest.mark.parametrize("digits", SIBLING_DIGITS)
def test_a_longer_name_is_a_sibling_s_too(digits: int) -> None:
    long = Fingerprint("blake3", "0123456789abcdef" * 4)
    assert sibling_key(Key("f.x"), LOCAL, long, digits) == f"f.conflict-local-{long.digest[:digits]}.x"
    assert is_sibling(sibling_key(Key("f.x"), LOCAL, long, digits))
    assert not is_sibling(sibling_key(Key("f.x"), LOCAL, long, digits - 1))


def test_a_sibling_never_gets_siblings() -> None:
    policy = Policy(conflict=Conflict.BACKUP_BOTH)
    key = sibling_key(KEY, REMOTE, PRINT)
    decided = reconcile(Difference(key, file("a"), file("b"), None), policy, now_ns=NOW)
    assert decided == Rule(Reason.CONFLICT)


def test_there_are_two_sides() -> None:
    assert (other(LOCAL), other(REMOTE)) == (REMOTE, LOCAL)
