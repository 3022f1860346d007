"""What is read from an entry: facts in one unit, and a hash that only what means something changes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from trueup.stores.http.entries import entry
from trueup.stores.http.spec import Malformed, Provider, known, openai_shaped, parse

PRICES: dict[str, tuple[dict[str, Any], float]] = {
    "xai": ({"id": "grok-4", "prompt_text_token_price": 30000}, 3.0),
    "together": ({"id": "m", "pricing": {"input": 0.88}}, 0.88),
    "openrouter": ({"id": "m", "pricing": {"prompt": "0.0000025"}}, 2.5),
}


@pytest.mark.parametrize("provider", PRICES)
def test_prices_of_every_unit_become_dollars_per_million_tokens(provider: str) -> None:
    raw, dollars = PRICES[provider]
    assert entry(known()[provider], raw).facts["price_input"] == dollars


@pytest.mark.parametrize("price", ["-1", "free", "nan", None, ""])
def test_what_is_no_price_is_not_known(price: object) -> None:
    assert "price_input" not in entry(known()["openrouter"], {"id": "m", "pricing": {"prompt": price}}).facts


@pytest.mark.parametrize(
    ("provider", "raw", "date"),
    [
        ("mistral", {"id": "m", "deprecation": "2026-12-31T12:00:00+00:00"}, "2026-12-31"),
        ("anthropic", {"id": "m", "retires_at": "2026-12-31"}, "2026-12-31"),
        ("azure", {"id": "m", "deprecation": {"inference": 1798675200}}, "2026-12-31"),
        ("openrouter", {"id": "m", "expiration_date": "soon"}, None),
    ],
)
def test_dates_of_every_form_become_iso_dates(provider: str, raw: dict[str, Any], date: str | None) -> None:
    assert entry(known()[provider], raw).facts.get("retires_at") == date


def test_a_prefix_that_all_ids_share_is_left_out() -> None:
    assert entry(known()["gemini"], {"name": "models/gemini-2.5-pro"}).id == "gemini-2.5-pro"


def test_what_is_volatile_changes_nothing_and_what_is_unknown_to_us_does() -> None:
    spec = known()["vllm"]
    first = entry(spec, {"id": "m", "created": 1, "max_model_len": 8})
    assert first.hash == entry(spec, {"max_model_len": 8, "id": "m", "created": 1798675200}).hash
    assert first.hash != entry(spec, {"id": "m", "created": 1, "max_model_len": 9}).hash
    assert first.hash != entry(spec, {"id": "m", "created": 1, "max_model_len": 8, "new": True}).hash


def test_the_order_of_words_in_a_list_changes_nothing() -> None:
    spec = known()["cohere"]
    one, other = ({"name": "m", "features": words} for words in (["tools", "json"], ["json", "tools"]))
    assert entry(spec, one).hash == entry(spec, other).hash


def test_fields_that_nobody_described_are_kept() -> None:
    assert entry(known()["openai"], {"id": "m", "surprise": [1]}).raw["surprise"] == [1]


def test_what_another_list_tells_is_added_and_what_it_contradicts_is_a_conflict() -> None:
    made = entry(
        known()["xai"],
        {"id": "grok-4", "version": "1"},
        [("/language-models", {"id": "grok-4", "version": "2", "aliases": ["grok"]})],
    )
    assert made.facts["version"] == "1"
    assert made.conflicts == {"version": [("/language-models", "2")]}
    assert (made.facts["aliases"], made.sources["aliases"]) == (["grok"], "/language-models")


def test_a_rule_never_replaces_what_is_listed() -> None:
    spec = known()["openai"]
    assert entry(spec, {"id": "gpt-4o"}).sources["vision"] == "rule"
    assert "vision" not in entry(spec, {"id": "unheard-of"}).facts
    listed = entry(known()["mistral"], {"id": "m", "capabilities": {"vision": False}})
    assert (listed.facts["vision"], listed.sources["vision"]) == (False, "native")


@pytest.mark.parametrize("wrong", [None, "", 7, "a\nb", "x" * 513])
def test_an_id_that_cannot_be_one_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="no usable id"):
        entry(known()["openai"], {"id": wrong})


def test_every_provider_of_the_catalogue_is_described() -> None:
    assert len(known()) == 26
    assert list(known())[:3] == ["openai", "azure", "gemini"]
    for provider in known().values():
        assert provider.statistics or not provider.families, provider.name
        assert set(provider.volatile) >= ({"created"} if provider.name in ("vllm", "llamacpp", "lmstudio") else set())


@pytest.mark.parametrize("provider", known().values(), ids=known())
def test_every_expression_of_a_description_is_one(provider: Provider) -> None:
    for expression in [rule.match for rule in provider.rules] + [family.match for family in provider.families]:
        assert re.compile(expression).search("?") is None, "it would match anything"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"base_urI": "x"}, "no setting base_urI"),
        ({"base_url": 7}, "base_url must be str"),
        ({"base_url": "ftp://x"}, "no http URL"),
        ({"key_env": "X"}, "key_env must be"),
        ({"key": "perhaps"}, "key must be one of"),
        ({"credential": "magic"}, "credential must be one of aws, entra, google"),
        ({"key_env": []}, "a key is required"),
        ({"base_url": ""}, "nothing says where it is"),
        ({"fields": {"x": {"path": "y", "unit": "yen"}}}, "unknown unit yen"),
        ({"fields": {"x": "y"}}, "is no table"),
        ({"fields": {"x": {}}}, "fields.x"),
        ({"paging": {"size": True, "size_param": "a", "cursor": "b", "cursor_param": "c"}}, "size must be int"),
    ],
)
def test_a_description_that_is_wrong_is_refused_with_the_place(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse("mine", {"title": "Mine", "base_url": "https://x/v1", "key_env": ["X"]} | wrong)


def test_a_provider_that_only_the_configuration_names_answers_as_openai_does() -> None:
    spec = openai_shaped("my-server", "http://127.0.0.1:1/v1")
    assert spec.key_env == ("MY_SERVER_API_KEY",)
    assert entry(spec, {"id": "m", "owned_by": "me"}).facts == {"owner": "me"}
