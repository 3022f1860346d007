"""What the verbs of all targets say of policies and environments, and the damage that a sync names."""

import pytest
from tests.cli.robots import Robots


def test_every_verb_knows_policies(robots: Robots) -> None:
    robots.policy("gone:v1", pulled=False)
    assert "r- record    gone:v1" in robots("plan", "policies").stdout
    assert "out of sync" in robots("status", "policies").stdout
    robots("sync", "policies", "-y")
    assert "gone:v1" in robots("trash", "ls", "policies").stdout
    assert "no pair of folders" in robots("diff", "policies", code=64).stderr
    assert "writable" not in robots("doctor", "policies").stdout, "nothing is wrong with that"


def test_a_configured_registry_is_the_one_that_is_meant(robots: Robots) -> None:
    place = robots.path / "team"
    (robots.path / ".maple").rename(place)
    robots.configure(f'[targets.weights]\nkind = "policies"\nregistry = "{place}/state.db"\nroot = "{place}/models"\n')
    weights = place / "models/pi0/base"
    weights.mkdir(parents=True)
    (weights / "model.bin").write_text("weights")
    assert "pi0:base" in robots("sync", "policies").stdout
    assert "unregistered" in robots("plan", "weights").stdout


def test_a_name_that_is_two_things_is_asked_about(robots: Robots) -> None:
    robots.policy("libero:latest")
    robots.environment("libero")
    assert "a policy and an environment" in robots("registry", "forget", "libero", code=64).stderr
    robots("registry", "forget", "env", "libero")
    assert (robots.names(), robots.names("envs")) == (["libero:latest"], [])


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("", "", "x damaged       openvla:7b: "),
        ("model.incomplete", "x", "was interrupted"),
        ("model.safetensors", "short", "model.safetensors"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "model-2.safetensors"}}', "model-2.safetensors"),
    ],
)
def test_damaged_weights_are_neither_present_nor_missing(robots: Robots, name: str, text: str, why: str) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.weights("openvla:7b").mkdir(parents=True)
    if name:
        (robots.weights("openvla:7b") / name).write_text(text)
    shown = robots("sync", "policies", "-y", code=2).stdout
    assert why in shown
    assert "maple pull policy openvla:7b" in shown
    assert "All policies" not in shown
    assert robots.names() == ["openvla:7b"]
