"""Which providers are asked, where, and as whom; and that they are asked at the same time."""

from __future__ import annotations

import threading

import pytest
from tests.models.home import KEY, Models
from tests.models.server import Reply, Request, openai

from trueup.stores.http.accounts import Configured, Skipped, account
from trueup.stores.http.client import Account
from trueup.stores.http.spec import known

ADDRESSES = {
    "openai": ({"OPENAI_API_KEY": KEY}, "https://api.openai.com/v1"),
    "anthropic": ({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "http://x"}, "http://x/v1"),
    "cohere": ({"COHERE_API_KEY": KEY, "CO_API_URL": "http://x/v1/"}, "http://x/v1"),
    "azure": ({"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://r.example"}, "https://r.example/openai"),
    "bedrock": (
        {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "eu-west-1"},
        "https://bedrock.eu-west-1.amazonaws.com",
    ),
    "ollama": ({"OLLAMA_HOST": "127.0.0.1:11434"}, "http://127.0.0.1:11434/api"),
    "vllm": ({"VLLM_BASE_URL": "http://x:8000/v1"}, "http://x:8000/v1"),
}


def found(name: str, env: dict[str, str], *, asked: bool = False, base_url: str = "") -> Account | Skipped:
    return account(known()[name], Configured(base_url), env, asked=asked, production=False)


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_come_from_the_vendors_own_variables(name: str) -> None:
    env, address = ADDRESSES[name]
    one = found(name, env)
    assert isinstance(one, Account)
    assert one.base_url == address


SKIPPED = {
    "openai": ({}, "no credentials: set OPENAI_API_KEY"),
    "azure": ({"AZURE_OPENAI_API_KEY": KEY}, "no address: set AZURE_OPENAI_ENDPOINT"),
    "bedrock": ({"AWS_BEARER_TOKEN_BEDROCK": KEY}, "no address: set AWS_REGION or AWS_DEFAULT_REGION"),
    "openrouter": ({}, "no credentials: set OPENROUTER_API_KEY, or ask for it by name"),
    "xai": ({"XAI_API_KEY": "k\ney"}, "its key holds characters that no key has"),
    "groq": ({"GROQ_API_KEY": ""}, "no credentials: set GROQ_API_KEY"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_a_provider_that_cannot_be_asked_says_why(name: str) -> None:
    env, why = SKIPPED[name]
    assert found(name, env) == Skipped(name, why)


def test_a_provider_whose_key_is_optional_is_asked_by_name() -> None:
    assert isinstance(found("openrouter", {}, asked=True), Account)
    assert isinstance(found("openrouter", {}, base_url="http://x"), Account)


def test_fingerprints_tell_accounts_apart_and_hold_nothing() -> None:
    envs = [{"OPENAI_API_KEY": KEY}, {"OPENAI_API_KEY": KEY + "1"}, {"OPENAI_API_KEY": KEY, "OPENAI_ORG_ID": "o"}]
    accounts = [found("openai", env) for env in envs] + [found("openai", envs[0], base_url="http://x")]
    prints = [one.fingerprint for one in accounts if isinstance(one, Account)]
    assert len(set(prints)) == 4
    assert found("openai", envs[0]) == accounts[0]
    assert KEY not in repr(accounts)


def test_a_server_of_the_configuration_alone_is_asked(models: Models) -> None:
    models.configure(f"[providers.mine]\nbase_url = '{models.server.address}/mine'\napi_key = {{ env = 'MINE' }}\n")
    models.monkeypatch.setenv("MINE", KEY)
    models.server.says("/mine/models", openai(["a", "b"]))
    assert "mine:\n  ✓ Found 2 models\n" in models("sync", "models").stdout
    assert models.server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_organisation_of_the_configuration_is_sent(models: Models) -> None:
    models.has("openai", "/v1")
    models.configure("[providers.openai]\norganization = 'org-7'\n")
    models.server.says("/v1/models", openai(["a"]))
    models("sync", "models")
    assert models.server.requests[0].headers["openai-organization"] == "org-7"


def test_ten_providers_are_asked_at_the_same_time(models: Models) -> None:
    """None is answered before all have asked: one after the other would never end."""
    together = threading.Barrier(10, timeout=60)

    def answer(_: Request) -> Reply:
        together.wait()
        return Reply(openai(["a"]))

    lines = []
    for n in range(10):
        lines.append(f"[providers.p{n}]\nbase_url = '{models.server.address}/{n}'\n")
        models.server.answers[f"/{n}/models"] = answer
    models.configure("".join(lines))
    assert "Total: 10 models synced across 10 providers" in models("sync", "models").stdout
