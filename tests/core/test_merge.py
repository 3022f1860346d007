"""Finding what differs, chunk by chunk."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from trueup.core.merge import Merge, Shadow, Suspect, Tally
from trueup.core.model import (
    DIRECTORY_TOKEN,
    LOCAL,
    OPAQUE_TOKEN,
    REMOTE,
    UNTRUSTED,
    AncestorRow,
    Kind,
    Row,
    Side,
    Token,
    key_bytes,
    key_from_bytes,
)

THEN = "t"


def row(key: str | bytes, token: str = THEN, kind: Kind = Kind.FILE) -> Row:
    raw = key.encode() if isinstance(key, str) else key
    if kind is Kind.DIRECTORY:
        token = DIRECTORY_TOKEN
    elif kind is not Kind.FILE:
        token = OPAQUE_TOKEN
    return raw, Token(token), kind, 1, 1, None, "why" if token == OPAQUE_TOKEN else ""


def was(key: str | bytes, local: str = THEN, remote: str = THEN) -> AncestorRow:
    return key.encode() if isinstance(key, str) else key, Token(local), Token(remote)


def keys(suspects: list[Suspect]) -> list[str]:
    return [suspect[0] for suspect in suspects]


def test_what_plainly_agrees_is_counted_and_nothing_more() -> None:
    merge = Merge()
    assert merge.feed([row("a"), row("b")], [row("a"), row("b")], [was("a"), was("b")]) == []
    assert (merge.agreed, merge.ancestors) == (2, 2)
    assert merge.tallies == {LOCAL: Tally(2, 2), REMOTE: Tally(2, 2)}


def test_a_difference_is_found_among_what_agrees() -> None:
    merge = Merge()
    local = [row("a"), row("b", "new"), row("c")]
    remote = [row("a"), row("b"), row("d")]
    ancestor = [was("a"), was("b"), was("c")]
    suspects = merge.feed(local, remote, ancestor)
    assert suspects == [
        ("b", local[1], remote[1], ancestor[1]),
        ("c", local[2], None, ancestor[2]),
        ("d", None, remote[2], None),
    ]
    assert (merge.agreed, merge.ancestors) == (1, 3)
    assert merge.tallies == {LOCAL: Tally(3, 2), REMOTE: Tally(3, 2)}


def test_equal_tokens_of_two_sides_agree_on_nothing_without_an_ancestor() -> None:
    assert keys(Merge().feed([row("a")], [row("a")], [])) == ["a"]


def test_each_side_is_compared_with_its_own_token() -> None:
    assert Merge().feed([row("a", "1")], [row("a", "2")], [was("a", "1", "2")]) == []
    assert keys(Merge().feed([row("a", "2")], [row("a", "1")], [was("a", "1", "2")])) == ["a"]
    assert keys(Merge().feed([row("a", "1")], [row("a", "1")], [was("a", "1", "2")])) == ["a"]


def test_equal_tokens_under_other_keys_agree_on_nothing() -> None:
    assert keys(Merge().feed([row("a")], [row("b")], [was("a")])) == ["a", "b"]
    assert keys(Merge().feed([row("b")], [row("a")], [was("a")])) == ["a", "b"]


def test_a_token_that_was_not_trusted_is_always_a_suspect() -> None:
    assert keys(Merge().feed([row("a")], [row("a")], [was("a", UNTRUSTED)])) == ["a"]


def test_what_cannot_be_judged_never_agrees() -> None:
    opaque = row("a", kind=Kind.UNREADABLE)
    assert keys(Merge().feed([opaque], [row("a")], [was("a")])) == ["a"]
    assert keys(Merge().feed([opaque], [row("a")], [was("a", UNTRUSTED)])) == ["a"]


def test_where_versions_count_for_nothing_every_key_is_a_suspect() -> None:
    merge = Merge(distrust=True)
    assert keys(merge.feed([row("a")], [row("a")], [was("a")])) == ["a"]
    assert (merge.agreed, merge.tallies[LOCAL]) == (0, Tally(1, 1))


def test_unchanged_directories_do_not_hide_that_every_file_changed() -> None:
    directory, known = row("d/", kind=Kind.DIRECTORY), was("d/", DIRECTORY_TOKEN, DIRECTORY_TOKEN)
    plain, mixed, other = Merge(), Merge(), Merge()
    plain.feed([directory], [directory], [known])
    mixed.feed([directory, row("d/a", "new")], [directory, row("d/a", "new")], [known, was("d/a")])
    other.feed([directory], [], [known])
    for merge in (plain, mixed, other):
        assert {merge.tallies[side].unchanged for side in (LOCAL, REMOTE)} == {0}
    assert (plain.agreed, mixed.agreed, other.agreed) == (1, 1, 0)


# -- shadows ---------------------------------------------------------------------------------------------------------


def test_an_unreadable_directory_hides_what_is_below_and_counts_it() -> None:
    merge = Merge()
    suspects = merge.feed(
        [row("d/", kind=Kind.UNREADABLE), row("e")],
        [row("d/", kind=Kind.DIRECTORY), row("d/a"), row("d/b/", kind=Kind.DIRECTORY), row("d/b/c"), row("e")],
        [was("d/a"), was("d/gone")],
    )
    assert keys(suspects) == ["d/", "e"]
    assert merge.shadows == {LOCAL: {b"d": Shadow(b"d/", "why", Kind.UNREADABLE, hidden=4)}, REMOTE: {}}


def test_a_link_hides_the_directory_of_its_name() -> None:
    merge = Merge()
    suspects = merge.feed(
        [row("d/", kind=Kind.DIRECTORY), row("d/a")],
        [row("d", kind=Kind.SKIPPED)],
        [was("d/", DIRECTORY_TOKEN, DIRECTORY_TOKEN), was("d/a")],
    )
    assert keys(suspects) == ["d"]
    assert merge.shadows[REMOTE][b"d"].hidden == 2


def test_a_shadow_falls_on_what_is_below_only() -> None:
    merge = Merge()
    local = [row("d", kind=Kind.SKIPPED)]
    remote = [row("d!"), row("d.txt"), row("d/a"), row("da"), row("e/d")]
    assert keys(merge.feed(local, remote, [])) == ["d", "d!", "d.txt", "da", "e/d"]


def test_a_shadow_reaches_into_later_chunks() -> None:
    merge = Merge()
    assert keys(merge.feed([row("d/", kind=Kind.UNREADABLE)], [], [])) == ["d/"]
    assert merge.feed([], [row("d/a")], [was("d/a")]) == []
    assert merge.shadows[LOCAL][b"d"].hidden == 1


# -- chunks ----------------------------------------------------------------------------------------------------------

names = st.sampled_from([b"a", b"a!", b"a/", b"a/b", b"a/b/", b"a/b/c", b"\xff", b"\xee\x80\x80", b"\x80", b"z/"])
tokens = st.sampled_from(["1", "2"])
kinds = st.sampled_from([Kind.FILE, Kind.FILE, Kind.FILE, Kind.SKIPPED, Kind.UNREADABLE])


def _kind(raw: bytes, kind: Kind) -> Kind:
    return Kind.DIRECTORY if raw.endswith(b"/") and kind is Kind.FILE else kind


sides = st.dictionaries(names, st.tuples(tokens, kinds)).map(
    lambda drawn: [row(raw, token, _kind(raw, kind)) for raw, (token, kind) in sorted(drawn.items())]
)
ancestors = st.dictionaries(names, st.tuples(tokens, tokens)).map(
    lambda drawn: [was(raw, *pair) for raw, pair in sorted(drawn.items())]
)


def _below(rows: list[Row] | list[AncestorRow], bound: bytes) -> int:
    return bisect_left([row[0] for row in rows], bound)


@given(sides, sides, ancestors, st.lists(names))
def test_where_chunks_are_cut_does_not_matter(
    local: list[Row], remote: list[Row], ancestor: list[AncestorRow], bounds: list[bytes]
) -> None:
    whole, parts = Merge(), Merge()
    expected = whole.feed(local, remote, ancestor)
    found: list[Suspect] = []
    low = b""
    for high in [*sorted(bounds), b"\xff\xff"]:
        found += parts.feed(
            local[_below(local, low) : _below(local, high)],
            remote[_below(remote, low) : _below(remote, high)],
            ancestor[_below(ancestor, low) : _below(ancestor, high)],
        )
        low = high
    assert found == expected
    assert parts == whole
    assert [key_bytes(suspect[0]) for suspect in found] == sorted(key_bytes(suspect[0]) for suspect in found)


def test_few_differences_in_a_long_chunk_are_found_in_order() -> None:
    many = [f"{n:04}" for n in range(1000)]
    local = [row(key, "new" if key in ("0000", "0500", "0999") else "t") for key in many]
    remote = [row(key) for key in many if key != "0250"]
    merge = Merge()
    suspects = merge.feed(local, remote, [was(key) for key in many if key != "0750"])
    assert keys(suspects) == ["0000", "0250", "0500", "0750", "0999"]
    assert merge.agreed == 995
    assert (merge.tallies[LOCAL], merge.tallies[REMOTE]) == (Tally(1000, 996), Tally(999, 998))


@given(sides, sides, ancestors)
def test_both_sides_are_treated_alike(local: list[Row], remote: list[Row], ancestor: list[AncestorRow]) -> None:
    one, two = Merge(), Merge()
    swapped = [(raw, theirs, mine) for raw, mine, theirs in ancestor]
    seen = [(key, theirs, mine, base and base[0]) for key, mine, theirs, base in two.feed(remote, local, swapped)]
    assert [
        (key, mine, theirs, base and base[0]) for key, mine, theirs, base in one.feed(local, remote, ancestor)
    ] == seen
    assert {side: one.tallies[side] for side in (LOCAL, REMOTE)} == {
        side: two.tallies[_other(side)] for side in (LOCAL, REMOTE)
    }


def _other(side: Side) -> Side:
    return REMOTE if side == LOCAL else LOCAL


def test_suspects_come_in_the_order_of_bytes_not_of_characters() -> None:
    raws = [b"\x80", "\ue000".encode(), "\U0001f600".encode(), b"\xff"]
    suspects = Merge().feed([row(raw) for raw in raws], [], [])
    assert keys(suspects) == [key_from_bytes(raw) for raw in raws]
    assert keys(suspects) != sorted(keys(suspects))
