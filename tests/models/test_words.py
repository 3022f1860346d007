"""No key gets into an error text, whatever a service says."""

import pytest

from trueup.stores.http.words import LONGEST, redacted

OURS = "plainkeywithoutanyprefix"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"key {OURS} is bad", "key *** is bad"),
        ("key sk-proj-abcdef123456 is bad", "key *** is bad"),
        ("Incorrect API key: sk-ab***cdef, or so", "Incorrect API key: ***, or so"),
        ("AIzaSyA-1234567890", "***"),
        ("two\nlines\x1b[31m", "two lines [31m"),
        ("task-force and risk-free", "task-force and risk-free"),
    ],
)
def test_keys_ours_and_others_are_left_out(said: str, shown: str) -> None:
    assert redacted(said, [OURS, ""]) == shown


def test_long_words_are_cut() -> None:
    assert redacted("x" * 1000, []) == "x" * LONGEST + "..."
