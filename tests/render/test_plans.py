"""A plan as people read it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.render.samples import entry, everything, item, plan, put, step

from trueup.core.check import Guard, Refusal
from trueup.core.model import LOCAL, REMOTE, Key
from trueup.core.plan import Observed
from trueup.core.reconcile import Reason
from trueup.core.strategy import Keep, Policy
from trueup.core.table import Verb
from trueup.render.plans import SHOWN, Words, footer, next_command, plan_lines, status_lines, verdict
from trueup.render.text import plain

Golden = Callable[[str, str], None]
WORDS = Words("photos", " --direction pull")


def test_every_line_says_what_and_why(golden: Golden) -> None:
    golden("plan", _stable(plain(plan_lines(plan(everything()), Words("photos")))))


def test_verbose_shows_what_is_only_remembered_and_the_steps(golden: Golden) -> None:
    few = [part for part in everything() if part.key in ("both.txt", "link", "same.txt", "adopted.txt")]
    text = plain(plan_lines(plan(few), Words("photos"), verbose=2))
    assert "adopted.txt" in text
    assert "symbolic link" in text
    assert "save both.txt on local: expects l" in text


def test_what_could_not_be_seen_comes_first(golden: Golden) -> None:
    observed = {
        LOCAL: Observed("/home/a/photos", complete=False, why="input/output error", hidden=7),
        REMOTE: Observed("/mnt/photos", items=20, notices=("cannot refuse a lost race",)),
    }
    made = plan([], observed=observed, damaged_ancestors=tuple(Key(f"k{n}") for n in range(5)))
    golden("incomplete", _stable(plain(plan_lines(made, Words("photos")))))


def test_a_refusal_names_its_option(golden: Golden) -> None:
    refusals = [Refusal(Guard.MAX_DELETE, "40 files would be deleted on remote, the limit is 20%")]
    made = plan([part for part in everything() if part.key == "gone.txt"])
    golden("refused", _stable(plain(plan_lines(made, Words("photos"), refusals=refusals))))


def test_long_plans_end_in_a_count() -> None:
    many = [item(f"f{n:04}", Reason.CREATE, entry(), None, *put(f"f{n:04}", REMOTE, entry())) for n in range(300)]
    short, whole = (plain(plan_lines(plan(many), WORDS, verbose=verbose)) for verbose in (0, 1))
    assert short.count("upload") == SHOWN
    assert f"... and {300 - SHOWN} more (-v shows all)" in short
    assert whole.count("upload") == 300
    assert "more" not in whole


def test_conflicts_are_shown_however_many_changes_there_are() -> None:
    many = [item(f"f{n:04}", Reason.CREATE, entry(), None, *put(f"f{n:04}", REMOTE, entry())) for n in range(300)]
    assert "zz.txt" in plain(plan_lines(plan([*many, item("zz.txt", Reason.CONFLICT, entry(), entry())]), WORDS))


def test_a_long_name_does_not_push_the_others() -> None:
    items = [item(name, Reason.CREATE, entry(), None, *put(name, REMOTE, entry())) for name in ("a", "b" * 200)]
    first = plain(plan_lines(plan(items), WORDS)).splitlines()[1]
    assert len(first) < 100


def test_destroyed_versions_are_counted_and_marked() -> None:
    made = plan([part for part in everything() if part.key == "overwritten.txt"], policy=Policy(keep=Keep.NONE))
    text = plain(plan_lines(made, WORDS))
    assert "destroys the version there" in text
    assert "destroys 1 version (keep is none)" in text


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        (["new.txt"], "next: trueup sync photos --direction pull"),
        (["adopted.txt"], "next: trueup sync photos --direction pull"),
        (["conflict.txt"], "next: trueup conflicts ls photos --direction pull"),
        (["conflict.txt", "new.txt"], "next: trueup sync photos --direction pull"),
        (["locked/"], "next: trueup doctor photos"),
        (["same.txt", "link"], "nothing to do"),
        ([], "nothing to do"),
    ],
)
def test_the_next_command_can_be_typed(keys: list[str], command: str) -> None:
    assert next_command(plan([part for part in everything() if part.key in keys]), WORDS) == command


@pytest.mark.parametrize(
    ("guards", "command"),
    [
        ([Guard.OTHER_ROOT, Guard.EMPTIED, Guard.MAX_DELETE], "next: trueup doctor photos"),
        ([Guard.EMPTIED], "next: trueup doctor photos"),
        ([Guard.MAX_DELETE], "next: trueup plan photos --direction pull -v"),
    ],
)
def test_a_refused_plan_leads_to_a_closer_look_and_never_past_the_guard(guards: list[Guard], command: str) -> None:
    made = plan([part for part in everything() if part.key == "gone.txt"])
    refusals = [Refusal(guard, "why") for guard in guards]
    assert next_command(made, WORDS, refusals) == command
    assert next_command(made, replace(WORDS, next="next: trueup apply x"), refusals) == command


def test_a_refused_undo_leads_to_a_closer_look() -> None:
    made = plan(everything(), undoes="r7")
    assert next_command(made, WORDS, [Refusal(Guard.FREE_SPACE, "full")]) == "next: trueup undo r7 --dry-run -v"


def test_the_next_command_can_be_set_or_left_out() -> None:
    made = plan(everything())
    assert "trueup apply x" in plain(footer(made, replace(WORDS, next="next: trueup apply x")))
    assert "next" not in plain(footer(made, replace(WORDS, next=None)))
    assert next_command(replace(made, undoes="r7"), WORDS) == "next: trueup undo r7"


def test_status_is_one_block(golden: Golden) -> None:
    golden("status", _stable(plain(status_lines(plan(everything()), Words("photos")))))


def test_status_names_each_item_when_asked() -> None:
    assert "new.txt" not in plain(status_lines(plan(everything()), WORDS))
    assert "new.txt" in plain(status_lines(plan(everything()), WORDS, verbose=1))


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ([], "in sync by metadata"),
        (["same.txt", "link"], "in sync by metadata"),
        (["new.txt", "conflict.txt"], "out of sync"),
        (["conflict.txt"], "conflicts"),
        (["locked/"], "in sync, as far as it can be seen"),
    ],
)
def test_the_verdict_never_says_more_than_was_seen(keys: list[str], state: str) -> None:
    made = plan([part for part in everything() if part.key in keys])
    assert verdict(made)[0] == state


def test_a_verified_target_is_in_sync_by_content() -> None:
    assert verdict(plan([]), by_content=True)[0] == "in sync by content"


def test_an_incomplete_side_is_unknown() -> None:
    observed = {LOCAL: Observed("/a", complete=False), REMOTE: Observed("/b")}
    assert verdict(plan([], observed=observed))[0] == "unknown"


def test_an_undo_counts_no_agreement() -> None:
    back = step("a", LOCAL, Verb.DELETE, expect="t")
    text = plain(plan_lines(plan([item("a", Reason.UNDO, entry(), None, back)], undoes="r7"), WORDS))
    assert "undoes r7" in text
    assert "same" not in text
    assert "on local: as it was before the run" in text


def _stable(text: str) -> str:
    """Without the digest, which changes with the numbers of the steps."""
    import re

    return re.sub(r"plan [0-9a-f]{16}", "plan DIGEST", text)
