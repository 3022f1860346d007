"""A report as people read it."""

import re
from collections.abc import Callable
from dataclasses import replace

from tests.render.samples import entry, everything, item, plan, put, step

from trueup.core.model import LOCAL, REMOTE
from trueup.core.plan import Observed, Phase, Plan
from trueup.core.reconcile import Reason
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.table import Verb
from trueup.render.plans import SHOWN, Words, plan_lines
from trueup.render.reports import outcome_line, report_lines
from trueup.render.text import plain

WORDS = Words("photos")


def outcomes(made: Plan, **bad: Status) -> tuple[Outcome, ...]:
    found = []
    for part in made.items:
        status = bad.get(part.key.partition(".")[0], Status.DONE)
        for done in part.steps:
            why, code = ("", "") if status is Status.DONE else ("no space left on device", "TU-NO-SPACE")
            found.append(Outcome(done.id, done.key, status, why, code))
    return tuple(found)


def text_of(report: Report, *, verbose: int = 0) -> str:
    return plain(report_lines(report, WORDS, verbose=verbose))


def test_a_partial_run_says_what_was_not_done(golden: Callable[[str, str], None]) -> None:
    made = plan(everything())
    bad = {"new": Status.FAILED, "there": Status.CHANGED, "gone": Status.SKIPPED}
    golden("report", text_of(Report(made, Ending.APPLIED, "r1", outcomes(made, **bad), seconds=1.24)))


def test_verbose_names_what_was_done() -> None:
    made = plan(everything())
    report = Report(made, Ending.APPLIED, "r1", outcomes(made))
    assert "done" not in text_of(report)
    assert "done      new.txt  download on local" in text_of(report, verbose=1)


def test_a_run_without_effect_cannot_be_undone() -> None:
    made = plan([part for part in everything() if part.key == "new.txt"])
    text = text_of(Report(made, Ending.APPLIED, "r1", outcomes(made, new=Status.FAILED)))
    assert "applied 0 of 1 change" in text
    assert "undo" not in text


def test_in_sync_says_how_many() -> None:
    assert text_of(Report(plan([]), Ending.IN_SYNC)) == "photos  in sync: 812 items the same\n"


def test_in_sync_is_not_said_of_what_was_not_seen() -> None:
    made = plan([], observed={REMOTE: Observed("/mnt", complete=False)})
    text = text_of(Report(made, Ending.IN_SYNC))
    assert "in sync" not in text
    assert "a whole side could not be judged: trueup plan photos" in text


def test_remembering_is_no_change() -> None:
    made = plan([part for part in everything() if part.key == "adopted.txt"])
    assert "813 items the same, which is now remembered" in text_of(
        Report(made, Ending.APPLIED, "r1", outcomes(made), seconds=1)
    )


def test_what_is_forgotten_is_not_counted_as_the_same() -> None:
    gone = item("gone.txt", Reason.ADOPT, None, None, step("gone.txt", LOCAL, Verb.ADOPT), phase=Phase.AGREE)
    made = plan([gone])
    assert text_of(Report(made, Ending.IN_SYNC)) == (
        "photos  in sync: 812 items the same; 1 on neither side, now forgotten\n"
    )
    assert "forget    gone.txt" in plain(plan_lines(made, WORDS, verbose=1))
    assert "1 to forget  = 812 same" in plain(plan_lines(made, WORDS))


def test_an_item_of_several_steps_has_one_line_which_says_why() -> None:
    made = plan([part for part in everything() if part.key in ("both.txt", "there.txt")])
    sibling, *others = (done for part in made.items for done in part.steps if part.key == "both.txt")
    results = (
        *(Outcome(done.id, done.key, Status.SKIPPED, "something it needs was not done") for done in others),
        Outcome(sibling.id, sibling.key, Status.FAILED, "disk full", "TU-NO-SPACE"),
        *(outcome for outcome in outcomes(made, there=Status.CHANGED) if outcome.key == "there.txt"),
    )
    report = Report(made, Ending.APPLIED, "r1", results)
    lines = text_of(report).splitlines()[1:]
    assert [text.split()[1] for text in lines] == ["failed", "changed"]
    assert "disk full" in lines[0]
    assert "download on local" in lines[1]
    assert text_of(report, verbose=1).count("skipped") == len(others)


def test_declined_and_interrupted_are_told_apart() -> None:
    made = plan(everything())
    assert "nothing was done" in text_of(Report(made, Ending.DECLINED))
    assert "interrupted; what was done is recorded" in text_of(Report(made, Ending.INTERRUPTED, "r1", outcomes(made)))


def test_a_selection_is_named() -> None:
    made = plan([part for part in everything() if part.key == "new.txt"])
    assert "1 of 1 change chosen" in text_of(Report(made, Ending.APPLIED, "r1", outcomes(made), selected=1))


def test_many_failures_end_in_a_count() -> None:
    many = [item(f"f{n:04}", Reason.CREATE, entry(), None, *put(f"f{n:04}", REMOTE, entry())) for n in range(300)]
    made = plan(many)
    failed = tuple(replace(outcome, status=Status.FAILED) for outcome in outcomes(made))
    text = text_of(Report(made, Ending.APPLIED, "r1", failed))
    assert len(re.findall("x  failed", text)) == SHOWN
    assert "... and 100 more" in text


def test_an_outcome_without_its_step_is_still_told() -> None:
    assert "changed" in plain([outcome_line(Outcome("s", everything()[0].key, Status.CHANGED), None)])
