"""Saved plans from anybody: `trueup apply FILE` never leaves the two folders, never fails in a way nobody foresaw.

A plan's digest says that it is whole, not who made it: each plan here is forged and has the digest that it needs. That
stores refuse each hostile name by themselves is in ``tests/stores/test_file.py``; that every wrong type is refused, in
``tests/core/test_codec.py``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.cli.home import Home

from trueup.core.codec import CodecError, decode, digest
from trueup.core.plan import Phase, Plan
from trueup.core.table import Verb
from trueup.stores.file.place import token_of

HOSTILE = [
    "../outside/canary",
    "/lead",
    "a/../../outside/canary",
    "./x",
    "x//y",
    "nul\0name",
    ".trueup/id",
    ".trueup/../../outside/canary",
    ".trueup-tmp-1.x",
    "",
    "/",
    "..",
    "n" * 256,
    f"{'d' * 20}/" * 250 + "x",
    "\ud800",
]
NUMBERS = [-1, 1 << 63, 1 << 93, 0o177777]


@pytest.fixture
def saved(home: Home) -> dict[str, Any]:
    """A plan with an upload, a download, a deletion and siblings, as a document; beside the folders lies a canary."""
    home.differ()
    (home.path / "outside").mkdir()
    (home.path / "outside/canary").write_text("untouched")
    home("plan", "site", "--conflict", "backup-both", "-o", "p")
    document: dict[str, Any] = json.loads((home.path / "p").read_text())
    verbs = {step["verb"] for item in document["plan"]["items"] for step in item["steps"]}
    assert {"put", "delete", "save", "sibling"} <= verbs, "the plan shows what it is for"
    return document


def leaves(value: Any, names: frozenset[str], path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of the fields with these names that hold something plain."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        if name in names and not isinstance(part, dict | list):
            yield (*path, name)
        yield from leaves(part, names, (*path, name))


def forge(document: dict[str, Any], path: tuple[Any, ...], value: object) -> str:
    """The document with one field changed and the digest that goes with it."""
    forged = json.loads(json.dumps(document))
    place = forged["plan"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with suppress(CodecError, UnicodeError):  # refused before anybody looks at the digest
        forged["digest"] = digest(decode(Plan, forged["plan"], "plan"))
    forged.pop("refusals")
    return json.dumps(forged)


def elsewhere(home: Home) -> dict[str, object]:
    """Everything around the two folders: kinds, modes and content."""
    around: dict[str, object] = {}
    for folder, below, names in os.walk(home.path.parent):
        below[:] = [name for name in below if name not in ("site", "share", "state")]
        for path in (Path(folder, name) for name in names if name != "forged"):
            around[str(path)] = path.lstat().st_mode, path.read_bytes()
    return around


def attempt(home: Home, text: str) -> None:
    """Apply a forged plan: nothing around the folders changes, and whatever goes wrong has a name."""
    (home.path / "forged").write_text(text)
    before = elsewhere(home)
    for flags in ((), ("--skip-stale",)):
        result = home("apply", "forged", "--yes", *flags, code=None)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "TU-BUG" not in result.output, result.output
        assert result.exit_code in (0, 1, 2, 4, 5, 6, 64, 65, 66, 74, 75, 77, 78), result.output
    assert elsewhere(home) == before


def chosen(document: dict[str, Any], name: str) -> list[tuple[Any, ...]]:
    """One path of each shape: the same field of other items is no other case."""
    shapes: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in leaves(document["plan"], frozenset({name})):
        shape = tuple(part for part in path if not isinstance(part, int))
        shapes.setdefault(shape, path)
    return list(shapes.values())


@pytest.mark.parametrize("name", ["key", "kept", "token", "expect", "id", "location", "local", "remote"])
def test_no_text_in_a_plan_leads_out_of_its_folders(home: Home, saved: dict[str, Any], name: str) -> None:
    paths = chosen(saved, name)
    assert paths
    for path in paths:
        for text in HOSTILE:
            attempt(home, forge(saved, path, text))


@pytest.mark.parametrize("name", ["size", "modified_ns", "mode", "made_ns", "items", "ancestors", "free_bytes"])
def test_no_number_in_a_plan_breaks_anything(home: Home, saved: dict[str, Any], name: str) -> None:
    paths = chosen(saved, name)
    assert paths
    for path in paths:
        for number in NUMBERS:
            attempt(home, forge(saved, path, number))


def test_every_key_of_an_item_at_once_leads_nowhere(home: Home, saved: dict[str, Any]) -> None:
    """As above, but consistently, so that no step is out of place in its item."""
    for text in HOSTILE:
        forged = json.loads(json.dumps(saved))
        for path in leaves(forged["plan"], frozenset({"key"})):
            place: Any = forged["plan"]
            for name in path[:-1]:
                place = place[name]
            if place["key"] == "up":
                place["key"] = text
        attempt(home, forge(forged, ("made_ns",), 1))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("needs", [["nobody"], ["s1"], ["s2", "s1"], []]),
        ("value", [None]),
        ("expect", [None, "-", "directory"]),
        ("side", ["local", "remote", "nowhere", ""]),
        ("verb", list(Verb)),
        ("phase", [phase.name.lower() for phase in Phase]),
    ],
)
def test_steps_out_of_order_or_place_break_nothing(
    home: Home, saved: dict[str, Any], name: str, values: list[object]
) -> None:
    for number, item in enumerate(saved["plan"]["items"]):
        places = [()] if name == "phase" else [("steps", step) for step in range(len(item["steps"]))]
        for place in places:
            for value in values:
                attempt(home, forge(saved, ("items", number, *place, name), value))


def test_nothing_is_done_under_a_name_that_was_not_shown(home: Home, saved: dict[str, Any]) -> None:
    """People review items: a step about another key would not have been seen."""
    (home.site / "hidden").write_text("precious")
    token = token_of((home.site / "hidden").stat())
    number = next(n for n, item in enumerate(saved["plan"]["items"]) if item["key"] == "up")
    first = saved["plan"]["items"][number]["steps"][0]
    deletion = {"id": "x", "key": "hidden", "side": "local", "verb": "delete", "expect": token}
    step = {**first, **deletion, "value": None, "needs": []}
    steps = [*saved["plan"]["items"][number]["steps"], step]
    (home.path / "forged").write_text(forge(saved, ("items", number, "steps"), steps))
    result = home("apply", "forged", "--yes", code=64)
    assert "step 'x' of 'up' is about 'hidden'" in result.output
    assert (home.site / "hidden").read_text() == "precious"


# -- documents out of all proportion ---------------------------------------------------------------------------------


def many(unit: bytes, size: int) -> bytes:
    return b'{"format": "trueup.plan", "version": 1, "plan": [' + unit * (size // len(unit)) + b"0]}"


BOMBS: dict[str, Callable[[], bytes]] = {
    "deep": lambda: b"[" * 10_000_000,
    "deep in objects": lambda: b'{"a":' * 3_000_000,
    "many lists": lambda: many(b"[],", 60_000_000),
    "many texts": lambda: many(b'"ab",', 60_000_000),
    "one text": lambda: b'"' + b"x" * (129 * 1024 * 1024),
    "a long number": lambda: many(b"9" * 100_000 + b",", 1_000_000),
    "twice": lambda: b'{"format": "trueup.plan", "format": "trueup.plan"}',
    "no number": lambda: b'{"format": "trueup.plan", "version": NaN}',
    "not text": lambda: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_document_out_of_all_proportion_is_refused_in_bounded_memory(home: Home, bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[bomb]())
    bounded = ["sh", "-c", 'ulimit -v 1500000 && exec "$@"', "sh"]
    done = subprocess.run(
        [*bounded, sys.executable, "-m", "trueup", "apply", str(path), "--yes"],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 64, done.stderr
    assert done.stderr.startswith("error[TU-DOCUMENT]: ")
    assert len(done.stderr) < 1000
    assert done.stdout == ""


def test_a_plan_from_stdin_is_bounded_as_well(home: Home) -> None:
    assert "nested too deeply" in home("apply", "-", "--yes", code=64, stdin="[" * 100_000).output


def test_a_plan_that_could_not_be_read_again_is_not_saved(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.site / "a").write_text("1")
    monkeypatch.setattr("trueup.cli.plan.MAX_BYTES", 500)
    assert "too large for a file" in home("plan", "site", "-o", "p", code=64).output
    assert not (home.path / "p").exists()


def test_what_a_forged_plan_says_is_not_repeated_at_length(home: Home) -> None:
    (home.path / "p").write_text(json.dumps({"format": "trueup.plan", "version": 1, "plan": {"x" * 100_000: 1}}))
    assert len(home("apply", "p", "--yes", code=64).output) < 1000
