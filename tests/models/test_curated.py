"""What data packages add: only if asked for, with their name, never in place of what a provider says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from genai_prices.data import providers as priced
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices
from tests.models.home import Models
from tests.models.server import Reply, openai

from trueup.cli.models.packages import age
from trueup.stores.catalogue.library import DataPackage
from trueup.stores.http import curated
from trueup.stores.http.curated import Package, enriched, packages
from trueup.stores.http.entries import Entry, entry
from trueup.stores.http.spec import known

TODAY = date(2026, 11, 21)
ENRICH = '[models]\nenrich = "genai-prices"\n'
OPENAI = known()["openai"]


def package(name: str = "genai-prices", **facts: Any) -> Package:
    """One that says the same of every model."""

    def tell(_: str, __: Sequence[str]) -> tuple[str, dict[str, Any]]:
        return name, facts

    return Package(name, "1", "2026-10-14", tell)


def real(provider: str, raw: dict[str, Any]) -> Entry:
    spec = known()[provider]
    return enriched(spec, entry(spec, raw), packages(["genai-prices"], TODAY))


def fact(models: Models, model: str, name: str) -> Any:
    (found,) = models.json("models", "explain", model)["models"]
    return found["facts"].get(name)


# -- precedence --------------------------------------------------------------------------------------------------


def test_what_the_provider_lists_stays_and_the_difference_is_a_conflict() -> None:
    spec = known()["xai"]
    found = enriched(spec, entry(spec, {"id": "m", "context_length": 8}), [package(context=9, price_input=3.0)])
    assert found.facts == {"context": 8, "price_input": 3.0}
    assert found.sources == {"context": "native", "price_input": "genai-prices"}
    assert found.conflicts == {"context": [("genai-prices", 9)]}


def test_a_package_comes_before_a_rule_about_a_family() -> None:
    plain = entry(OPENAI, {"id": "gpt-4o"})
    assert plain.sources["vision"] == "rule"
    found = enriched(OPENAI, plain, [package(vision=False, functions=True)])
    assert (found.facts["vision"], found.sources["vision"]) == (False, "genai-prices")
    assert found.conflicts == {"vision": [("rule", True)]}


def test_of_two_packages_the_first_counts_and_the_second_is_a_conflict() -> None:
    both = dict(OPENAI.curated) | {"other": "openai"}
    spec = replace(OPENAI, curated=both)
    found = enriched(spec, entry(spec, {"id": "m"}), [package(context=8), package("other", context=9)])
    assert (found.facts["context"], found.conflicts) == (8, {"context": [("other", 9)]})


def test_prices_that_differ_by_rounding_agree() -> None:
    spec = known()["openrouter"]
    listed = entry(spec, {"id": "m", "pricing": {"prompt": "0.0000001"}})
    assert not enriched(spec, listed, [package(price_input=0.1 + 1e-17)]).conflicts


def test_who_has_nothing_to_add_changes_nothing() -> None:
    plain = entry(OPENAI, {"id": "m"})
    assert enriched(OPENAI, plain, [package()]) is plain
    assert enriched(known()["ollama"], plain, [package(context=8)]) is plain


def test_what_a_package_says_is_part_of_what_changed() -> None:
    plain = entry(OPENAI, {"id": "m"})
    hashes = [enriched(OPENAI, plain, [package(price_input=price)]).hash for price in (1.0, 1.0, 2.0)]
    assert hashes[0] == hashes[1]
    assert len({plain.hash, *hashes}) == 3


# -- genai-prices ------------------------------------------------------------------------------------------------


def test_prices_and_sizes_come_in_our_units() -> None:
    found = real("openai", {"id": "gpt-4o"})
    assert {name: found.facts[name] for name in ("price_input", "price_cached_input", "price_output", "context")} == {
        "price_input": 2.5,
        "price_cached_input": 1.25,
        "price_output": 10.0,
        "context": 128000,
    }


def test_ids_are_found_with_the_prefix_that_we_leave_out() -> None:
    assert real("fireworks", {"name": "accounts/fireworks/models/llama-v3p1-8b-instruct"}).facts["price_input"] == 0.2


def test_the_same_model_elsewhere_tells_its_size_and_not_its_price() -> None:
    found = real("azure", {"id": "gpt-4o"})
    assert (found.facts["context"], found.sources["context"]) == (128000, "genai-prices/openai")
    assert "price_input" not in found.facts


def test_unknown_is_not_false() -> None:
    assert real("openai", {"id": "nobody-knows-this"}).facts == {}
    assert "deprecated" not in real("openai", {"id": "gpt-4o"}).facts


def test_a_price_that_depends_on_the_hour_is_not_known() -> None:
    assert not {name for name in real("deepseek", {"id": "deepseek-chat"}).facts if name.startswith("price")}


@pytest.mark.parametrize(("day", "dollars"), [(13, 1.0), (14, 2.0), (15, 2.0)])
def test_a_price_begins_on_its_day(day: int, dollars: float) -> None:
    later = ConditionalPrice(StartDateConstraint(date(2026, 10, 14)), prices=ModelPrice(input_mtok=Decimal(2)))
    first = ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1)))
    found = curated._prices(ModelInfo("m", ClauseEquals("m"), prices=[first, later]), date(2026, 10, day))
    assert found == ModelPrice(input_mtok=Decimal(int(dollars)))


def test_of_a_price_in_tiers_the_first_counts() -> None:
    tiers = TieredPrices(base=Decimal("1.25"), tiers=[])
    model = ModelInfo("m", ClauseEquals("m"), prices=ModelPrice(input_mtok=tiers))
    assert curated._told(model, TODAY) == {"price_input": 1.25}


def test_every_name_of_a_provider_is_one_that_the_package_knows() -> None:
    there = {one.id for one in priced}
    named = {spec.curated["genai-prices"] for spec in known().values() if "genai-prices" in spec.curated}
    assert named <= there
    assert len(named) == 17


def test_the_age_is_that_of_the_latest_date_that_is_past() -> None:
    (then,) = packages(["genai-prices"], date(2026, 9, 1))
    (now,) = packages(["genai-prices"], TODAY)
    assert then.as_of <= "2026-09-01" < now.as_of <= TODAY.isoformat()
    assert age(DataPackage("p", "1", "2026-11-20", 0), TODAY) == "p 1, whose latest date is 2026-11-20, 1 day ago"
    assert age(DataPackage("p", "1", "", 0), TODAY) == "p 1, which names no date"


# -- as a user meets it ------------------------------------------------------------------------------------------


def test_nothing_is_added_unless_it_is_asked_for(models: Models) -> None:
    models.has("openai", "/v1")
    models.server.says("/v1/models", openai(["gpt-4o"]))
    models("sync", "models")
    assert fact(models, "gpt-4o", "price_input") is None
    assert "Some facts are from" not in models("models", "stats").stdout


def test_what_is_added_has_a_source_a_date_and_an_age(models: Models) -> None:
    models.configure(ENRICH)
    models.has("openai", "/v1")
    models.server.says("/v1/models", openai(["gpt-4o", "mine"]))
    said = models("sync", "models", "-v").stdout
    assert "Some facts are from genai-prices 0." in said
    price = fact(models, "gpt-4o", "price_input")
    assert (price["value"], price["source"]) == (2.5, "genai-prices")
    assert price["date"] == models.json("models", "show", "gpt-4o")["models"][0]["since"][:10]
    shown = models("models", "explain", "gpt-4o").stdout
    assert "genai-prices 0." in shown
    assert " ago." in shown
    assert "Some facts are from" not in models("models", "show", "mine").stdout
    assert models.json("models", "ls")["packages"][0]["name"] == "genai-prices"


def test_a_disagreement_is_logged_counted_and_shown(models: Models) -> None:
    models.configure(ENRICH)
    models.has("xai", "/x")
    models.server.says("/x/models", openai(["grok-4"], context_length=8))
    for path in ("language", "image-generation", "video-generation"):
        models.server.says(f"/x/{path}-models", {"models": [{"id": "grok-4", "prompt_text_token_price": 50000}]})
    assert "    - Sources disagree: " in models("sync", "models", "-v").stdout
    (logged,) = [
        one
        for one in models.json("models", "history", "--kind", "source conflict")["changes"]
        if one["fact"] == "price_input"
    ]
    assert (logged["old"], logged["new"]) == (5.0, [["genai-prices", 3.0]])
    assert fact(models, "grok-4", "price_input")["source"] == "/language-models"
    assert "disagrees" in models("models", "explain", "grok-4").stdout
    assert "  - Sources disagree: " in models("models", "stats").stdout


def test_the_same_again_changes_nothing_and_what_is_turned_off_goes(models: Models) -> None:
    models.configure(ENRICH)
    models.has("openai", "/v1")
    models.server.says("/v1/models", openai(["gpt-4o"]))
    models("sync", "models")
    before = models.dump("models", "changes")
    models("sync", "models", "--force")
    assert models.dump("models", "changes") == before
    models.configure("")
    models("sync", "models", "--force")
    assert fact(models, "gpt-4o", "price_input") is None
    gone = [one for one in models.json("models", "history", "--kind", "price")["changes"] if one["new"] is None]
    assert "Some facts are from" not in models("models", "stats").stdout
    assert {one["fact"] for one in gone} == {"price_input", "price_output", "price_cached_input"}


def test_without_the_package_nobody_is_asked_and_nothing_is_lost(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    models.configure(ENRICH)
    models.has("openai", "/v1")
    assert "pip install 'trueup[enrich]'" in models("sync", "models", code=78).stderr
    assert models.server.requests == []


def test_a_package_that_there_is_not_is_refused_with_the_place(models: Models) -> None:
    models.configure('[models]\nenrich = ["genai-price"]\n')
    assert 'did you mean "genai-prices"?' in models("sync", "models", code=78).stderr
    models.configure('[models]\nenrich = ["genai-prices", "genai-prices"]\n')
    assert "one is there twice" in models("sync", "models", code=78).stderr


def test_the_counts_of_a_provider_that_is_configured_no_more_are_shown(models: Models) -> None:
    models.configure(f"[providers.mine]\nbase_url = '{models.server.address}/v1'\n")
    models.server.says("/v1/models", openai(["a"]))
    models("sync", "models")
    models.configure("")
    assert "mine: fresh" in models("models", "stats").stdout


def test_an_outage_changes_nothing_but_the_attempt(models: Models) -> None:
    models.configure(ENRICH)
    models.has("openai", "/v1")
    models.server.says("/v1/models", openai(["gpt-4o"]))
    models("sync", "models")
    before = models.dump("models", "versions", "changes", "packages")
    models.server.says("/v1/models", Reply({"error": {"message": "gone"}}, 404))
    models("sync", "models", "--force", code=1)
    assert models.dump("models", "versions", "changes", "packages") == before
