"""What ``trueup sync models`` prints, against the transcripts of the document that it replaces."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.models.home import KEY, Models
from tests.models.server import GEMINI_8, OPENAI_15, Reply, gemini, openai

SUCCESS = """\
Syncing models from AI providers...

openai:
  ✓ Found 15 models
  ✓ Statistics updated

gemini:
  ✓ Found 8 models
  ✓ Statistics updated

xai:
  ⏭ Skipped (cache_valid)
    Last sync: 2 hours ago

Sync completed successfully!
Total: 23 models synced across 2 providers
"""

VERBOSE = """\
openai:
  ✓ Found 15 models
  ✓ Statistics updated
    - Total: 15
    - GPT-4: 5
    - GPT-3.5: 3
    - o-series: 2
    - Embeddings: 2
    - Audio: 2
    - Images: 1
    - Function calling: 9
    - Vision: 6

gemini:
  ✓ Found 8 models
  ✓ Statistics updated
    - Total: 8
    - Gemini Pro: 3
    - Gemini Flash: 5
    - Multimodal: 8

Sync completed successfully!
Total: 23 models synced across 2 providers
"""

DRY_RUN = """\
DRY RUN - No changes will be made

Syncing models from AI providers...

openai:
  Would sync: 15 models
  Last synced: 6 hours ago
  Models:
    - gpt-4
    - gpt-4-turbo
    - gpt-3.5-turbo
    ... and 12 more

gemini:
  Would sync: 8 models
  Last synced: Never

Dry run completed!
Total: 23 models would be synced across 2 providers
"""

MIXED = """\
Syncing models from AI providers...

openai:
  ✓ Found 15 models

gemini:
  ❌ Synchronization failed: Invalid API key

xai:
  ✓ Found 5 models

Sync completed with errors!
Total: 20 models synced across 2 providers

Errors encountered:
- gemini: Invalid API key
"""

FAILED = """\
Syncing models from AI providers...

openai:
  ❌ Synchronization failed: Rate limit exceeded, retry after 60 seconds

Sync failed!
Total: 0 models synced across 0 providers

Errors encountered:
- openai: Rate limit exceeded, retry after 60 seconds
"""

GROK = ["grok-4", "grok-3", "grok-3-mini", "grok-2-vision", "grok-code"]


def xai(models: Models) -> None:
    models.has("xai", "/x")
    models.server.says("/x/models", openai(GROK))
    models.server.says("/x/language-models", {"models": []})
    models.server.says("/x/image-generation-models", {"models": []})


def test_a_sync_that_succeeds_prints_what_the_document_prints(models: Models) -> None:
    xai(models)
    models("sync", "models", "--provider", "xai")
    models.older("xai", 2.5)
    models.two()
    assert models("sync", "models").stdout == SUCCESS


def test_verbose_adds_the_statistics_and_why_others_are_skipped(models: Models) -> None:
    models.two()
    shown = models("sync", "models", "-v").stdout
    head, _, rest = shown.partition("openai:\n")
    assert "openai:\n" + rest == VERBOSE
    assert "Skipping xai: no credentials: set XAI_API_KEY\n" in head


def test_a_dry_run_prints_what_the_document_prints_and_writes_nothing(models: Models) -> None:
    models.two()
    models("sync", "models", "--provider", "openai")
    models.older("openai", 6.5)
    models.configure("[providers.openai]\nfresh = '4h'\n")
    before = models.dump("accounts", "attempts", "models", "versions", "changes")
    assert models("sync", "models", "--dry-run").stdout == DRY_RUN
    assert models.dump("accounts", "attempts", "models", "versions", "changes") == before


def test_a_failure_beside_successes_is_told_and_ends_with_2(models: Models) -> None:
    models.two()
    xai(models)
    models.server.says("/g/models", Reply({"error": {"message": "API key not valid."}}, 400))
    assert models("sync", "models", code=2).stdout == MIXED


def test_if_all_fail_it_ends_with_1(models: Models) -> None:
    models.has("openai", "/v1")
    models.server.says("/v1/models", Reply({}, 429, {"retry-after": "60"}))
    assert models("sync", "models", code=1).stdout == FAILED


def test_without_credentials_nothing_is_available(models: Models) -> None:
    result = models("sync", "models", code=1)
    assert result.stderr == "No providers available for synchronization.\n"


def test_what_is_skipped_counts_as_well_done(models: Models) -> None:
    models.two()
    models("sync", "models", "--provider", "openai")
    models.server.says("/g/models", Reply({}, 401))
    models("sync", "models", code=2)
    assert len(models.server.asked("/v1/models")) == 1
    models.monkeypatch.delenv("GEMINI_API_KEY")
    models("sync", "models")


def test_force_asks_although_the_list_is_fresh(models: Models) -> None:
    models.two()
    models("sync", "models")
    models("sync", "models")
    assert len(models.server.asked("/v1/models")) == 1
    models("sync", "models", "--force")
    assert len(models.server.asked("/v1/models")) == 2


def test_quiet_prints_nothing_but_errors(models: Models) -> None:
    models.two()
    result = models("sync", "models", "--quiet")
    assert (result.stdout, result.stderr) == ("", "")
    models.server.says("/g/models", Reply({"error": {"message": "API key not valid."}}, 400))
    result = models("sync", "models", "--quiet", "--force", code=2)
    assert (result.stdout, result.stderr) == ("", "Failed to sync gemini: Invalid API key\n")


def test_the_health_check_of_the_document_tells_whether_a_sync_is_needed(models: Models) -> None:
    models.two()
    models("sync", "models", "--dry-run", "--quiet", code=3)
    models("sync", "models")
    models("sync", "models", "--dry-run", "--quiet")
    models.server.says("/g/models", gemini([*GEMINI_8, "gemini-3-pro"]))
    models("sync", "models", "--dry-run", "--quiet", "--force", code=3)


@pytest.mark.parametrize(
    ("script", "ends"),
    [
        ("trueup sync models --quiet", ""),
        ("trueup sync models --force >out", ""),
        (
            (
                "trueup sync models --dry-run --quiet\n"
                'if [ $? -eq 0 ]; then echo "Models are up to date"\n'
                'else echo "Models need syncing"; trueup sync models; fi'
            ),
            "Models need syncing\n" + SUCCESS[: SUCCESS.index("xai")] + SUCCESS[SUCCESS.index("Sync completed") :],
        ),
        ("trueup sync models -v 2>&1 | tee sync.log | tail -n 1", "Total: 23 models synced across 2 providers\n"),
    ],
    ids=["cron", "deployment", "health check", "monitoring"],
)
def test_the_scripts_of_the_document_work(models: Models, script: str, ends: str) -> None:
    models.two()
    done = subprocess.run(
        ["bash", "-c", f'trueup() {{ "{sys.executable}" -m trueup "$@"; }}\n{script}'],
        cwd=models.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (ends, "")


def test_an_unknown_provider_is_refused_with_the_nearest_and_the_known(models: Models) -> None:
    message = models("sync", "models", "--provider", "opneai", code=64).stderr
    assert "did you mean openai?" in message
    assert "anthropic" in message
    assert models.server.requests == []


def test_the_mock_is_used_only_when_it_is_asked_for_and_never_in_production(models: Models) -> None:
    models("sync", "models", code=1)
    models("sync", "models", "--provider", "mock")
    models.monkeypatch.setenv("TRUEUP_ENV", "production")
    assert "not in production" in models("sync", "models", "--provider", "mock", "-v", code=1).stdout


def test_the_key_is_sent_in_a_header_and_stands_nowhere_else(models: Models) -> None:
    models.two()
    models.server.says("/g/models", Reply({"error": {"message": f"key {KEY} is bad, so is {KEY[:8]}***"}}, 403))
    shown = [models("sync", "models", "-vv", *more, code=2).output for more in ([], ["--force"])]
    shown.append(models("sync", "models", "--force", "--json", code=2).output)
    shown.append(models("models", "stats", "--json").output)
    assert [request.headers["authorization"] for request in models.server.asked("/v1/models")] == [f"Bearer {KEY}"] * 3
    assert all(request.headers["x-goog-api-key"] == KEY for request in models.server.asked("/g/models"))
    assert not any(KEY in str(request.query) for request in models.server.requests)
    files = [path for path in models.state.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"catalogue.db"}
    texts = [*(text.encode() for text in shown), *(path.read_bytes() for path in files)]
    assert not any(KEY.encode() in text or KEY[:8].encode() in text for text in texts)


def test_a_file_that_nobody_approved_cannot_send_a_key_elsewhere(models: Models) -> None:
    models.two()
    (models.path / "trueup.toml").write_text(f'[providers.openai]\nbase_url = "{models.server.address}/evil"\n')
    assert "may not say where the key of openai is sent" in models("sync", "models", code=78).stderr
    assert models.server.requests == []
    models("trust")
    models.server.says("/evil/models", openai(OPENAI_15))
    models("sync", "models")
