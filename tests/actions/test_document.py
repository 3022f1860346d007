"""The examples of the document whose calls these are, as they stand there but for the line of the import."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.actions.team import Team

from trueup.actions.sync import ConflictStrategy, SyncDirection, SyncStrategy, sync
from trueup.caches import register
from trueup.config.trust import trust

TEMPLATES = """
# Basic template sync
templates_result = await sync.templates()
print(f"Synced {len(templates_result.synced_items)} templates")

# Custom template sync
templates_result = await sync.templates(
    template_paths=[AsyncPath("templates"), AsyncPath("custom_templates")],
    patterns=["*.html", "*.jinja2", "*.j2"],
    strategy=SyncStrategy(
        direction=SyncDirection.BIDIRECTIONAL,
        conflict_strategy=ConflictStrategy.NEWEST_WINS,
        backup_on_conflict=True
    ),
    storage_bucket="templates"
)

# Check sync results
if templates_result.has_conflicts:
    print(f"Resolved {len(templates_result.conflicts)} conflicts")

for item in templates_result.synced_items:
    print(f"Synced: {item}")

# Cache was also updated
print(f"Invalidated {len(templates_result.cache_invalidated)} cache entries")
print(f"Cleared {len(templates_result.bytecode_cleared)} bytecode entries")
"""

SETTINGS = """
# Basic settings sync with config reload
settings_result = await sync.settings(reload_config=True)
print(f"Synced settings for {len(settings_result.adapters_affected)} adapters")

# Custom settings sync
settings_result = await sync.settings(
    settings_path=AsyncPath("config"),
    adapter_names=["database", "cache", "email"],
    strategy=SyncStrategy(
        direction=SyncDirection.PULL,
        conflict_strategy=ConflictStrategy.REMOTE_WINS,
        dry_run=False
    ),
    storage_bucket="config",
    reload_config=True
)

# Check results
print(f"Synced: {len(settings_result.synced_items)}")
print(f"Conflicts: {len(settings_result.conflicts)}")
print(f"Backed up: {len(settings_result.backed_up)}")
print(f"Config reloaded: {settings_result.config_reloaded}")
"""

STRATEGY = """
strategy = SyncStrategy(
    direction=SyncDirection.BIDIRECTIONAL,     # Sync direction
    conflict_strategy=ConflictStrategy.NEWEST_WINS,  # Conflict resolution
    dry_run=False,                             # Test mode without changes
    backup_on_conflict=True,                   # Create backups
    parallel=True,                             # Enable parallel processing
    max_concurrent=5,                          # Concurrent operations limit
    timeout=30.0,                              # Operation timeout
    retry_attempts=2,                          # Retry failed operations
    retry_delay=0.5                            # Delay between retries
)
"""

ENVIRONMENT = '''
    """Complete environment synchronization."""

    # Pull latest from production
    pull_strategy = SyncStrategy(
        direction=SyncDirection.PULL,
        conflict_strategy=ConflictStrategy.REMOTE_WINS,
        backup_on_conflict=True
    )

    # Sync settings first
    settings_result = await sync.settings(
        strategy=pull_strategy,
        reload_config=True
    )

    # Sync templates
    templates_result = await sync.templates(
        strategy=pull_strategy
    )

    # Refresh cache
    cache_result = await sync.cache(operation="refresh")

    print(f"Environment sync complete:")
    print(f"- Settings: {len(settings_result.synced_items)} synced")
    print(f"- Templates: {len(templates_result.synced_items)} synced")
    print(f"- Cache: {len(cache_result.warmed_keys)} warmed")
'''

DEPLOYMENT = '''
    """Sync for production deployment."""

    # Push local changes to production
    push_strategy = SyncStrategy(
        direction=SyncDirection.PUSH,
        conflict_strategy=ConflictStrategy.LOCAL_WINS,
        dry_run=False  # Set to True for testing
    )

    # Sync templates and settings
    templates_result = await sync.templates(strategy=push_strategy)
    settings_result = await sync.settings(
        strategy=push_strategy,
        reload_config=False  # Don't reload during deployment
    )

    # Warm cache for production
    cache_result = await sync.cache(operation="warm")

    return {
        "templates": len(templates_result.synced_items),
        "settings": len(settings_result.synced_items),
        "cache_warmed": len(cache_result.warmed_keys)
    }
'''

CONFLICTS = '''
    """Example of handling sync conflicts."""

    # Strategy that creates backups for conflicts
    backup_strategy = SyncStrategy(
        direction=SyncDirection.BIDIRECTIONAL,
        conflict_strategy=ConflictStrategy.BACKUP_BOTH,
        backup_on_conflict=True
    )

    result = await sync.templates(strategy=backup_strategy)

    if result.has_conflicts:
        print(f"Found {len(result.conflicts)} conflicts:")

        for conflict in result.conflicts:
            print(f"Conflict: {conflict['path']}")
            print(f"Local time: {conflict.get('local_mtime')}")
            print(f"Remote time: {conflict.get('remote_mtime')}")

    if result.backed_up:
        print(f"Created backups: {result.backed_up}")

    return result
'''

DRY_RUN = '''
    """Test sync operations without making changes."""

    dry_run_strategy = SyncStrategy(
        direction=SyncDirection.BIDIRECTIONAL,
        dry_run=True  # No actual changes
    )

    # Test template sync
    templates_result = await sync.templates(strategy=dry_run_strategy)

    print("Dry run results:")
    for item in templates_result.synced_items:
        print(f"Would sync: {item}")

    print(f"Would sync {len(templates_result.synced_items)} templates")
    print(f"Found {len(templates_result.conflicts)} conflicts")

    return templates_result
'''

MANUAL = """
# Require manual intervention
strategy = SyncStrategy(conflict_strategy=ConflictStrategy.MANUAL)

try:
    result = await sync.templates(strategy=strategy)
except ValueError as e:
    if "Manual conflict resolution required" in str(e):
        print("Manual resolution needed for conflicts")
        # Handle manually or use different strategy
"""


CACHE = """
# Refresh all cache layers
cache_result = await sync.cache(operation="refresh")
print(f"Refreshed {len(cache_result.invalidated_keys)} cache entries")

# Invalidate specific namespaces
cache_result = await sync.cache(
    operation="invalidate",
    namespaces=["templates", "bccache"],
    warm_templates=True
)

# Warm cache after deployment
cache_result = await sync.cache(
    operation="warm",
    namespaces=["templates", "responses", "gather"]
)

# Clear cache namespaces
cache_result = await sync.cache(
    operation="clear",
    namespaces=["templates"]
)

# Check results
print(f"Invalidated: {len(cache_result.invalidated_keys)}")
print(f"Warmed: {len(cache_result.warmed_keys)}")
print(f"Cleared: {len(cache_result.cleared_namespaces)}")
"""

APPLICATION = """
import jinja2

from trueup.stores.cache.engines import MemoryCache


class Bytecode(jinja2.BytecodeCache):
    keys = MemoryCache("memory://shop")._mapping

    def get_cache_key(self, name, filename=None):
        return name

    def load_bytecode(self, bucket):
        if f"bccache:{bucket.key}" in self.keys:
            bucket.bytecode_from_string(self.keys[f"bccache:{bucket.key}"])

    def dump_bytecode(self, bucket):
        self.keys[f"bccache:{bucket.key}"] = bucket.bytecode_to_string()


def made():
    return jinja2.Environment(loader=jinja2.FileSystemLoader("templates"), bytecode_cache=Bytecode())
"""


CONFIGURED = """
[targets.web]
kind = "cache"
url = "memory://shop"
app = "shop"
environment = "shop_of_the_document:made"
"""


async def ran(example: str) -> Any:
    """What an example returns."""
    names: dict[str, Any] = {
        "sync": sync,
        "SyncStrategy": SyncStrategy,
        "SyncDirection": SyncDirection,
        "ConflictStrategy": ConflictStrategy,
        "AsyncPath": anyio.Path,
    }
    body = textwrap.indent(textwrap.dedent(example), "    ")
    exec(f"async def example():\n{body}", names)  # noqa: S102 - what it runs stands above
    return await names["example"]()


@pytest.fixture
def cached(team: Team) -> Iterator[dict[str, bytes]]:
    """A cache of the configured target, and an application whose environment fills it."""
    keys: dict[str, bytes] = {"template:old.html": b"1", "shop:cached:GET.1.2": b"2", "another:1": b"3"}
    register("shop", keys)
    team.configure(CONFIGURED)
    (team.path / "shop_of_the_document.py").write_text(APPLICATION)
    trust(team.path / "trueup.toml", Path(os.environ["TRUEUP_STATE"]))
    yield keys
    sys.modules.pop("shop_of_the_document", None)


async def test_templates(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    team.here("templates/a.html", "a")
    team.here("custom_templates/b.j2", "b")
    await ran(TEMPLATES)
    assert capsys.readouterr().out.splitlines() == [
        "Synced 1 templates",
        "Synced: PUSH: custom_templates/b.j2",
        "Synced: PUSH: templates/a.html",
        "Invalidated 0 cache entries",
        "Cleared 0 bytecode entries",
    ]


async def test_settings(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    (team.path / "config").mkdir()
    (team.path / "there/config").mkdir()
    team.configure('config = "there/config"\n')
    team.here("settings/cache.yml", "a: 1\n")
    team.there("config/database.yml", "a: 1\n")
    team.there("config/other.yml", "a: 1\n")
    await ran(SETTINGS)
    assert capsys.readouterr().out.splitlines() == [
        "Synced settings for 1 adapters",
        "Synced: 1",
        "Conflicts: 0",
        "Backed up: 0",
        "Config reloaded: False",
    ]


async def test_cache(team: Team, cached: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    team.here("templates/a.html", "a")
    await ran(CACHE)
    assert capsys.readouterr().out.splitlines() == [
        "Refreshed 2 cache entries",
        "Invalidated: 0",
        "Warmed: 0",
        "Cleared: 1",
    ]
    assert set(cached) == {"another:1", "bccache:a.html"}


async def test_strategy() -> None:
    await ran(STRATEGY)


async def test_complete_environment(team: Team, cached: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    team.there("settings/cache.yml", "a: 1\n")
    team.there("templates/a.html", "a")
    team.there("templates/b.html", "b")
    await ran(ENVIRONMENT)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "- Settings: 1 synced",
        "- Templates: 2 synced",
        "- Cache: 2 warmed",
    ]
    assert set(cached) == {"another:1", "bccache:a.html", "bccache:b.html"}


async def test_deployment(team: Team, cached: dict[str, bytes]) -> None:
    team.here("settings/cache.yml", "a: 1\n")
    team.here("templates/a.html", "a")
    assert await ran(DEPLOYMENT) == {"templates": 1, "settings": 1, "cache_warmed": 1}
    assert set(cached) == {"template:old.html", "shop:cached:GET.1.2", "another:1", "bccache:a.html"}


async def test_conflicts(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    team.here("templates/a.html", "mine")
    team.there("templates/a.html", "theirs")
    result = await ran(CONFLICTS)
    assert result.is_success
    said = capsys.readouterr().out
    assert "Found 1 conflicts:\nConflict: a.html\nLocal time: 1" in said
    assert "Created backups: ['" in said


async def test_dry_run(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    team.here("templates/a.html", "a")
    before = team.everything()
    await ran(DRY_RUN)
    assert team.everything() == before
    assert "Would sync: PUSH: a.html\nWould sync 1 templates\nFound 0 conflicts" in capsys.readouterr().out


async def test_manual(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    team.here("templates/a.html", "mine")
    team.there("templates/a.html", "theirs")
    await ran(MANUAL)
    assert capsys.readouterr().out == "Manual resolution needed for conflicts\n"
