"""The tables of policies and environments, word by word."""

import pytest

from trueup.core.model import Content, Entry, Key, Kind, Side, Token
from trueup.core.table import Act, Standing, Verb, words
from trueup.targets import environments, policies
from trueup.targets.environments import Environments
from trueup.targets.policies import DISK, ENGINE, RECORD, Policies

FORGET = (Act(Verb.RECORD_REMOVE, RECORD),)

POLICIES = {
    "aa": ("agree", (), Standing.PLAIN),
    "ab": ("differs", (), Standing.DAMAGED),
    "a-": ("weights_missing", FORGET, Standing.PLAIN),
    "ax": ("weights_damaged", (), Standing.DAMAGED),
    "-a": ("unregistered", (), Standing.UNREGISTERED),
    "-x": ("unregistered_damaged", (), Standing.DAMAGED),
}
ENVIRONMENTS = {
    "aa": ("agree", (), Standing.PLAIN),
    "ab": ("differs", (), Standing.DAMAGED),
    "ax": ("image_damaged", (), Standing.DAMAGED),
    "a-": ("image_missing", FORGET, Standing.PLAIN),
    "-a": ("unregistered", (), Standing.UNREGISTERED),
    "-x": ("unregistered_damaged", (), Standing.DAMAGED),
}
BOTH = [(policies.table, POLICIES, DISK), (environments.table, ENVIRONMENTS, ENGINE)]


@pytest.mark.parametrize(("table", "said", "content"), BOTH)
@pytest.mark.parametrize("adopt", [False, True])
def test_every_word_has_the_verdict_of_the_page(table, said, content: Side, *, adopt: bool) -> None:  # type: ignore[no-untyped-def]
    rules = table(adopt=adopt).rules
    assert set(rules) == set(said) == set(words(2, damageable=[1]))
    for word, rule in rules.items():
        if adopt and word == "-a":
            assert (rule.reason, rule.acts) == ("adopted", (Act(Verb.RECORD_ADD, RECORD, content),))
        else:
            assert (rule.reason, rule.acts, rule.standing) == said[word]
        if rule.reason != "agree":
            assert rule.why, word


@pytest.mark.parametrize(("table", "said", "content"), BOTH)
@pytest.mark.parametrize("adopt", [False, True])
def test_sync_writes_nothing_but_the_record_and_forgets_nothing_but_what_is_absent(  # type: ignore[no-untyped-def]
    table, said, content: Side, *, adopt: bool
) -> None:
    for word, rule in table(adopt=adopt).rules.items():
        assert {act.side for act in rule.acts} <= {RECORD}
        if any(act.verb is Verb.RECORD_REMOVE for act in rule.acts):
            assert word == "a-"
    for word in ("?a", "a?", "??", "-?", "?-", "?x"):
        assert table(adopt=adopt).decide(word).acts == ()


def test_what_is_adopted_is_recorded_as_the_owner_of_the_registry_writes_it() -> None:
    entry = Entry(Token("t"), Content(Kind.FILE, 7), 1_500_000_000_000_000_000)
    method = policies.method(adopt=True, path_of=lambda name, version: f"/models/{name}/{version}")
    assert method.record is not None
    act = Act(Verb.RECORD_ADD, RECORD, DISK)
    assert method.record(Key("pi0:a:b"), {DISK: entry}, act).fields == {
        "name": "pi0",
        "version": "a:b",
        "image": "",
        "path": "/models/pi0/a:b",
        "repo": None,
        "pulled_at": 1.5e9,
    }
    images = environments.method(adopt=True, image_of={Key("libero"): "sims/libero:v2"}.get)
    assert images.record is not None
    act = Act(Verb.RECORD_ADD, RECORD, ENGINE)
    assert images.record(Key("libero"), {ENGINE: entry}, act).fields["image"] == "sims/libero:v2"
    assert images.record(Key("other"), {}, act).fields == {"name": "other", "image": "other", "pulled_at": 0.0}


def test_a_target_is_its_registry_and_what_it_speaks_of() -> None:
    where = {RECORD: Side("/r#policies"), DISK: Side("/m"), ENGINE: Side("unix:///e")}
    one = Policies("a").target(where)
    assert one.id == Policies("b").target({**where, ENGINE: Side("unix:///other")}).id
    assert one.id != Policies("a").target({**where, DISK: Side("/n")}).id
    env = Environments("a").target(where)
    assert env.id != Environments("a").target({**where, ENGINE: Side("unix:///other")}).id
    assert (one.kind, env.kind) == ("policies", "envs")
