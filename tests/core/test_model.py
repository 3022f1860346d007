"""Keys, fingerprints, contents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trueup.core.model import (
    DIRECTORY_CONTENT,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Token,
    entry_from_row,
    is_directory,
    key_bytes,
    key_from_bytes,
    parents,
    range_below,
    same_content,
)


@given(st.binary())
def test_any_bytes_are_a_key_and_back(raw: bytes) -> None:
    assert key_bytes(key_from_bytes(raw)) == raw


def test_keys_are_ordered_by_bytes_not_by_characters() -> None:
    odd, emoji = key_from_bytes(b"\x80"), Key("\U0001f600")
    assert odd < emoji
    assert key_bytes(odd) < key_bytes(emoji)
    private, high = Key("\ue000"), key_from_bytes(b"\xff")
    assert high < private
    assert key_bytes(high) > key_bytes(private)


def test_the_directories_above_are_named_outermost_first() -> None:
    assert parents(Key("a/b/c")) == ["a/", "a/b/"]
    assert parents(Key("a/b/")) == ["a/"]
    assert parents(Key("a")) == parents(Key("a/")) == []


@given(st.text("a/!0~", min_size=1), st.text("a/!0~", min_size=1))
def test_the_range_below_a_name_holds_what_lies_below_it_and_nothing_else(file: str, key: str) -> None:
    after, before = range_below(Key(file))
    assert (after < key_bytes(Key(key)) < before) == (key.startswith(f"{file}/") and key != f"{file}/")
    assert after < key_bytes(Key(f"{file}/{key}")) < before


def test_a_directory_is_told_by_its_key() -> None:
    assert is_directory(Key("a/"))
    assert not is_directory(Key("a"))


@given(st.text("abc0", min_size=1), st.text("0123456789abcdef", min_size=1))
def test_a_fingerprint_is_read_as_it_is_written(algorithm: str, digest: str) -> None:
    fingerprint = Fingerprint(algorithm, digest)
    assert Fingerprint.parse(str(fingerprint)) == fingerprint


def test_no_text_is_no_fingerprint() -> None:
    assert Fingerprint.parse("") is None


def test_contents_are_compared_by_kind_then_size_then_digest() -> None:
    one = Content(Kind.FILE, 1, Fingerprint("blake3", "aa"))
    assert same_content(one, DIRECTORY_CONTENT) is False
    assert same_content(DIRECTORY_CONTENT, Content(Kind.DIRECTORY, 7)) is True
    assert same_content(one, Content(Kind.FILE, 2)) is False
    assert same_content(one, Content(Kind.FILE, 1)) is None
    assert same_content(Content(Kind.FILE, 1), one) is None
    assert same_content(one, Content(Kind.FILE, 1, Fingerprint("md5", "aa"))) is None
    assert same_content(one, Content(Kind.FILE, 1, Fingerprint("blake3", "aa"))) is True
    assert same_content(one, Content(Kind.FILE, 1, Fingerprint("blake3", "bb"))) is False


def test_a_row_becomes_an_entry() -> None:
    assert entry_from_row((b"a", Token("t"), Kind.FILE, 3, 5, 0o644, "md5:aa")) == Entry(
        Token("t"), Content(Kind.FILE, 3, Fingerprint("md5", "aa")), 5, 0o644
    )
    assert entry_from_row((b"d/", Token("directory"), Kind.DIRECTORY, 2, 0, None, "odd")) == Entry(
        Token("directory"), Content(Kind.DIRECTORY, 2), 0, None
    )


def test_a_difference_is_asked_by_side() -> None:
    entry = Entry(Token("t"), DIRECTORY_CONTENT)
    ancestor = Ancestor(Token("t"), Token("t"), DIRECTORY_CONTENT)
    difference = Difference(Key("d/"), entry, None, ancestor)
    assert difference.side(LOCAL) is entry
    assert difference.side(REMOTE) is None
