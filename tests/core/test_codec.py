"""Plans and reports as documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.plans import plan, reported, upload

from trueup.core import codec
from trueup.core.codec import (
    CodecError,
    decode,
    digest,
    encode,
    plan_from_bytes,
    plan_from_json,
    plan_to_json,
    report_from_json,
    report_to_json,
)
from trueup.core.model import (
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Damaged,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Record,
    Recorded,
    Token,
    Unknown,
    key_from_bytes,
)
from trueup.core.plan import Item, Observed, Phase, Plan, Ref, Step, Target
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Standing, Verb

texts = st.text(st.characters(codec="utf-8"), max_size=5)
keys = st.binary(min_size=1, max_size=6).map(key_from_bytes)
tokens = texts.map(Token)
sides = st.sampled_from([LOCAL, REMOTE])
sizes = st.integers(0, 2**63)
times = st.integers(0, 2**62)
modes = st.none() | st.integers(0, 0o7777)
fingerprints = st.none() | st.builds(Fingerprint, texts, texts)
contents = st.builds(Content, st.sampled_from(Kind), sizes, fingerprints)
entries = st.builds(Entry, tokens, contents, times, modes)
unknowns = st.builds(Unknown, texts, st.sampled_from(Kind), sizes)
damaged = st.builds(Damaged, texts, tokens, sizes)
some_records = st.dictionaries(texts, texts | st.integers() | st.none(), max_size=2).map(Record.of)
seen = st.none() | entries | unknowns | damaged | st.builds(Recorded, tokens, some_records)
records = st.none() | some_records
ancestors = st.none() | st.builds(Ancestor, tokens, tokens, contents)
refs = st.none() | st.builds(Ref, sides, keys, tokens, contents, times, modes, st.none() | texts)
verbs = st.sampled_from(Verb)
ids = st.lists(texts, max_size=2).map(tuple)
steps = st.builds(Step, texts, keys, sides, verbs, st.none() | tokens, refs, ids, records)
some_steps = st.lists(steps, max_size=2).map(tuple)
by_role = st.dictionaries(sides, seen, max_size=3)
standings = st.sampled_from(Standing)
items = st.builds(
    Item, keys, texts, by_role, ancestors, some_steps, st.sampled_from(Phase), ancestors, standings, texts
)
observed = st.builds(
    Observed,
    texts,
    st.booleans(),
    texts,
    sizes,
    sizes,
    sizes,
    st.none() | texts,
    st.none() | texts,
    st.none() | sizes,
    ids,
)
by_side = st.fixed_dictionaries({LOCAL: observed, REMOTE: observed})
targets = st.builds(Target, texts, texts, texts, st.fixed_dictionaries({LOCAL: texts, REMOTE: texts}))
policies = st.builds(
    Policy, st.sampled_from(Direction), st.sampled_from(Conflict), st.sampled_from(Deletes), st.sampled_from(Keep)
)
some_items = st.lists(items, max_size=2).map(tuple)
some_keys = st.lists(keys, max_size=2).map(tuple)
plans = st.builds(Plan, targets, policies, some_items, by_side, sizes, sizes, times, st.none() | texts, some_keys)
outcomes = st.builds(
    Outcome, texts, keys, st.sampled_from(Status), texts, texts, st.none() | tokens, fingerprints, st.none() | texts
)
reports = st.builds(
    Report,
    plans,
    st.sampled_from(Ending),
    st.none() | texts,
    st.lists(outcomes, max_size=2).map(tuple),
    st.floats(0, 1e6),
    st.none() | sizes,
)


def through_text(document: dict[str, Any]) -> Any:
    """As a file would have it: bytes, whatever the names are."""
    return json.loads(json.dumps(document).encode("utf-8"))


@given(plans)
def test_a_plan_comes_back_from_its_document_as_it_was(whole: Plan) -> None:
    assert plan_from_json(through_text(plan_to_json(whole))) == whole


@given(reports)
def test_a_report_comes_back_from_its_document_as_it_was(whole: Report) -> None:
    assert report_from_json(through_text(report_to_json(whole))) == whole


def test_names_that_are_not_utf_8_survive() -> None:
    whole = plan(upload(key_from_bytes(b"\xff/\x80")))
    document = json.dumps(plan_to_json(whole))
    assert document.isascii()
    assert "\\udcff/\\udc80" in document
    assert plan_from_json(json.loads(document)).items[0].key == "\udcff/\udc80"


# -- the digest ------------------------------------------------------------------------------------------------------


@given(plans, times, st.none() | sizes)
def test_the_digest_is_independent_of_when_and_of_how_much_room_there_is(
    whole: Plan, made_ns: int, free: int | None
) -> None:
    later = {side: replace(seen, free_bytes=free) for side, seen in whole.observed.items()}
    assert digest(replace(whole, made_ns=made_ns, observed=later)) == digest(whole)


@given(plans, plans)
def test_plans_that_do_something_else_have_another_digest(one: Plan, two: Plan) -> None:
    if (one.items, one.policy, one.target) != (two.items, two.policy, two.target):
        assert digest(one) != digest(two)


def test_the_digest_of_a_plan_does_not_change_from_release_to_release() -> None:
    assert digest(plan(upload("f"))) == digest(plan(upload("f")))
    assert len(digest(plan())) == 16
    int(digest(plan()), 16)


# -- what is refused -------------------------------------------------------------------------------------------------

LOCAL_ITEM = "items", 0, "seen", "local"
DOCUMENT = plan_to_json(plan(upload("f"), reported("u")))
Edit = Callable[[Any], object]


def _set(*path: str | int, to: object) -> Edit:
    def edit(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = to

    return edit


def _drop(*path: str | int) -> Edit:
    def edit(document: Any) -> None:
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return edit


STEP = ("plan", "items", 0, "steps", 0)
BAD = [
    (_set("digest", to="0" * 16), "the plan was altered or damaged"),
    (_drop("digest"), "the plan was altered or damaged"),
    (_set("plan", "ancestors", to=99), "the plan was altered or damaged"),
    (_set(*STEP, "expect", to="other"), "the plan was altered or damaged"),
    (_set("format", to="trueup.report"), "this is not a trueup.plan document"),
    (_drop("format"), "this is not a trueup.plan document"),
    (_set("version", to=2), "trueup.plan version 2 cannot be read - this trueup reads version 1"),
    (_drop("version"), "trueup.plan version None cannot be read"),
    (_drop("plan"), "plan must be dict - it is NoneType"),
    (_set("plan", "extra", to=1), "plan has missing or unknown fields - extra"),
    (_drop("plan", "items"), "plan has missing or unknown fields - items"),
    (_set("plan", "items", to={}), "plan.items must be list - it is dict"),
    (_set("plan", "items", 0, to=1), "plan.items[0] must be dict - it is int"),
    (_set("plan", "items", 0, "key", to=1), "plan.items[0].key must be str - it is int"),
    (_set("plan", "items", 0, "standing", to="whim"), "plan.items[0].standing is no Standing - 'whim'"),
    (_set("plan", "items", 0, "phase", to=3), "plan.items[0].phase is no Phase - 3"),
    (
        _set("plan", *LOCAL_ITEM, to={"odd": 1}),
        "plan.items[0].seen.local has the fields of nothing known",
    ),
    (_set("plan", *LOCAL_ITEM, to="x"), "plan.items[0].seen.local must be dict - it is str"),
    (
        _set("plan", *LOCAL_ITEM, "content", "size", to="1"),
        "plan.items[0].seen.local.content.size must be int",
    ),
    (_set("plan", *LOCAL_ITEM, "content", "size", to=True), "content.size must be int - it is bool"),
    (_set("plan", *LOCAL_ITEM, "content", "size", to=1.0), "content.size must be int - it is float"),
    (_set(*STEP, "verb", to=None), "plan.items[0].steps[0].verb is no Verb - None"),
    (_set(*STEP, "value", "kept", to=0), "plan.items[0].steps[0].value.kept must be str - it is int"),
    (_set(*STEP, "needs", to=[0]), "plan.items[0].steps[0].needs[0] must be str - it is int"),
    (_set("plan", "observed", to=[]), "plan.observed must be dict - it is list"),
    (_set("plan", "observed", "local", "complete", to=1), "plan.observed.local.complete must be bool - it is int"),
    (_set("plan", "target", "locations", "local", to=None), "plan.target.locations.local must be str"),
]


@pytest.mark.parametrize(("edit", "says"), BAD, ids=[says for _, says in BAD])
def test_a_document_that_is_no_plan_is_refused_with_the_place(edit: Edit, says: str) -> None:
    document = through_text(DOCUMENT)
    plan_from_json(document)
    edit(document)
    with pytest.raises(CodecError) as caught:
        plan_from_json(document)
    assert says in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "plan", 1, {}])
def test_anything_else_is_no_document(document: object) -> None:
    with pytest.raises(CodecError, match=r"this is not a trueup\.plan document"):
        plan_from_json(document)
    with pytest.raises(CodecError, match=r"this is not a trueup\.report document"):
        report_from_json(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(DOCUMENT["plan"])), json_values)
def test_no_document_is_answered_with_anything_but_a_plan_or_a_codec_error(field: str, value: object) -> None:
    document = through_text(DOCUMENT)
    document["plan"][field] = value
    with suppress(CodecError):
        assert encode(plan_from_json(document)) == document["plan"]


def test_a_whole_number_of_seconds_is_read_as_seconds() -> None:
    document = report_to_json(Report(plan(), Ending.APPLIED, seconds=2.0))
    document["report"]["seconds"] = 2
    seconds = report_from_json(document).seconds
    assert (seconds, type(seconds)) == (2.0, float)
    document["report"]["seconds"] = "2"
    with pytest.raises(CodecError, match=r"report\.seconds must be float"):
        report_from_json(document)


def test_an_ordinal_is_written_by_its_name() -> None:
    assert [encode(phase) for phase in Phase] == ["agree", "clear", "replace", "write", "delete", "after", "finish"]
    assert decode(Phase, "clear", "phase") is Phase.CLEAR


def test_a_report_of_a_newer_version_is_refused() -> None:
    document = report_to_json(Report(plan(), Ending.APPLIED)) | {"version": 2}
    with pytest.raises(CodecError, match=r"trueup\.report version 2 cannot be read"):
        report_from_json(document)


def test_a_key_is_not_mistaken_for_its_escape() -> None:
    whole = plan(upload("\\udcff"), upload(Key("\udcff"), step="s2"))
    assert [item.key for item in plan_from_json(through_text(plan_to_json(whole))).items] == ["\\udcff", "\udcff"]


def test_a_plan_that_does_not_hang_together_is_refused_though_its_digest_is_right() -> None:
    forged = plan(upload("a"), upload("b"))  # both steps have one name
    with pytest.raises(CodecError, match="does not hang together"):
        plan_from_bytes(json.dumps(plan_to_json(forged)).encode())


def test_a_plan_comes_back_from_its_bytes() -> None:
    made = plan(upload("a"))
    assert plan_from_bytes(json.dumps(plan_to_json(made)).encode()) == made


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"format": 1, "format": 2}', "a field is there twice"),
        (b'{"version": NaN}', "NaN is no number"),
        (b'{"version": -Infinity}', "-Infinity is no number"),
        (b'{"version": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b"{}", "not a trueup.plan document"),
    ],
)
def test_bytes_that_are_no_plan_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(CodecError, match=said):
        plan_from_bytes(data)


@pytest.mark.parametrize(("limit", "data"), [("MAX_BYTES", b" " * 101), ("MAX_VALUES", b"[" + b"0," * 100 + b"0]")])
def test_a_plan_out_of_all_proportion_is_not_even_parsed(
    monkeypatch: pytest.MonkeyPatch, limit: str, data: bytes
) -> None:
    monkeypatch.setattr(codec, limit, 100)
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(CodecError, match="too large to be read"):
        plan_from_bytes(data)


@pytest.mark.parametrize("value", [1 << 94, -(1 << 94), 10**400, 1e999])
@pytest.mark.parametrize("expected", [int, float])
def test_a_number_that_no_system_call_takes_is_refused(expected: type, value: float) -> None:
    with pytest.raises(CodecError):
        decode(expected, value, "field")
