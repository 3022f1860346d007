"""Documents for programs: each with a format and a version, none that a terminal could obey."""

import json

import pytest
from tests.render.samples import everything, plan

from trueup.core.check import Guard, Refusal
from trueup.core.codec import plan_from_json, report_from_json
from trueup.core.errors import UsageError
from trueup.core.report import Ending, Report
from trueup.render.documents import document, dump, event, refusal_fields, summary_fields


def test_a_document_holds_plans_that_can_be_read_back() -> None:
    made = plan(everything())
    report = Report(made, Ending.DECLINED)
    read = json.loads(dump(document("results", plans=[made], table={"report": report}, error=None)))
    assert read["format"] == "trueup.results"
    assert read["version"] == 1
    assert plan_from_json(read["plans"][0]) == made
    assert report_from_json(read["table"]["report"]) == report


def test_hostile_names_survive_and_stay_ascii() -> None:
    text = dump(document("plan", plan=plan(everything())))
    assert text.isascii()
    assert "\x1b" not in text
    assert "\\udcff" in text


def test_an_event_is_one_line() -> None:
    line = event("outcome", name="two\nlines")
    assert line.count("\n") == 1
    read = json.loads(line)
    assert (read["format"], read["version"], read["event"]) == ("trueup.event", 1, "outcome")
    assert read["name"] == "two\nlines"


def test_an_error_says_its_parts() -> None:
    error = UsageError("what", why="why", attempt="trueup help")
    assert document("error", error=error)["error"] == {
        "code": "TU-USAGE",
        "what": "what",
        "why": "why",
        "try": "trueup help",
        "exit_code": 64,
    }


def test_refusals_name_their_guard() -> None:
    assert refusal_fields([Refusal(Guard.EMPTIED, "empty")]) == [{"guard": "emptied", "why": "empty"}]


@pytest.mark.parametrize(("by_content", "verified"), [(True, "content"), (False, "metadata")])
def test_a_summary_counts(*, by_content: bool, verified: str) -> None:
    made = plan(everything())
    summary = summary_fields(made, by_content=by_content)
    assert summary["verified"] == verified
    assert summary["in_sync"] is False
    assert summary["changes"] == len(made.changes)
    assert summary_fields(plan([]))["in_sync"] is True
