"""The configuration: what wins, what is refused and how it is said, and secrets that stay secret."""

import contextlib
import copy
import json
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup import config
from trueup.config import document, layers, reference, settings, values
from trueup.config.problems import Problem, Source
from trueup.config.secret import Place
from trueup.config.trust import trust
from trueup.core.check import Limits
from trueup.core.errors import ConfigError, UsageError
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.targets.environments import Environments
from trueup.targets.folders import Folders, Selection, Tuning
from trueup.targets.policies import Policies

SITE = """
[targets.site]
kind = "folder"
local = "./site"
remote = "/srv/site"
"""


class World:
    """A project's folder, and an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.project.mkdir()
        self.user = root / "home/.config/trueup/config.toml"
        self.system = root / "etc/trueup/config.toml"
        self.state = root / "state"
        self.env = {
            "HOME": str(root / "home"),
            "XDG_CONFIG_HOME": str(root / "home/.config"),
            "XDG_CONFIG_DIRS": f"{root / 'etc'}:/elsewhere",
            "TRUEUP_STATE": str(self.state),
            "PATH": os.environ["PATH"],
        }

    def write(self, text: str, name: str = "trueup.toml") -> Path:
        return self.put(self.project / name, text)

    def put(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, **options: Any) -> config.Config:
        start = options.pop("start", self.project)
        return config.load(start, env=self.env | options.pop("env", {}), **options)

    def refused(self, text: str, **options: Any) -> str:
        """Everything that the error says."""
        self.write(text)
        with pytest.raises(ConfigError) as caught:
            self.load(**options)
        assert caught.value.exit_code == 78
        return f"{caught.value} try: {caught.value.attempt}"


def folders(loaded: config.Config, name: str = "site") -> Folders:
    """A target that is two folders."""
    target = loaded.targets[name]
    assert isinstance(target, Folders)
    return target


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- found and read


def test_no_file_at_all_is_an_empty_configuration(world: World) -> None:
    loaded = world.load()
    assert (loaded.targets, loaded.path, loaded.state_dir) == ({}, None, world.state)


def test_the_file_is_found_from_a_folder_below(world: World) -> None:
    path = world.write(SITE)
    below = world.project / "a/b"
    below.mkdir(parents=True)
    loaded = world.load(start=below)
    assert loaded.path == path
    assert folders(loaded).local == (str(world.project / "site"),)


def test_a_section_of_pyproject_counts_where_there_is_no_file_of_our_own(world: World) -> None:
    section = SITE.replace("[targets.site]", "[project]\nname = 'x'\n[tool.trueup.targets.site]")
    world.write(section + "max_concurrent = 3\n", "pyproject.toml")
    loaded = world.load()
    assert folders(loaded).tuning.max_concurrent == 3
    assert str(loaded.origins["targets.site.max_concurrent"]) == f"{world.project}/pyproject.toml:8"
    world.write(SITE)
    assert folders(world.load()).tuning.max_concurrent == 8


@pytest.mark.parametrize("text", ["[tool.other]\nx = 1", "name = 'trueup'", "not TOML"])
def test_a_pyproject_without_our_section_does_not_end_the_search(world: World, text: str) -> None:
    path = world.write(SITE)
    world.put(world.project / "below/pyproject.toml", text)
    assert world.load(start=world.project / "below").path == path


def test_a_broken_pyproject_that_may_be_meant_for_us_is_not_passed_over(world: World) -> None:
    world.write("[tool.trueup\n", "pyproject.toml")
    with pytest.raises(ConfigError, match=r"pyproject\.toml:1: is not TOML"):
        world.load()


def test_a_named_file_replaces_the_search_and_a_flag_the_variable(world: World) -> None:
    world.write("broken =")
    other = world.put(world.project / "other/deploy.toml", SITE)
    assert folders(world.load(file=other)).local == (str(world.project / "other/site"),)
    assert world.load(env={"TRUEUP_CONFIG": "other/deploy.toml"}).path == other
    assert world.load(env={"TRUEUP_CONFIG": "nowhere"}, file=other).path == other


def test_a_named_file_that_is_not_there_is_an_error(world: World) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read - No such file"):
        world.load(file=Path("nowhere.toml"))


def test_a_personal_file_that_cannot_be_looked_for_is_an_error(world: World) -> None:
    with pytest.raises(ConfigError, match="cannot be read - File name too long"):
        world.load(env={"XDG_CONFIG_HOME": f"/{'x' * 300}"})


def test_something_that_is_no_regular_file_is_not_opened_in_a_search(world: World) -> None:
    os.mkfifo(world.project / "trueup.toml")  # opening it would wait for ever
    assert world.load().path is None


def test_a_file_beyond_every_reason_is_not_read(world: World) -> None:
    assert "larger than" in world.refused("#" * (document.MAX_BYTES + 1))


# --- what the settings mean


def test_every_setting_of_a_folder_arrives(world: World) -> None:
    world.write("""
        [targets.site]
        kind = "folder"
        local = ["./a", "~/b", "/c"]
        remote = "../r"
        direction = "pull"
        conflict = "newest_wins"
        deletes = "propagate"
        include = ["*.html"]
        exclude = "*.tmp"
        defaults = false
        min_size = "1KiB"
        max_size = "10MB"
        max_delete = "20%"
        keep = "conflicts"
        trash = "t"
        max_concurrent = 3
        timeout = "2m"
        retry_attempts = 0
        retry_delay = 0.25
        bandwidth = "10MB"
    """)
    assert world.load().targets["site"] == Folders(
        "site",
        (f"{world.project}/a", f"{world.env['HOME']}/b", "/c"),
        f"{world.project}/../r",
        policy=Policy(Direction.PULL, Conflict.NEWEST_WINS, Deletes.PROPAGATE, Keep.CONFLICTS),
        limits=Limits(delete_share=0.2),
        selection=Selection(("*.html",), ("*.tmp",), 1024, 10_000_000, defaults=False),
        tuning=Tuning(3, 120.0, 0, 0.25, 10_000_000),
        trash=f"{world.project}/t",
    )


def test_what_is_not_said_has_the_defaults_of_the_engine(world: World) -> None:
    world.write(SITE)
    expected = Folders("site", (f"{world.project}/site",), "/srv/site")
    assert world.load().targets == {"site": expected}


@pytest.mark.parametrize("remote", ["s3://web/site", "file:///srv/x", "memory://x", "s3://key@web/site"])
def test_a_url_stays_as_it_is_written(world: World, remote: str) -> None:
    world.write(SITE.replace("/srv/site", remote))
    assert folders(world.load()).remote == remote


@pytest.mark.parametrize(
    ("remote", "url"),
    [("bucket:web", "s3://w/x/"), ("bucket:web/a/b", "s3://w/x/a/b"), ("bucket://web/a", "s3://w/x/a")],
)
def test_a_bucket_stands_for_its_url(world: World, remote: str, url: str) -> None:
    world.write('[buckets]\nweb = "s3://w/x/"' + SITE.replace("/srv/site", remote))
    loaded = world.load()
    assert folders(loaded).remote == url
    assert loaded.settings["targets.site.remote"] == url


@pytest.mark.parametrize(
    ("text", "size"),
    [("7", 7), ('"7B"', 7), ('"1.5 kB"', 1500), ('"64KiB"', 65536), ('"2gb"', 2 * 10**9), ('"1TiB"', 2**40)],
)
def test_sizes_have_decimal_and_binary_units(world: World, text: str, size: int) -> None:
    world.write(SITE + f"max_size = {text}")
    assert folders(world.load()).selection.max_size == size


# --- what wins


LAYERS = ("default", "system", "user", "project", "environment", "flag")


@pytest.mark.parametrize("highest", range(len(LAYERS)))
def test_the_later_layer_wins_and_is_named_as_the_origin(world: World, highest: int) -> None:
    world.write(SITE + ("timeout = 3\n" if highest >= 3 else ""))
    if highest >= 1:
        world.put(world.system, "[targets.site]\ntimeout = 1\n")
    if highest >= 2:
        world.put(world.user, "\n[targets.site]\ntimeout = 2\n")
    env = {"TRUEUP_TIMEOUT": "4"} if highest >= 4 else {}
    loaded = world.load(env=env, flags={"timeout": "5s"} if highest >= 5 else None)
    assert folders(loaded).tuning.timeout_seconds == (300.0, 1, 2, 3, 4, 5)[highest]
    assert loaded.settings["targets.site.timeout"] == folders(loaded).tuning.timeout_seconds
    origin = loaded.origins["targets.site.timeout"]
    assert origin.source == LAYERS[highest]
    written = ["default", f"{world.system}:2", f"{world.user}:3", f"{world.project}/trueup.toml:6"]
    assert str(origin) == [*written, "TRUEUP_TIMEOUT", "--timeout"][highest]


def test_layers_are_merged_setting_by_setting(world: World) -> None:
    world.put(world.user, '[targets.site]\nconflict = "remote_wins"\nkeep = "none"')
    world.write(SITE + 'conflict = "local_wins"')
    policy = folders(world.load()).policy
    assert (policy.conflict, policy.keep) == (Conflict.LOCAL_WINS, Keep.NONE)


def test_a_relative_path_is_relative_to_the_file_that_says_it(world: World) -> None:
    world.put(world.user, '[targets.site]\ntrash = "t"')
    world.write(SITE)
    assert folders(world.load()).trash == str(world.user.parent / "t")


def test_a_bucket_is_replaced_whole_so_that_no_project_gets_the_keys_of_the_user(world: World) -> None:
    world.put(world.user, '[buckets.web]\nurl = "s3://w"\nsecret_key = { env = "S3" }')
    world.write('[buckets.web]\nurl = "s3://w"\nendpoint = "http://thief.example"')
    assert world.load().buckets["web"].secret_key is None
    assert "has no url" in world.refused('[buckets.web]\nendpoint = "http://thief.example"')


def test_no_file_can_name_the_state_directory_where_trust_is_kept(world: World) -> None:
    for key in ("state", "state_dir"):
        assert f"{key} is no setting" in world.refused(f'{key} = "./mine"')


def test_the_state_directory_is_the_platforms_unless_it_is_named(world: World, tmp_path: Path) -> None:
    assert world.load(env={"TRUEUP_STATE": "", "XDG_STATE_HOME": str(tmp_path)}).state_dir == tmp_path / "trueup"
    assert world.load(env={"TRUEUP_STATE": "~/s"}).state_dir == Path(world.env["HOME"]) / "s"
    assert world.load(env={"TRUEUP_STATE": "s"}).state_dir == world.project / "s"
    assert config.state_dir(world.project, env=world.env) == world.state
    assert world.load(env={"TRUEUP_STATE": ""}).state_dir.name == "trueup"


def test_a_flag_is_read_as_strictly_as_a_file(world: World) -> None:
    world.write(SITE)
    flags = {"max_delete": "5", "exclude": ("*.o", "*.a"), "conflict": None, "trash": "t"}
    target = folders(world.load(flags=flags))
    assert (str(target.limits), target.selection.exclude, target.trash) == (
        "5",
        ("*.o", "*.a"),
        str(world.project / "t"),
    )
    with pytest.raises(ConfigError, match=r"--conflict: must be one of .* did you mean"):
        world.load(flags={"conflict": "remotewins"})


@pytest.mark.parametrize("text", ["0", "many", "1.5"])
def test_a_wrong_variable_is_refused_by_name(world: World, text: str) -> None:
    with pytest.raises(ConfigError, match="TRUEUP_MAX_CONCURRENT: must be a whole number"):
        world.load(env={"TRUEUP_MAX_CONCURRENT": text})


# --- profiles


PROFILES = """
[profiles.production.targets.site]
conflict = "remote_wins"
[profiles.staging]
targets.site.conflict = "local_wins"
"""


@pytest.mark.parametrize(
    ("asked", "env", "conflict"),
    [
        (None, {}, Conflict.MANUAL),
        ("production", {}, Conflict.REMOTE_WINS),
        (None, {"TRUEUP_ENV": "production"}, Conflict.REMOTE_WINS),
        (None, {"TRUEUP_ENV": "production", "TRUEUP_PROFILE": "staging"}, Conflict.LOCAL_WINS),
        ("production", {"TRUEUP_PROFILE": "staging"}, Conflict.REMOTE_WINS),
    ],
)
def test_a_profile_is_chosen_by_flag_then_by_variable(
    world: World, asked: str | None, env: dict[str, str], conflict: Conflict
) -> None:
    world.write(SITE + PROFILES)
    loaded = world.load(profile=asked, env=env)
    assert folders(loaded).policy.conflict == conflict
    assert loaded.profiles == ("production", "staging")
    if conflict is Conflict.REMOTE_WINS:
        origin = loaded.origins["targets.site.conflict"]
        assert str(origin) == f"{world.project}/trueup.toml:8 (profile production)"


def test_a_profile_that_there_is_not_is_refused_with_the_nearest(world: World) -> None:
    assert 'did you mean "production"?' in world.refused(SITE + PROFILES, profile="prodution")
    assert 'TRUEUP_ENV: there is no profile "prodution"' in world.refused(
        SITE + PROFILES, env={"TRUEUP_ENV": "prodution"}
    )


def test_a_variable_for_other_programs_is_no_profile_where_there_are_none(world: World) -> None:
    world.write(SITE)
    assert world.load(env={"TRUEUP_ENV": "production"}).profile is None
    with pytest.raises(ConfigError, match="--profile: there is no profile"):
        world.load(profile="production")


def test_a_profile_that_is_not_chosen_is_checked_too(world: World) -> None:
    said = world.refused(SITE + '[profiles.p.targets.stie]\nkeep = "some"\n[profiles.p.servers]')
    assert "profiles.p.targets.stie.keep must be one of all, conflicts, uncontested, none" in said
    assert 'profiles.p.targets.stie changes something that there is not - did you mean "site"?' in said
    assert 'trueup.toml:8: profiles.p.servers is no setting - did you mean "serve"?' in said


def test_a_project_wins_over_a_profile_of_the_user(world: World) -> None:
    world.put(world.user, '[profiles.fast.targets.site]\nkeep = "none"\nmax_concurrent = 99')
    world.write(SITE + 'keep = "all"')
    target = folders(world.load(profile="fast"))
    assert (target.policy.keep, target.tuning.max_concurrent) == (Keep.ALL, 99)


# --- what is refused, and how


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('conflct = "manual"', 'trueup.toml:6: targets.site.conflct is no setting - did you mean "conflict"?'),
        ('conflict = "remotewins"', 'it is "remotewins": did you mean "remote_wins"?'),
        (
            'conflict = "MANUAL"',
            'must be one of remote_wins, local_wins, newest_wins, manual, backup_both - it is "MANUAL"',
        ),
        ("conflict = 3", "it is 3 "),
        ("xyz = 1", "known: kind, local, remote, direction"),
        ("max_concurrent = true", "must be a whole number from 1 to 1024 - it is true"),
        ('max_concurrent = "8"', "must be a whole number"),
        ("max_concurrent = 0", "it is 0"),
        ("timeout = 0", "it is not positive"),
        ("timeout = inf", "must be seconds"),
        ("timeout = -1", "it is not positive"),
        ('timeout = "5 parsecs"', 'text such as "500ms", "30s", "5m", "2h" - it is "5 parsecs"'),
        ("retry_delay = false", "must be seconds"),
        ("bandwidth = 0", "must be bytes per second"),
        ('bandwidth = "fast"', "must be bytes per second"),
        ('max_size = "10M"', "kB is 1000 bytes, KiB is 1024"),
        ('max_size = "10iB"', 'must be bytes, or text such as "10MB"'),
        ("max_size = -1", "must be bytes"),
        ("max_delete = true", "must be a count, or a percentage"),
        ('max_delete = "120%"', "is not between 0% and 100%"),
        ("max_delete = -1", "neither a count nor a percentage"),
        ('defaults = "true"', 'must be true or false - it is "true": without quotes'),
        ("include = [1]", "must be a pattern, or a list of patterns, as in .gitignore - it is a list"),
        ('exclude = ["a", " "]', "one of them is empty"),
        ("trash = ''", "trash must be a folder"),
        ("trash = 's3://x'", "a URL is for `remote`"),
        ("trash = '~nobody-of-that-name/x'", "there is no such user"),
        ("keep = 1979-05-27", "it is a date or time"),
        ("min_size = 5\nmax_size = 4", "targets.site selects nothing - min_size 5 is more than max_size 4"),
    ],
)
def test_a_wrong_line_is_answered_with_what_and_why_and_what_is_allowed(world: World, line: str, said: str) -> None:
    assert said in world.refused(SITE + line)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'kind = "folder"',
            "",
            "trueup.toml:2: targets.site has no kind - kinds: folder, templates, settings, static, policies, envs",
        ),
        (
            'kind = "folder"',
            'kind = "odd"',
            'one of folder, templates, settings, static, policies, envs, cache, agent, dataset - it is "odd"',
        ),
        (
            'kind = "folder"',
            "kind = ['folder']",
            "one of folder, templates, settings, static, policies, envs, cache, agent, dataset - it is a list",
        ),
        ('local = "./site"', "", "targets.site has no local"),
        ('local = "./site"', "local = []", "the list is empty"),
        ('local = "./site"', "local = ['a/x', 'b/x']", 'told apart by their last component, and two are called "x"'),
        ('local = "./site"', "local = 's3://x'", "a URL is for `remote`"),
        ('remote = "/srv/site"', "", "targets.site has no remote"),
        ('remote = "/srv/site"', "remote = 's3:web/site'", 'a URL begins with "s3://", a path of that name with ./'),
        ('remote = "/srv/site"', "remote = 'bucket:web/x'", 'names bucket "web", which is not in [buckets]'),
        ("targets.site", "targets.all", "targets.all is a word of `trueup sync`"),
        ("targets.site", 'targets."a b"', 'targets."a b" is no name'),
        ("targets.site", "target.site", 'target is no setting - did you mean "targets"?'),
        ("[targets.site]", "targets = 3\n[buckets.x]", "targets must be a table - it is a number"),
        ("[targets.site]", "targets.site = 3\n[buckets.x]", "targets.site must be a table - it is a number"),
    ],
)
def test_a_wrong_target_is_refused(world: World, old: str, new: str, said: str) -> None:
    assert said in world.refused(SITE.replace(old, new))


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        ('web = "bucket:x"', "a bucket cannot be another one"),
        ('web = { url = "s3://w", regoin = "x" }', 'buckets.web.regoin is no setting - did you mean "region"?'),
        ('web = { endpoint = "http://h" }', "buckets.web has no url"),
        ('web = { url = "s3://w", endpoint = "ftp://h" }', "must be an http:// or https:// URL"),
        ('web = { url = "s3://w", region = "a\\u0007" }', "it holds control characters"),
        ("web = 3", "buckets.web must be a table - it is a number"),
        ('web = "s3://w"', "must stay in its bucket"),
        ('wbe = "s3://w"', 'not in [buckets] - did you mean "wbe"?'),
    ],
)
def test_a_wrong_bucket_is_refused(world: World, bucket: str, said: str) -> None:
    assert said in world.refused(f"[buckets]\n{bucket}" + SITE.replace("/srv/site", "bucket:web/../x"))


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_lines(world: World) -> None:
    world.put(world.user, "colour = 1")
    said = world.refused(SITE + 'timeout = 0\nkep = "all"\n[targets.other]\nkind = "odd"')
    assert "the configuration has 4 errors" in said
    assert [line.split(": ")[0].rpartition("/")[2] for line in said.splitlines()[1:]] == [
        "config.toml:1",
        "trueup.toml:6",
        "trueup.toml:7",
        "trueup.toml:9",
    ]
    assert said.endswith("config.toml:1")
    assert "try: edit these lines, the first is " in said


def test_a_single_mistake_is_mended_in_its_line_or_variable(world: World) -> None:
    assert world.refused(SITE + "timeout = 0").endswith("trueup.toml:6")
    world.env["TRUEUP_TIMEOUT"] = "soon"
    assert world.refused(SITE).endswith("try: set TRUEUP_TIMEOUT to something else")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[targets\n", "trueup.toml:1: is not TOML - column 9: "),
        ("a = 1\nb = 'x", "trueup.toml:2: is not TOML - "),
        ("a = 1\na = 2", "trueup.toml:2: is not TOML - "),
        ("a = " + "[" * 100_000, "is no configuration - it is nested too deeply"),
    ],
)
def test_broken_toml_is_located(world: World, text: str, said: str) -> None:
    assert said in world.refused(text)


def test_bytes_that_are_not_utf8_are_located(world: World) -> None:
    (world.project / "trueup.toml").write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(ConfigError, match=r"trueup\.toml:2: is not UTF-8 - byte 0xff at offset 11"):
        world.load()


def test_a_message_cannot_control_the_terminal(world: World) -> None:
    said = world.refused('"a\\u001b[2J\\u202e" = 1\n[targets.site]\nkind = "\\u009b31m"')
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    assert "\\u202e" in said


def test_an_unknown_target_is_answered_with_the_nearest(world: World) -> None:
    with pytest.raises(UsageError) as caught:
        world.load().target("site")
    assert caught.value.attempt == "trueup init"
    world.write(SITE)
    assert world.load().target("site").name == "site"
    with pytest.raises(UsageError, match='did you mean "site"'):
        world.load().target("stie")


# --- registries

ROBOTS = """
[targets.robots]
kind = "policies"
registry = "state.db"
root = "./models"
docker = "unix:///run/docker.sock"
adopt = true

[targets.sims]
kind = "envs"
registry = "~/.maple/state.db"
"""


def test_a_registry_is_a_target_of_two_kinds(world: World) -> None:
    world.write(ROBOTS)
    targets = world.load().targets
    robots, sims = targets["robots"], targets["sims"]
    assert robots == Policies(
        "robots",
        registry=str(world.project / "state.db"),
        root=str(world.project / "models"),
        docker="unix:///run/docker.sock",
        adopt=True,
    )
    assert sims == Environments("sims", registry=str(Path(world.env["HOME"]) / ".maple/state.db"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("adopt = true", 'adopt = "yes"', "targets.robots.adopt must be true or false"),
        ("adopt = true", "adpot = true", 'targets.robots.adpot is no setting - did you mean "adopt"?'),
        ('root = "./models"', "root = 3", "targets.robots.root must be"),
        ('registry = "state.db"', "registry = []", "targets.robots.registry must be"),
        ('kind = "envs"', 'kind = "envs"\nroot = "models"', "targets.sims.root is no setting"),
        ('kind = "envs"', 'kind = "env"', 'it is "env": no such kind'),
    ],
)
def test_a_wrong_registry_is_refused(world: World, old: str, new: str, said: str) -> None:
    assert said in world.refused(ROBOTS.replace(old, new))


@pytest.mark.parametrize("kind", ["policies", "envs"])
def test_the_schema_knows_the_settings_of_registries(kind: str) -> None:
    schema: Any = config.schema()
    described = schema["$defs"][kind]
    assert set(described["properties"]) == {"kind", *settings.KINDS[kind]}
    assert described["additionalProperties"] is False
    assert described["properties"]["adopt"]["default"] is False


def test_a_registry_that_is_misspelled_is_answered_with_the_kind(world: World) -> None:
    for wrong, meant in (("polcies", "policies"), ("env", "envs")):
        with pytest.raises(UsageError, match=f'did you mean "{meant}"'):
            world.load().target(wrong)


# --- secrets


def bucket(secret: str) -> str:
    return f'[buckets.web]\nurl = "s3://w"\nsecret_key = {secret}\n'


def secret_of(world: World, text: str, **options: Any) -> config.Secret:
    world.write(bucket(text))
    secret = world.load(**options).buckets["web"].secret_key
    assert secret is not None
    return secret


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Mapping[tuple[str, str], str]:
    entries = {("s3", "me"): "hunter2"}
    errors = types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]

    def get_password(service: str, user: str) -> str | None:
        if service == "locked":
            raise errors.KeyringError("locked")
        return entries.get((service, user))

    module = types.ModuleType("keyring")
    module.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return entries


@pytest.mark.usefixtures("keyring")
@pytest.mark.parametrize(
    "how", ['{ env = "S3" }', '{ file = "s3.key" }', '{ command = "cat s3.key" }', '{ keyring = "s3/me" }']
)
def test_a_secret_is_had_when_it_is_asked_for_and_never_shown(world: World, how: str) -> None:
    world.write("hunter2\n", "s3.key")
    secret = secret_of(world, how, env={"S3": "hunter2"})
    trust(world.project / "trueup.toml", world.state)
    assert secret.reveal() == "hunter2"
    loaded = world.load()
    assert "hunter2" not in f"{secret} {secret!r} {loaded!r} {json.dumps(dict(loaded.settings))}"
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_revealed_secret_is_in_no_copy(world: World) -> None:
    world.write("hunter2", "s3.key")
    secret = secret_of(world, '{ file = "s3.key" }')
    trust(world.project / "trueup.toml", world.state)
    secret.reveal()
    assert b"hunter2" not in pickle.dumps(secret)
    assert copy.deepcopy(secret).reveal() == "hunter2"


def test_a_command_is_hidden_because_it_may_hold_a_secret_itself(world: World) -> None:
    world.write(bucket('{ command = "curl -u me:hunter2 x" }'))
    loaded = world.load()
    assert loaded.settings["buckets.web.secret_key"] == {"command": "***"}
    assert "hunter2" not in repr(loaded)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ('{ env = "S3_NOT_SET" }', "the environment variable S3_NOT_SET is not set"),
        ('{ env = "EMPTY" }', "is empty"),
        ('{ file = "nowhere" }', "nowhere cannot be read - No such file"),
        ('{ file = "binary" }', "binary cannot be read - it is not UTF-8"),
        ('{ command = "false hunter2" }', "false gave no secret - exit status 1"),
        ('{ command = "./nowhere hunter2" }', "./nowhere cannot be run for a secret - No such file"),
        ('{ command = ["printf", "\\\\377"] }', "printf gave no secret - its output is not UTF-8"),
        ('{ command = ["sh", "-c", "sleep 9", "hunter2"] }', "sh gave no secret within"),
        ('{ keyring = "s3/other" }', "the keyring holds nothing for s3/other"),
        ('{ keyring = "locked/me" }', "the keyring does not answer for locked/me - locked"),
    ],
)
@pytest.mark.usefixtures("keyring")
def test_a_secret_that_cannot_be_had_says_why_and_nothing_secret(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    monkeypatch.setattr("trueup.config.secret.COMMAND_SECONDS", 0.2)
    (world.project / "binary").write_bytes(b"\xff")
    secret = secret_of(world, how, env={"EMPTY": ""})
    trust(world.project / "trueup.toml", world.state)
    with pytest.raises(ConfigError) as caught:
        secret.reveal()
    assert said in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.attempt}"


def test_without_a_keyring_the_remedy_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    secret = secret_of(world, '{ keyring = "s3/me" }')
    trust(world.project / "trueup.toml", world.state)
    with pytest.raises(ConfigError) as caught:
        secret.reveal()
    assert caught.value.attempt == "pip install keyring"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ('"hunter2"', "text would be the secret itself, which is never written down"),
        ("22222", "a number would be the secret itself"),
        ('{ evn = "hunter2" }', 'it has "evn"'),
        ("{}", "it has no key"),
        ('{ env = "hunter2", file = "hunter2" }', 'it has "env", "file"'),
        ("{ env = 22222 }", "env must be text, and not empty"),
        ('{ keyring = "hunter2" }', "keyring must be SERVICE/USER"),
        ("{ command = [] }", "command must be text or a list of text, and not empty"),
        ('{ command = ["hunter2", 1] }', "command must be text or a list of text"),
        ('{ command = "hunter2 \'x" }', "the quotes of command do not match"),
    ],
)
def test_a_secret_in_plain_text_is_refused_and_not_repeated(world: World, secret: str, said: str) -> None:
    message = world.refused(bucket(secret))
    assert said in message
    assert "must be a table with one of env, file, command, keyring" in message
    assert "hunter2" not in message
    assert "22222" not in message


@pytest.mark.parametrize(
    "text",
    [
        SITE.replace("/srv/site", "s3://me:hunter2@web/site"),
        '[buckets]\nweb = "s3://me:hunter2@web"',
        '[buckets.web]\nurl = "s3://w"\nendpoint = "https://me:hunter2@h"',
        SITE + 'trash = "s3://me:hunter2@web"',
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(world: World, text: str) -> None:
    said = world.refused(text)
    assert "a password does not belong in a URL" in said or "a URL is for `remote`" in said
    assert "hunter2" not in said


# --- trust


HOSTILE = """
[buckets.web]
url = "s3://w"
access_key = { command = ["touch", "ran"] }
secret_key = { command = "touch ran" }
[targets.site]
kind = "folder"
local = "."
remote = "bucket:web/x"
[profiles.production.buckets.web]
secret_key = { command = "touch ran" }
"""


def test_a_strangers_file_in_a_folder_above_runs_nothing(world: World) -> None:
    path = world.write(HOSTILE)
    below = world.project / "mine"
    below.mkdir()
    for profile in (None, "production"):
        web = world.load(start=below, profile=profile).buckets["web"]
        for secret in (web.access_key, web.secret_key):
            assert secret is not None
            with pytest.raises(ConfigError) as caught:
                secret.reveal()
            assert caught.value.attempt == f"trueup trust {path}"
    assert not (world.project / "ran").exists()


def test_a_trusted_file_runs_its_commands_until_it_is_edited(world: World) -> None:
    path = world.write(bucket('{ command = "echo hunter2" }'))
    trust(path, world.state)
    secret = world.load().buckets["web"].secret_key
    assert secret is not None
    assert secret.reveal() == "hunter2"
    path.write_text(path.read_text() + "# harmless\n")
    edited = world.load().buckets["web"].secret_key
    assert edited is not None
    with pytest.raises(ConfigError, match="may not run commands"):
        edited.reveal()


def test_trust_is_asked_for_the_bytes_that_were_read_not_for_those_there_now(world: World) -> None:
    approved = bucket('{ command = "echo approved" }')
    path = world.write(bucket('{ command = "touch ran" }'))
    secret = world.load().buckets["web"].secret_key
    assert secret is not None
    path.write_text(approved)
    trust(path, world.state)
    with pytest.raises(ConfigError, match="may not run commands"):
        secret.reveal()
    assert not (world.project / "ran").exists()


def test_a_store_of_trust_that_comes_with_the_project_is_not_looked_at(world: World) -> None:
    path = world.write(HOSTILE)
    trust(path, world.project / ".trueup")
    trust(path, world.project)
    secret = world.load().buckets["web"].access_key
    assert secret is not None
    with pytest.raises(ConfigError, match="may not run commands"):
        secret.reveal()


def test_the_files_of_user_and_system_need_no_approval(world: World) -> None:
    world.put(world.user, bucket('{ command = "echo hunter2" }'))
    secret = world.load().buckets["web"].secret_key
    assert secret is not None
    assert secret.reveal() == "hunter2"


def test_no_shell_reads_a_command(world: World) -> None:
    world.put(world.user, bucket('{ command = "echo $(touch ran); touch ran" }'))
    secret = world.load().buckets["web"].secret_key
    assert secret is not None
    assert secret.reveal() == "$(touch ran); touch ran"


# --- lines


KEYS = st.one_of(
    st.text("abcXYZ09_-", min_size=1, max_size=4),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=4).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
    st.text('a.#[]={}" ', max_size=4).map("'{}'".format),
)
CONTENTS = st.sampled_from(
    [
        "1",
        "'#'",
        '"\\""',
        '"""\n[x]\ny = "" 1\n\\""""',
        "'''\n[z]\n''''",
        "[1, # ]\n 2,\n[3]]",
        "{ a = [\n1], b = '}' }",
        "1.5e3",
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[int]]:
    """Valid TOML, and the lines of its keys and headers in order."""
    text, lines = "", []
    for number, (kind, key, content) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(["header", "pair", "comment", "blank"]), KEYS, CONTENTS), max_size=8))
    ):
        line = text.count("\n") + 1
        if kind in ("header", "pair"):
            lines.append(line)
        text += {
            "header": f" [ t{number} . {key} ] # [no]\n",
            "pair": f"k{number}.{key} = {content} # x = 1\n",
            "comment": "# [c]\n",
            "blank": " \n",
        }[kind]
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))), lines


@given(documents())
def test_every_key_of_valid_toml_is_found_in_its_line(drawn: tuple[str, list[int]]) -> None:
    text, lines = drawn
    problems: list[Problem] = []
    parsed = document.parse(Path("trueup.toml"), text.encode(), Source.PROJECT, problems)
    assert parsed is not None, problems
    assert sorted(parsed.lines.values()) == lines
    for path in parsed.lines:
        table: Any = parsed.table
        for name in path:
            table = table[name]  # so the names are those of tomllib too


@given(st.text(max_size=80))
def test_whatever_a_file_holds_it_is_read_or_refused(text: str) -> None:
    problems: list[Problem] = []
    with contextlib.suppress(UnicodeEncodeError):
        parsed = document.parse(Path("trueup.toml"), text.encode(), Source.PROJECT, problems)
        assert (parsed is None) == bool(problems)


# --- schema and reference


def test_the_schema_knows_exactly_the_settings(world: World) -> None:
    schema: Any = config.schema()
    folder = schema["$defs"]["folder"]
    assert set(folder["properties"]) == {"kind", *settings.FOLDER}
    assert folder["additionalProperties"] is False
    assert folder["properties"]["conflict"] == {
        "enum": ["remote_wins", "local_wins", "newest_wins", "manual", "backup_both"],
        "default": "manual",
        "description": settings.FOLDER["conflict"].doc,
    }
    assert set(schema["properties"]) == {
        "targets",
        "buckets",
        "datasets",
        "providers",
        "alerts",
        "models",
        "notify",
        "serve",
        "profiles",
    }
    assert json.loads(json.dumps(schema)) == config.schema()


def _schemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from _schemas(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _schemas(inner)


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    schema: Any = config.schema()
    references = {part["$ref"] for part in _schemas(schema) if "$ref" in part}
    assert references == {f"#/$defs/{name}" for name in schema["$defs"]}


def test_every_default_is_one_that_could_be_written(tmp_path: Path) -> None:
    place = Place(tmp_path, {}, tmp_path)
    for name, setting in {**settings.FOLDER, **settings.BUCKET}.items():
        written = values.plain(setting.default)
        if written is not None:
            found: list[Problem] = []
            origin = config.Origin(Source.DEFAULT)
            assert layers.read(setting, written, place, origin, name, found) == setting.default, found


def test_the_reference_names_every_setting_and_variable() -> None:
    text = reference.reference()
    for name in (*settings.FOLDER, *settings.BUCKET, *config.VARIABLES):
        assert f"| `{name}` |" in text


# --- cost


def test_reading_the_configuration_loads_nothing_heavy() -> None:
    code = "import sys, pathlib, os; from trueup import config; config.load(pathlib.Path('.'), env=os.environ)"
    heavy = "{'pydantic', 'asyncio', 'anyio', 'click', 'rich', 'filelock', 'subprocess', 'difflib', 'pathspec'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
