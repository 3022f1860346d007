"""The scenarios of the comparison, played with ours; `make compare` plays them with the others too."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.compare.page import Result, figures, page
from benchmarks.compare.play import MISSED, play
from benchmarks.compare.scenario import Ending, Outcome, Scenario, Verdict, is_good, judge
from benchmarks.compare.table import FEW, OURS, RACES, TABLE, without
from benchmarks.compare.tools import TOOLS, Ours, OursOnFolders
from tests.services import Service

pytestmark = pytest.mark.engine
NEEDS_A_PROXY = {"listing_breaks_off", "listing_lies", "hostile_keys", "cut_download", "turned_bit"}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [*TABLE, *RACES], ids=lambda scenario: scenario.name)
def test_ours_ends_as_expected_on_a_bucket(scenario: Scenario, tmp_path: Path, strong_s3: Service) -> None:
    verdict = play(Ours(), scenario, tmp_path / "stage", strong_s3)
    if scenario.name == "listing_lies":  # seven of twenty files: fewer than the guard counts; they are in the trash
        assert verdict.outcome is Outcome.DIFFERS, verdict
    else:
        assert is_good(scenario, verdict), verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", [one for one in RACES if one.name not in NEEDS_A_PROXY], ids=lambda scenario: scenario.name
)
def test_ours_wins_the_races_on_folders_too(scenario: Scenario, tmp_path: Path, strong_s3: Service) -> None:
    for number in range(10):  # a watcher tells when the moment is there, and may be late
        verdict = play(OursOnFolders(), scenario, tmp_path / str(number), strong_s3)
        if verdict.evidence != MISSED:
            assert is_good(scenario, verdict), verdict
            return
    pytest.skip(MISSED)


def ended(local: dict[str, bytes], remote: dict[str, bytes], *, code: int = 0, outside: tuple[str, ...] = ()) -> Ending:
    before = ({**FEW, "a": OURS}, dict(FEW))
    return Ending(local, remote, before, frozenset({b"aside"}), (code,), "it refused", outside)


EDITED = {**FEW, "a": OURS}
SCENARIO = Scenario("one", "an edit", FEW, local={"a": OURS}, expect=EDITED)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (ended(EDITED, EDITED), Outcome.KEPT),
        (ended(EDITED, FEW, code=1), Outcome.REFUSED),
        (ended(EDITED, FEW), Outcome.DIFFERS),
        (ended(FEW, FEW), Outcome.LOST),
        (ended(without(EDITED, "b"), without(EDITED, "b")), Outcome.LOST),
        (ended(EDITED, {**EDITED, "more": b"?"}), Outcome.DIFFERS),
        (ended(EDITED, EDITED, outside=("../evil.txt",)), Outcome.LOST),
    ],
)
def test_the_end_is_judged_by_what_is_where(ending: Ending, outcome: Outcome) -> None:
    assert judge(SCENARIO, ending).outcome is outcome


def test_the_page_tells_the_worst_and_how_often() -> None:
    scenario, tools = RACES[0], TOOLS[:1]
    result = Result("trueup", scenario, (Verdict(Outcome.KEPT, "x"), Verdict(Outcome.LOST, "gone")))
    assert "**lost** 1/2" in page(tools, [result])
    assert "| trueup | 1 | 0 | 0 | 0 | 1 |" in figures(tools, [result])[0]
    assert figures(tools, [result])[1] is False


def test_no_two_scenarios_bear_the_same_name() -> None:
    names = [scenario.name for scenario in (*TABLE, *RACES)]
    assert len(set(names)) == len(names)
