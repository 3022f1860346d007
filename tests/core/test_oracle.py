"""Every case of the decision table: against a second reading of the specification, and under crashes and edits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from tests.core.oracle import Bench, Case, Options, Step, Text, cases, verdict

from trueup.core.model import (
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Difference,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Side,
    Token,
)
from trueup.core.plan import Step as PlannedStep
from trueup.core.plan import build_items
from trueup.core.reconcile import Reason, reconcile
from trueup.core.strategy import TIE_NS, Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Rule, Verb
from trueup.core.tree import Finding

NOW = 10**18
TIMES = {"tie": (1, 1), "local": (1 + 2 * TIE_NS, 1), "remote": (1, 1 + 2 * TIE_NS)}
ALL = list(cases())
ORIGINAL = Path(__file__).parents[3] / "shared" / "oracle" / "decide.py"


def _content(text: str) -> Content:
    return Content(Kind.FILE, 1, Fingerprint("plain", text.encode().hex()))


def _difference(case: Case) -> Difference:
    local_ns, remote_ns = TIMES[case.options.newest]

    def seen(text: Text, modified_ns: int) -> Entry | None:
        return None if text is None else Entry(Token(text), _content(text), modified_ns)

    ancestor = None if case.ancestor is None else Ancestor(Token("a"), Token("a"), _content(case.ancestor))
    return Difference(Key("f.txt"), seen(case.local, local_ns), seen(case.remote, remote_ns), ancestor)


def _policy(options: Options, keep: Keep) -> Policy:
    return Policy(Direction(options.direction), Conflict(options.strategy), Deletes(options.deletes), keep)


@cache
def ours(case: Case, keep: Keep = Keep.CONFLICTS) -> tuple[str, list[Step]]:
    """Our rule for the case, said in the oracle's steps."""
    rule = _rule(case, keep)
    held: dict[Side, Text] = {LOCAL: case.local, REMOTE: case.remote}
    steps: list[Step] = []
    for act in rule.acts:
        source = None if act.source is None else held[act.source]
        match act.verb:
            case Verb.SAVE:
                steps.append(("save", act.side, held[act.side]))
            case Verb.SIBLING:
                steps.append(("sibling", act.side, source))
            case Verb.PUT | Verb.DELETE:
                steps.append(("put", act.side, source, held[act.side]))
            case _:
                assert act.verb is Verb.ADOPT
    written = [step for step in steps if step[0] == "put"]
    if written:
        steps.append(("ancestor", written[-1][2]))
    elif rule.acts:
        steps.append(("ancestor", case.local))
    return rule.reason, steps


def _rule(case: Case, keep: Keep) -> Rule:
    rule = reconcile(_difference(case), _policy(case.options, keep), now_ns=NOW)
    assert isinstance(rule, Rule)
    return rule


@cache
def planned(case: Case, keep: Keep) -> list[Step]:
    """The steps of our plan for the case; the names of contents are their tokens."""
    policy = _policy(case.options, keep)
    items = build_items([Finding(_difference(case), _rule(case, keep))], policy)
    planned_steps = [step for item in items for step in item.steps]
    steps = [_translated(step) for step in planned_steps if step.verb is not Verb.ADOPT]
    written = [step for step in steps if step[0] == "put"]
    if written:
        steps.append(("ancestor", written[-1][2]))
    elif planned_steps:
        steps.append(("ancestor", case.local))
    return steps


def _translated(step: PlannedStep) -> Step:
    value = None if step.value is None else step.value.token
    match step.verb:
        case Verb.SAVE:
            return "save", step.side, step.expect
        case Verb.SIBLING:
            return "sibling", step.side, value
        case _:
            return "put", step.side, value, step.expect


def _meaningful(case: Case) -> bool:
    """Nothing anywhere, and nothing ever: no listing shows such a key."""
    return (case.local, case.remote, case.ancestor) != (None, None, None)


CASES = [case for case in ALL if _meaningful(case)]


def test_the_product_of_all_axes_is_complete() -> None:
    assert len(ALL) == 2 * 4 * 4 * 3 * 5 * 3 * 3
    assert {ours(case)[0] for case in CASES} <= {reason.value for reason in Reason}


def test_outcome_and_steps_are_those_of_the_specification() -> None:
    assert [case for case in CASES if ours(case) != verdict(case)] == []


def test_a_plan_carries_the_specified_writes_and_saves_at_least_as_much() -> None:
    def essential(steps: list[Step]) -> list[Step]:
        return [step for step in steps if step[0] != "save"]

    for case in CASES:
        expected = verdict(case)[1]
        for keep in Keep:
            assert essential(planned(case, keep)) == essential(expected), case
        saved = {step for step in planned(case, Keep.ALL) if step[0] == "save"}
        assert saved >= {step for step in expected if step[0] == "save"}, case


@pytest.mark.skipif(not ORIGINAL.exists(), reason="the program that the specification comes with is not beside us")
def test_the_program_of_the_specification_decides_the_same() -> None:
    original = _load(ORIGINAL)
    for case in CASES:
        outcome, steps = original.decide(case.local, case.remote, case.ancestor, *case.options)
        assert (outcome, steps) == verdict(case) == ours(case), case


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("specification", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- invariants ------------------------------------------------------------------------------------------------------


Decide = Callable[[Case], list[Step]]


def _decisions(case: Case) -> list[Step]:
    return planned(case, Keep.CONFLICTS) if _meaningful(case) else []


def _run(bench: Bench, options: Options, *, crash_at: int = -1, edit: tuple[int, str] | None = None) -> None:
    """Decide and carry out; stop before a step, or let somebody write ``z`` before one."""
    local, remote, ancestor = bench.state
    for n, step in enumerate(_decisions(Case(local, remote, ancestor, options))):
        if n == crash_at:
            return
        if edit is not None and edit[0] == n:
            bench.held[edit[1]] = "z"
        if not bench.do(step):
            return


def _done(case: Case) -> Bench:
    bench = Bench.of(case)
    _run(bench, case.options)
    return bench


def test_no_version_is_lost_but_one_equal_to_the_ancestor() -> None:
    assert [case for case in CASES if Bench.of(case).versions - _done(case).versions - {case.ancestor}] == []


def test_a_plan_that_keeps_all_loses_nothing_at_all() -> None:
    for case in CASES:
        bench = Bench.of(case)
        before = bench.versions
        for step in planned(case, Keep.ALL):
            assert bench.do(step)
        assert before <= bench.versions, case


def test_only_permitted_sides_are_written() -> None:
    for case in CASES:
        done = _done(case)
        assert case.options.direction != "pull" or done.held["remote"] == case.remote, case
        assert case.options.direction != "push" or done.held["local"] == case.local, case
        written = {step[1] for step in _decisions(case) if step[0] in ("put", "sibling", "save")}
        assert written <= {"pull": {"local"}, "push": {"remote"}}.get(case.options.direction, {"local", "remote"}), case


def test_a_second_run_changes_nothing_and_reports_the_same() -> None:
    for case in CASES:
        done = _done(case)
        again = Case(*done.state, case.options)
        if not _meaningful(again):
            continue
        assert _decisions(again) == [], case
        outcome = ours(case)[0]
        if not ours(case)[1]:
            assert ours(again)[0] == outcome, case


def test_both_sides_are_equal_after_a_bidirectional_run_that_wrote() -> None:
    for case in CASES:
        done = _done(case)
        if case.options.direction == "bidirectional" and _decisions(case):
            assert done.held["local"] == done.held["remote"] == done.ancestor, case


def test_nothing_lost_and_the_same_end_after_a_crash_before_any_step() -> None:
    for case in CASES:
        before, end = Bench.of(case).versions, _done(case).state
        for n in range(len(_decisions(case))):
            bench = Bench.of(case)
            _run(bench, case.options, crash_at=n)
            assert not before - bench.versions - {case.ancestor}, (case, n)
            _run(bench, case.options)
            assert bench.state == end, (case, n)
            assert not before - bench.versions - {case.ancestor}, (case, n)


def test_swapped_sides_mirror_the_result() -> None:
    for case in CASES:
        if case.options.strategy != "backup_both":
            mirror = _done(Case(case.remote, case.local, case.ancestor, case.options.mirrored()))
            local, remote, ancestor = _done(case).state
            assert mirror.state == (remote, local, ancestor), case


def test_an_ancestor_only_becomes_what_both_sides_held() -> None:
    for case in CASES:
        bench = Bench.of(case)
        for step in _decisions(case):
            bench.do(step)
            assert bench.ancestor in (case.ancestor, bench.held["local"]), case
            assert bench.ancestor in (case.ancestor, bench.held["remote"]), case


def test_an_edit_before_any_step_survives_this_run_and_the_next() -> None:
    for case in CASES:
        for n in range(len(_decisions(case))):
            for side in ("local", "remote"):
                bench = Bench.of(case)
                _run(bench, case.options, edit=(n, side))
                assert "z" in bench.versions, (case, n, side)
                _run(bench, case.options)
                assert "z" in bench.versions, (case, n, side)
