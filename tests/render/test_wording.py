"""No reason, verb, status or guard without words."""

from dataclasses import replace

import pytest
from tests.render.samples import ANCESTOR, DIRECTORY, entry, item, plan, step

from trueup.core.check import Guard
from trueup.core.model import LOCAL, REMOTE, Ancestor, Key, Side, Token, Unknown
from trueup.core.plan import Ref, Step
from trueup.core.reconcile import Reason
from trueup.core.report import Status
from trueup.core.strategy import Deletes, Direction, Policy
from trueup.core.table import Verb
from trueup.render.wording import (
    CONFLICT,
    DELETE,
    GUARDS,
    IDLE_MARKS,
    KEEP,
    MARKS,
    REASONS,
    SAVE,
    SIBLING,
    SKIP,
    STATUSES,
    UPLOAD,
    Mark,
    counted,
    reason_text,
    step_mark,
)


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
    text = reason_text(item("a", Reason.ADOPT), plan([]))
    assert text == "gone from both sides, or no longer part of the target: forgotten"


def test_what_is_forgotten_for_a_change_of_kind_is_not_called_the_same() -> None:
    text = reason_text(item("a/b", Reason.ADOPT, entry(), None, step("a/b", LOCAL, Verb.ADOPT)), plan([]))
    assert "forgotten" in text
    assert "same" not in text


@pytest.mark.parametrize(
    ("mark", "one", "many"),
    [
        (DELETE, "- 1 delete", "- 5 deletes"),
        (SAVE, "1 saved to the trash", "5 saved to the trash"),
        (SIBLING, "1 sibling", "5 siblings"),
        (SKIP, "1 skipped", "5 skipped"),
        (CONFLICT, "! 1 conflict", "! 5 conflicts"),
        (KEEP, "1 stays as it is", "5 stay as they are"),
        (UPLOAD, "> 1 up", "> 5 up"),
    ],
)
def test_counts_are_words_that_a_newcomer_understands(mark: Mark, one: str, many: str) -> None:
    assert (counted(mark, 1), counted(mark, 5)) == (one, many)


def test_a_change_of_kind_on_one_side_is_named() -> None:
    file, folder = entry(1000, "0ace"), DIRECTORY
    becomes_folder = item("a", Reason.LOCAL_WINS, None, file, step("a", REMOTE, Verb.REPLACE_KIND, expect="r1"))
    becomes_folder = replace(becomes_folder, ancestor=ANCESTOR)
    assert reason_text(becomes_folder, plan([becomes_folder])) == "became a folder on local"
    becomes_file = item("b", Reason.REMOTE_WINS, None, file, step("b", LOCAL, Verb.REPLACE_KIND, file, expect="d"))
    gone = item("b/", Reason.REMOTE_WINS, folder, None, ancestor=Ancestor(Token("d"), Token("d"), folder.content))
    assert reason_text(becomes_file, plan([becomes_file, gone])) == "became a file on remote"
    never = reason_text(becomes_file, plan([becomes_file]))
    assert never == "the sides differ: remote wins; takes the place of a folder"
    edited = replace(becomes_folder, seen={**becomes_folder.seen, REMOTE: entry(1000, "beef")})
    assert reason_text(edited, plan([edited])) == "the sides differ: local wins; a folder takes its place"


def test_a_first_meeting_is_no_change() -> None:
    assert "never agreed" in reason_text(item("a", Reason.CONFLICT, entry(), entry()), plan([]))


def test_what_cannot_be_taken_back_is_not_called_a_bad_name() -> None:
    text = reason_text(item("a", Reason.BLOCKED), plan([], undoes="r1"))
    assert text.startswith("cannot be taken back")
