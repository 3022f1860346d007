"""The tables of policies and environments, word by word; and what holds for every word, whatever its rule is."""

from collections.abc import Mapping

import pytest

from trueup.core.audit import Method, audit, judge
from trueup.core.model import Content, Damaged, Entry, Key, Kind, Record, Recorded, Shown, Side, Token, Unknown
from trueup.core.plan import Item
from trueup.core.table import Rule, Standing, Table, Verb, words
from trueup.targets import environments, policies

OPENVLA = Key("openvla:7b")
RECORD = policies.RECORD

FORGET = ((Verb.RECORD_REMOVE, RECORD),)
ADD = ((Verb.RECORD_ADD, RECORD),)

# reason, acts, standing: for every word but those of an adopting table.
POLICIES = {
    "aa": ("agree", (), Standing.PLAIN),
    "ab": ("differs", (), Standing.DAMAGED),
    "a-": ("weights_missing", FORGET, Standing.PLAIN),
    "ax": ("weights_damaged", (), Standing.DAMAGED),
    "-a": ("unregistered", (), Standing.UNREGISTERED),
    "-x": ("unregistered_damaged", (), Standing.DAMAGED),
    "a?": ("unknown", (), Standing.UNKNOWN),
    "?a": ("unknown", (), Standing.UNKNOWN),
    "?-": ("unknown", (), Standing.UNKNOWN),
    "?x": ("unknown", (), Standing.UNKNOWN),
    "-?": ("unknown", (), Standing.UNKNOWN),
    "??": ("unknown", (), Standing.UNKNOWN),
}
ENVIRONMENTS = POLICIES | {
    "a-": ("image_missing", FORGET, Standing.PLAIN),
    "ax": ("image_damaged", (), Standing.DAMAGED),
}
ADOPTED = {"-a": ("adopted", ADD, Standing.PLAIN)}

KINDS = {
    "policies": (policies.table(adopt=False), POLICIES),
    "policies, adopting": (policies.table(adopt=True), POLICIES | ADOPTED),
    "envs": (environments.table(adopt=False), ENVIRONMENTS),
    "envs, adopting": (environments.table(adopt=True), ENVIRONMENTS | ADOPTED),
}
CASES = [(kind, spelled) for kind, (_, rules) in KINDS.items() for spelled in rules]
TABLES = [table for table, _ in KINDS.values()]


def every_word(table: Table) -> list[str]:
    """All words, with unknown in all places."""
    known = list(words(2, damageable=[table.sides.index(side) for side in table.damageable]))
    hidden = {f"?{word[1]}".replace("b", "a") for word in known} | {f"{word[0]}?" for word in known}
    return [*known, *sorted(hidden), "??"]


@pytest.mark.parametrize(("kind", "spelled"), CASES)
def test_every_word_has_its_verdict(kind: str, spelled: str) -> None:
    table, rules = KINDS[kind]
    rule = table.decide(spelled)
    acts = tuple((act.verb, act.side) for act in rule.acts)
    assert (rule.reason, acts, rule.standing) == rules[spelled]


@pytest.mark.parametrize("kind", KINDS)
def test_the_verdicts_above_are_of_all_words(kind: str) -> None:
    table, rules = KINDS[kind]
    assert set(rules) == set(every_word(table))


@pytest.mark.parametrize("table", TABLES)
def test_weights_and_images_are_never_written(table: Table) -> None:
    for spelled in every_word(table):
        assert {act.side for act in table.decide(spelled).acts} <= {RECORD}, spelled


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_done_where_something_is_unknown_or_damaged(table: Table) -> None:
    for spelled in every_word(table):
        if "?" in spelled or "x" in spelled:
            assert table.decide(spelled).acts == (), spelled
            assert table.decide(spelled).standing in (Standing.UNKNOWN, Standing.DAMAGED), spelled


@pytest.mark.parametrize("table", TABLES)
def test_an_entry_is_removed_only_where_its_content_is_known_to_be_absent(table: Table) -> None:
    removing = {
        spelled
        for spelled in every_word(table)
        if any(act.verb is Verb.RECORD_REMOVE for act in table.decide(spelled).acts)
    }
    assert removing == {"a-"}


@pytest.mark.parametrize("module", [policies, environments])
def test_adopting_adds_and_changes_nothing_else(module: object) -> None:
    plain, adopting = (module.table(adopt=adopt) for adopt in (False, True))  # type: ignore[attr-defined]  # a module
    changed = {word for word in every_word(plain) if plain.decide(word) != adopting.decide(word)}
    assert changed == {"-a"}
    assert [act.verb for act in adopting.decide("-a").acts] == [Verb.RECORD_ADD]


@pytest.mark.parametrize("table", TABLES)
def test_whatever_is_not_plain_says_why(table: Table) -> None:
    rules: list[Rule] = [table.rules[word] for word in table.rules]
    assert all(rule.why for rule in rules if rule.reason != "agree")


# -- items ------------------------------------------------------------------------------------------------------------


def recorded(**fields: object) -> Recorded:
    return Recorded(Token("r"), Record.of(fields))


def held(modified_ns: int = 0) -> Entry:
    return Entry(Token("v"), Content(Kind.FILE, 5), modified_ns)


def item(method: Method, seen: Mapping[Side, Shown], key: Key = OPENVLA) -> Item | None:
    items, agreed = audit([judge(key, seen, method)], method)
    assert len(items) + agreed == 1
    return items[0] if items else None


def test_a_missing_image_is_no_reason_to_forget_a_policy() -> None:
    method = policies.method(adopt=False)
    for engine in (None, Unknown("the engine is down"), Damaged("another image", Token("x"))):
        seen: dict[Side, Shown] = {RECORD: recorded(image="openvla"), policies.DISK: held(), policies.ENGINE: engine}
        assert item(method, seen) is None


def test_an_unknown_image_keeps_no_policy_whose_weights_are_gone() -> None:
    method = policies.method(adopt=False)
    seen: dict[Side, Shown] = {RECORD: recorded(), policies.DISK: None, policies.ENGINE: Unknown("down")}
    found = item(method, seen)
    assert found is not None
    assert [step.verb for step in found.steps] == [Verb.RECORD_REMOVE]


def test_damage_and_ignorance_are_told_in_the_words_of_the_side() -> None:
    broken = item(policies.method(adopt=True), {RECORD: recorded(), policies.DISK: Damaged("empty", Token("v"))})
    unseen = item(environments.method(adopt=True), {RECORD: recorded(), environments.ENGINE: Unknown("down")})
    other = item(
        environments.method(adopt=True), {RECORD: recorded(), environments.ENGINE: Damaged("another", Token("v"))}
    )
    assert broken is not None
    assert unseen is not None
    assert other is not None
    assert (broken.why, unseen.why, other.why) == ("empty", "engine: down", "another")
    assert not [*broken.steps, *unseen.steps, *other.steps]


def test_an_adopted_policy_is_recorded_as_the_tool_that_owns_the_registry_records_one() -> None:
    method = policies.method(adopt=True, path_of=lambda name, version: f"/models/{name}/{version}")
    found = item(method, {policies.DISK: held(3_000_000_000)})
    assert found is not None
    (step,) = found.steps
    assert (step.verb, step.side) == (Verb.RECORD_ADD, RECORD)
    assert step.record is not None
    assert step.record.fields == {
        "name": "openvla",
        "version": "7b",
        "image": "",
        "path": "/models/openvla/7b",
        "repo": None,
        "pulled_at": 3.0,
    }


def test_an_adopted_environment_names_the_image_that_was_seen() -> None:
    method = environments.method(adopt=True, image_of=lambda key: f"sims/{key}:v1")
    found = item(method, {environments.ENGINE: held(2_000_000_000)}, Key("libero"))
    assert found is not None
    (step,) = found.steps
    assert step.record is not None
    assert step.record.fields == {"name": "libero", "image": "sims/libero:v1", "pulled_at": 2.0}


def test_the_identity_of_a_target_is_its_registry_and_what_it_speaks_of() -> None:
    def identity(spec: policies.Policies | environments.Environments, **places: str) -> str:
        return spec.target({Side(side): place for side, place in places.items()}).id

    plain = identity(policies.Policies(), record="r", disk="d", engine="e")
    assert plain == identity(policies.Policies("other", adopt=True), record="r", disk="d", engine="another")
    assert plain != identity(policies.Policies(), record="r", disk="another", engine="e")
    assert plain != identity(policies.Policies(), record="another", disk="d", engine="e")
    envs = identity(environments.Environments(), record="r", engine="e")
    assert envs != identity(environments.Environments(), record="r", engine="another")
    assert envs != plain
