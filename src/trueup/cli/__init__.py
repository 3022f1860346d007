"""The command line. Commands are loaded when they are called: ``trueup --help`` imports no engine."""

from __future__ import annotations

import gc

from trueup.cli.group import Listed, Root

FEW_COLLECTIONS = 10_000
"""New objects before the collector looks at them. What a command loads stays for as long as the command lives: to look
through it for garbage at every 700th object costs a tenth of a short command."""

COMMANDS: dict[str, Listed] = {
    "status": Listed("plan:status", "Look", "Say how each target stands."),
    "plan": Listed("plan:plan", "Look", "Show what sync would do, and why."),
    "diff": Listed("diff:diff", "Look", "Show how the two versions of an item differ."),
    "models": Listed("models.showing:models", "Look", "What AI providers offer, and how it changed."),
    "verify": Listed("plan:verify", "Look", "Read and compare every byte of both sides."),
    "sync": Listed(
        "sync:sync",
        "Act",
        "Bring both sides into agreement.",
        {
            "agent": "agent:sync_agent",
            "policies": "registry.syncing:sync_policies",
            "envs": "registry.syncing:sync_envs",
            "all": "registry.syncing:sync_all",
            "templates": "files:sync_templates",
            "settings": "files:sync_settings",
            "static": "files:sync_static",
            "cache": "caching:sync_cache",
            "dataset": "dataset:sync_dataset",
            "models": "models.syncing:sync_models",
        },
    ),
    "apply": Listed("apply:apply", "Act", "Carry out a plan that was saved before."),
    "conflicts": Listed("conflicts:conflicts", "Act", "List, show and resolve conflicts."),
    "undo": Listed("history:undo", "Act", "Take a run back."),
    "watch": Listed("watch:watch", "Act", "Sync whenever something changes."),
    "agent": Listed(
        "agent:agent",
        "Act",
        "Sync an agent's database with the one that a team shares, look at it, keep and restore it.",
    ),
    "registry": Listed(
        "registry:registry", "Act", "List, add, forget, adopt, verify and remove entries of a registry."
    ),
    "list": Listed(
        "registry.commands:list_", "Look", "List policies and environments; short for `trueup registry ls`."
    ),
    "remove": Listed(
        "registry.removing:remove_entry",
        "Act",
        "Remove a policy with its weights, or an environment; short for `trueup registry remove`.",
    ),
    "history": Listed("history:history", "Remember", "List and show runs."),
    "trash": Listed("trash:trash", "Remember", "List, restore and prune replaced and deleted versions."),
    "serve": Listed("serve:serve", "Serve", "Serve REST and pages for all targets."),
    "schedule": Listed(
        "schedule:schedule", "Serve", "Look at targets, or sync them, at set times, while `trueup serve` runs."
    ),
    "token": Listed("token:token", "Serve", "Make, list and revoke tokens for programs that ask the server."),
    "init": Listed("init:init", "Set up", "Write a first trueup.toml."),
    "config": Listed("config:config", "Set up", "Show and check the configuration."),
    "trust": Listed("trust:trust", "Set up", "Let a configuration file have secrets."),
    "doctor": Listed("doctor:doctor", "Set up", "Find what keeps runs from working."),
    "completion": Listed("completion:completion", "Set up", "Complete commands in your shell."),
    "demo": Listed("demo:demo", "Set up", "See it work, on throw-away folders."),
    "help": Listed("topics:topics", "Set up", "Explain exit codes, symbols, configuration, guards, stores."),
}
"""Every command: where it is (below `trueup.cli`), the heading that lists it, and what its help says first."""

root = Root(COMMANDS)


def main() -> None:
    """The ``trueup`` command; exits with one of the documented exit codes."""
    gc.set_threshold(FEW_COLLECTIONS)
    try:
        root.main()
    finally:
        gc.freeze()  # the process ends: nothing is gained by looking through all that it has loaded once more
