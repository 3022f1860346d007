"""Templates of keys: what they find, and what they must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stores.cache.conftest import HOSTILE

from trueup.core.errors import UsageError
from trueup.stores.cache import Coordinates
from trueup.stores.cache.names import escaped, pattern, raw, text

names = st.text(max_size=8) | st.sampled_from(HOSTILE)


@given(st.binary(max_size=12))
def test_an_escaped_literal_holds_no_sign_without_a_backslash(literal: bytes) -> None:
    left = escaped(literal)
    for sign in (rb"\\", rb"\*", rb"\?", rb"\[", rb"\]", rb"\^", rb"\-"):
        left = left.replace(sign, b"")
    assert not set(left) & set(b"*?[]^-\\")


@given(names, names, names)
def test_a_value_is_a_literal_whatever_it_holds(app: str, key: str, other: str) -> None:
    form = pattern("{app}:{key}", {"app": app})
    assert form.matches(raw(f"{app}:{key}")) == bool(key)
    assert form.matches(raw(f"{other}:{key}")) == (bool(key) and f"{other}:{key}".startswith(f"{app}:") and
                                                   len(f"{other}:{key}") > len(app) + 1)  # fmt: skip


def test_free_parts_keep_to_their_class() -> None:
    form = pattern("{app}:cached:{method:word}.{crc:digits}.{vary:maybe_digits}", {"app": "shop"})
    assert form.matches(b"shop:cached:GET.12.")
    assert form.matches(b"shop:cached:HEAD.12.34")
    for foreign in (b"shop:cached:GET.12", b"shop:cached:.1.2", b"shop:cached:GET.x.1", b"shops:cached:GET.1.2"):
        assert not form.matches(foreign)


@pytest.mark.parametrize("template", ["{key}", "", "{key}:x"])
def test_a_template_that_matches_everything_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="every application"):
        pattern(template, {})


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown class"):
        pattern("a:{key:odd}", {})


def test_bytes_that_are_no_text_survive() -> None:
    assert raw(text(b"\xff:\x00")) == b"\xff:\x00"


@pytest.mark.parametrize("preset", ["fastblocks", "aiocache", "cashews"])
def test_a_preset_whose_keys_begin_with_an_application_needs_its_name(preset: str) -> None:
    with pytest.raises(UsageError, match="needs the name of the application"):
        Coordinates("memory://x", preset).patterns()


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UsageError, match="no preset odd"):
        Coordinates("memory://x", "odd").patterns()
