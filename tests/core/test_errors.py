"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import inspect
import re

from trueup.core import codec, errors
from trueup.core.errors import ConflictError, PlanRefused, Throttled, TrueupError

LINE = re.compile(r"^(?P<branch>[ |`-]*)(?P<name>[A-Z]\w+)(?: \((?P<mixin>\w+)\))?(?: +(?P<code>\d+))?(?: |$)")


def _drawn() -> list[tuple[str, str | None, str | None, int]]:
    """Name, parent, mixin and exit code of every line, as drawn."""
    assert errors.__doc__ is not None
    above: list[str] = []
    codes: dict[str, int] = {"TrueupError": 1}
    found = []
    for line in errors.__doc__.splitlines():
        match = LINE.match(line.removeprefix("    ") + "  ")
        if not line.startswith("    ") or match is None:
            continue
        depth = len(match["branch"]) // 4
        del above[depth:]
        parent = above[-1] if above else None
        codes[match["name"]] = int(match["code"] or codes[parent or "TrueupError"])
        found.append((match["name"], parent, match["mixin"], codes[match["name"]]))
        above.append(match["name"])
    return found


def _classes() -> dict[str, type[TrueupError]]:
    return {
        name: cls
        for module in (errors, codec)
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, TrueupError)
    }


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    classes = _classes()
    drawn = _drawn()
    assert sorted(name for name, _, _, _ in drawn) == sorted(classes)
    for name, parent, mixin, code in drawn:
        bases = [base.__name__ for base in classes[name].__bases__]
        assert bases == [base for base in (parent or "Exception", mixin) if base is not None], name
        assert classes[name].exit_code == code, name


def test_every_error_has_a_code_of_its_own_and_a_sentence() -> None:
    classes = _classes().values()
    assert len({cls.code for cls in classes}) == len(classes)
    assert all(cls.__doc__ for cls in classes)


def test_only_what_may_help_is_tried_again() -> None:
    assert sorted(name for name, cls in _classes().items() if cls.retryable) == [
        "Corrupt",
        "Throttled",
        "TimedOut",
        "Unavailable",
    ]


def test_an_error_says_what_why_and_what_to_try() -> None:
    error = TrueupError("it broke", why="it was old", attempt="mend it")
    assert (str(error), error.what, error.why, error.attempt) == (
        "it broke - it was old",
        "it broke",
        "it was old",
        "mend it",
    )
    assert str(TrueupError("it broke")) == "it broke"


def test_a_throttling_store_may_say_how_long() -> None:
    assert Throttled("slower", after_seconds=2.5).after_seconds == 2.5
    assert Throttled("slower", why="busy").why == "busy"


def test_a_refusal_carries_its_plan() -> None:
    plan, refusal = object(), object()
    error = PlanRefused("no", why="guards", attempt="look", plan=plan, refusals=(refusal,))
    assert (error.plan, error.refusals, error.why, error.attempt) == (plan, (refusal,), "guards", "look")


def test_an_undecided_conflict_carries_what_was_done() -> None:
    done = object()
    error = ConflictError("decide", why="a.html", attempt="look", result=done)
    assert (error.result, error.why, error.attempt, error.exit_code) == (done, "a.html", "look", 4)
    assert isinstance(error, ValueError)


def test_a_stale_plan_names_what_has_changed() -> None:
    assert errors.StalePlan("stale", changed={"a": "local is gone"}).changed == {"a": "local is gone"}
    assert not errors.StalePlan("stale").changed
