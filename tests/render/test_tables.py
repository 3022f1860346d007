"""Tables of runs, kept versions, conflicts, findings."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from tests.render.samples import HOUR_NS, everything, item, plan

from trueup.core.model import LOCAL, REMOTE, Key, Unknown
from trueup.core.reconcile import Reason
from trueup.render.plans import Words
from trueup.render.tables import CONSEQUENCES, conflict_lines, finding_lines, history_lines, trash_lines
from trueup.render.text import plain, table

Golden = Callable[[str, str], None]


@dataclass(frozen=True)
class Run:
    id: str
    target_name: str = "photos"
    command: str = "trueup sync photos"
    started_ns: int = 400_000 * HOUR_NS
    finished_ns: int | None = 400_000 * HOUR_NS + 2_500_000_000
    state: str = "applied"
    done: int = 1200
    failed: int = 0
    undoes: str | None = None


@dataclass(frozen=True)
class Kept:
    handle: str
    run: str
    key: Key
    size: int = 1_500_000
    discarded_ns: int = 400_000 * HOUR_NS


@dataclass(frozen=True)
class Finding:
    check: str
    ok: bool
    detail: str = ""
    fix: str = ""


def test_history(golden: Golden) -> None:
    runs = [
        Run("r3", state="running", finished_ns=None),
        Run("r2", undoes="r1", failed=2),
        Run("r1", target_name="\x1b"),
    ]
    golden("history", plain(history_lines(runs, zone=UTC)))


def test_trash(golden: Golden) -> None:
    kept = [(LOCAL, Kept("r1/0/a", "r1", Key("a\nb"))), (REMOTE, Kept("r1/0/b", "r1", Key("b"), discarded_ns=0))]
    golden("trash", plain(trash_lines(kept, zone=UTC)))


def test_conflicts(golden: Golden) -> None:
    extra = item("x.txt", Reason.CONFLICT, None, Unknown("denied"))
    golden("conflicts", plain(conflict_lines(plan([*everything(), extra]), Words("photos"), zone=UTC)))


def test_findings(golden: Golden) -> None:
    golden(
        "findings", plain(finding_lines([Finding("state", True, "/s"), Finding("a local", False, "gone", "mount it")]))
    )


def test_nothing_is_said_in_words() -> None:
    assert plain(history_lines([])) == "no runs yet\n"
    assert plain(trash_lines([])) == "the trash is empty\n"
    assert plain(conflict_lines(plan([]), Words("photos"))) == "photos  no conflicts\n"
    assert "well" in plain(finding_lines([]))
    assert table(("a",), []) == []


def test_each_answer_says_its_consequence() -> None:
    assert list(CONSEQUENCES) == ["local", "remote", "both"]
