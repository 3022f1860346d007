"""No reason, verb, status or guard without words."""

import pytest
from tests.render.samples import DIRECTORY, entry, item, plan, step

from trueup.core.check import Guard
from trueup.core.model import LOCAL, REMOTE, Key, Side, Unknown
from trueup.core.plan import Ref, Step
from trueup.core.reconcile import Reason
from trueup.core.report import Status
from trueup.core.strategy import Deletes, Direction, Policy
from trueup.core.table import Verb
from trueup.render.wording import GUARDS, IDLE_MARKS, MARKS, REASONS, STATUSES, Mark, reason_text, step_mark


def test_every_reason_has_wording() -> None:
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("direction", Direction)
def test_every_reason_can_be_told_of_every_item(reason: Reason, direction: Direction) -> None:
    policy = Policy(direction, deletes=Deletes.REPORT)
    for steps in ((), (step("a", LOCAL, Verb.PUT, entry()),), (step("a", REMOTE, Verb.DELETE, expect="t"),)):
        for local in (None, entry(), Unknown("denied")):
            text = reason_text(item("a", reason, local, entry(), *steps), plan([], policy=policy))
            assert text
            assert "{" not in text
            assert "None" not in text


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("side", [LOCAL, REMOTE])
def test_every_verb_has_a_mark(verb: Verb, side: Side) -> None:
    for seen in (None, entry(), DIRECTORY):
        mark = step_mark(step("a", side, verb, seen, expect="t"))
        assert mark in MARKS
        assert mark.word


def test_marks_say_what_they_mean_and_are_told_apart_without_colour() -> None:
    assert all(mark.meaning for mark in MARKS)
    words = [str(mark) for mark in MARKS]
    assert len(set(words)) == len(words)
    assert set(IDLE_MARKS.values()) <= set(MARKS)


def test_signs_are_ascii() -> None:
    assert all(str(mark).isascii() for mark in MARKS)
    assert all(text.isascii() for text in REASONS.values())


@pytest.mark.parametrize(
    ("to", "source", "expect", "sign"),
    [(REMOTE, LOCAL, None, ">"), (LOCAL, REMOTE, "t", "<"), (LOCAL, LOCAL, None, "+"), (LOCAL, LOCAL, "t", "~")],
)
def test_content_goes_up_down_or_stays_within_its_side(to: Side, source: Side, expect: str | None, sign: str) -> None:
    content = entry()
    ref = Ref(source, Key("a"), content.token, content.content)
    assert step_mark(Step("s1", Key("a"), to, Verb.PUT, content.token if expect else None, ref)).sign == sign


def test_every_status_and_every_guard_is_explained() -> None:
    assert set(STATUSES) == set(Status)
    assert set(GUARDS) == set(Guard)
    assert all(GUARDS.values())


def test_a_mark_without_a_sign_is_its_word() -> None:
    assert str(Mark("", "save")) == "save"
    assert str(Mark(">", "upload")) == "> upload"


def test_both_deleted_is_forgotten_not_remembered() -> None:
    assert reason_text(item("a", Reason.ADOPT), plan([])) == "gone from both sides: forgotten"


def test_a_first_meeting_is_no_change() -> None:
    assert "never agreed" in reason_text(item("a", Reason.CONFLICT, entry(), entry()), plan([]))


def test_what_cannot_be_taken_back_is_not_called_a_bad_name() -> None:
    text = reason_text(item("a", Reason.BLOCKED), plan([], undoes="r1"))
    assert text.startswith("cannot be taken back")
