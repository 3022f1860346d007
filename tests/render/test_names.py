"""Names cannot speak to the terminal; numbers read as people write them."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.render.names import count, duration, listing, moment, pad, place, printable, quote, size, width

HOSTILE = st.text(st.characters(), max_size=20) | st.binary(max_size=20).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("caf\u00e9 \u4e2d\u6587.txt", "caf\u00e9 \u4e2d\u6587.txt"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m", "\\u009b31m"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("a\u2028b\u200b", "a\\u2028b\\u200b"),
        ("\ud800", "\\U0000d800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(HOSTILE)
def test_printable_text_can_be_encoded_and_stays_on_its_line(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["plain", "two words", "it's", "a\nb", "\x1b[m'\\", "caf\udce9 x", "-rf", "$HOME"])
def test_quoted_words_reach_a_command_as_they_are(text: str) -> None:
    script = f"printf %s {quote(text)}"
    assert printable(script) == script
    raw = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert raw == text.encode("utf-8", "surrogateescape")


def test_plain_words_are_quoted_as_a_shell_does() -> None:
    assert quote("a b") == shlex.quote("a b")


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert width("a\u4e2d") == 3
    assert width("e\u0301") == 1
    assert pad("\u4e2d", 4) == "\u4e2d  "


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_000_000, "12 MB"),
        (3 * 10**15, "3.0 PB"),
        (4 * 10**18, "4000 PB"),
    ],
)
def test_sizes_are_decimal(number: int | None, text: str) -> None:
    assert size(number) == text


def test_counts_agree_with_their_nouns() -> None:
    assert count(1, "change") == "1 change"
    assert count(12_000, "change") == "12,000 changes"
    assert count(2, "copy", "copies") == "2 copies"


def test_lists_read_as_sentences() -> None:
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize("ns", [0, -1, 253_370_764_800 * 10**9, 1 << 93])
def test_a_time_that_no_calendar_has_is_not_known(ns: int) -> None:
    assert moment(ns) == "-"


def test_times_name_their_second() -> None:
    from datetime import UTC

    assert moment(253_370_764_800 * 10**9 - 10**9, UTC) == "9998-12-31 23:59:59"
    assert moment(0) == "-"
    assert moment(1_700_000_000 * 10**9, UTC) == "2023-11-14 22:13:20"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.9, "9.9 s"), (12.4, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_get_coarser(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_several_roots_are_on_one_line_and_a_newline_in_a_name_is_not_one_of_them() -> None:
    assert place("m1=/a\nm2=/b") == "m1=/a, m2=/b"
    assert place("/a\nb") == "/a\\nb"
    assert place("file:///a") == "file:///a"
