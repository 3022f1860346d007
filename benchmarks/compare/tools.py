"""The tools: each is its real program, with its ordinary safe settings, and nobody's configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from benchmarks.compare.scenario import Scenario, Settings, Way
from benchmarks.compare.stage import Stage, contents
from benchmarks.machine import peer

from trueup.testing.engines import KEYS

LOCAL_TRASH = ".trueup/trash"


class Tool:
    """How one tool is told what to do."""

    name = ""
    program = ""
    on_bucket = True
    """Whether the other side is a bucket; else a folder."""
    ways: frozenset[Way] = frozenset({Way.BOTH, Way.PUSH, Way.PULL})
    version_words: tuple[str, ...] = ("--version",)
    told = ""
    """Its settings, for the page."""
    without: frozenset[str] = frozenset()
    """Scenarios that it has no setting for."""

    @property
    def path(self) -> str | None:
        """Its program; None if it is not installed."""
        return peer(self.program)

    def version(self) -> str:
        """As it says."""
        assert self.path is not None
        done = subprocess.run([self.path, *self.version_words], capture_output=True, text=True, check=False)
        return next(iter((done.stdout or done.stderr).splitlines()), "unknown").split(" Python")[0]

    def env(self, stage: Stage) -> Mapping[str, str]:
        """What it has to know besides."""
        if not self.on_bucket:
            return {}
        return {
            "AWS_ACCESS_KEY_ID": KEYS.access_key,
            "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
            "AWS_REGION": KEYS.region,
            "AWS_DEFAULT_REGION": KEYS.region,
            "AWS_ENDPOINT_URL": stage.endpoint,
            "S3_ENDPOINT_URL": stage.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "3",
        }

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        """What follows the program."""
        raise NotImplementedError

    def kept(self, stage: Stage) -> set[bytes]:
        """Contents that it has put aside."""
        del stage
        return set()

    def plays(self, scenario: Scenario) -> bool:
        """Whether the scenario means anything to it."""
        return scenario.way in self.ways and scenario.name not in self.without


class Ours(Tool):
    """trueup on a bucket."""

    name = program = "trueup"
    told = "`trueup sync folder LOCAL s3://... --yes --deletes propagate --conflict backup_both`"
    conflicts: Mapping[str, str] = {
        "both": "backup_both", "newer": "newest_wins", "local": "local_wins", "remote": "remote_wins", "ask": "manual",
    }  # fmt: skip

    def env(self, stage: Stage) -> Mapping[str, str]:
        return {**super().env(stage), "TRUEUP_STATE": str(stage.home / "state")}

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        del way, first
        other = stage.url if self.on_bucket else stage.folder.as_uri()
        words = ["sync", "folder", str(stage.local), other, "--yes", "--deletes", "propagate"]
        words += ["--conflict", self.conflicts[settings.conflict]]
        words += ["--exclude", settings.exclude] if settings.exclude else []
        words += ["--max-delete", str(settings.max_delete)] if settings.max_delete is not None else []
        return [*words, *(["--dry-run"] if settings.dry else [])]

    def kept(self, stage: Stage) -> set[bytes]:
        if not self.on_bucket:
            return contents(stage.local / LOCAL_TRASH) | contents(stage.folder / LOCAL_TRASH)
        return contents(stage.local / LOCAL_TRASH) | stage.below(f"{stage.prefix}/{LOCAL_TRASH}")


class OursOnFolders(Ours):
    """trueup on two folders."""

    name = "trueup, folders"
    told = "`trueup sync folder LOCAL file://... --yes --deletes propagate --conflict backup_both`"
    on_bucket = False


class Bisync(Tool):
    """rclone bisync, as its manual shows it."""

    name = "rclone bisync"
    program = "rclone"
    version_words = ("version",)
    without: frozenset[str] = frozenset({"backupdir"})
    told = (
        "`rclone bisync LOCAL REMOTE --compare size,modtime,checksum --resilient --recover --max-lock 2m "
        "--conflict-resolve none`, the first time with `--resync`"
    )
    winners: Mapping[str, str] = {"both": "none", "newer": "newer", "local": "path1", "remote": "path2", "ask": "none"}

    def env(self, stage: Stage) -> Mapping[str, str]:
        remote = {"TYPE": "s3", "PROVIDER": "SeaweedFS", "ENV_AUTH": "true", "ENDPOINT": stage.endpoint}
        named = {f"RCLONE_CONFIG_R_{name}": value for name, value in remote.items()}
        return {**super().env(stage), **named, "RCLONE_CONFIG": "/dev/null"}

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        del way
        words = ["bisync", str(stage.local), f"r:{stage.bucket}/{stage.prefix}", "--workdir", str(stage.home / "work")]
        words += ["--compare", "size,modtime,checksum", "--resilient", "--recover", "--max-lock", "2m"]
        words += ["--low-level-retries", "3", "--conflict-resolve", self.winners[settings.conflict]]
        words += ["--exclude", settings.exclude] if settings.exclude else []
        words += ["--max-delete", str(settings.max_delete * 5)] if settings.max_delete is not None else []
        words += ["--dry-run"] if settings.dry else []
        return [*words, *(["--resync"] if first else [])]


class SafeBisync(Bisync):
    """The same, keeping what it replaces."""

    name = "bisync, backups"
    without = frozenset()
    told = "the same with `--backup-dir1 FOLDER --backup-dir2 REMOTE-FOLDER`"

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        aside = f"r:{stage.bucket}/{self._aside(stage)}"
        backups = ["--backup-dir1", str(stage.home / "aside"), "--backup-dir2", aside]
        return [*super().words(stage, settings, way, first=first), *backups]

    @staticmethod
    def _aside(stage: Stage) -> str:
        return f"{stage.prefix}-aside{stage.machine}"

    def kept(self, stage: Stage) -> set[bytes]:
        return contents(stage.home / "aside") | stage.below(self._aside(stage))


class Unison(Tool):
    """Unison between two folders, which is what it knows."""

    name = "unison"
    program = "unison"
    version_words = ("-version",)
    on_bucket = False
    without = frozenset({
        "dry_run", "max_delete", "listing_breaks_off", "listing_lies", "hostile_keys", "cut_download", "turned_bit",
    })  # fmt: skip
    told = (
        "`unison LOCAL REMOTE -batch -ui text -times -backup 'Name *' -backuploc central -copyonconflict`, "
        "with `-prefer newer` or `-prefer LOCAL` where the scenario says who wins"
    )

    def env(self, stage: Stage) -> Mapping[str, str]:
        return {"UNISON": str(stage.home / "unison")}

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        del way, first
        words = [str(stage.local), str(stage.folder), "-batch", "-ui", "text", "-times", "-copyonconflict"]
        words += ["-backup", "Name *", "-backuploc", "central", "-backupdir", str(stage.home / "aside")]
        winner = {"newer": "newer", "local": str(stage.local), "remote": str(stage.folder)}.get(settings.conflict)
        words += ["-prefer", winner] if winner else []
        return [*words, *(["-ignore", f"Name {settings.exclude}"] if settings.exclude else [])]

    def kept(self, stage: Stage) -> set[bytes]:
        return contents(stage.home / "aside")


class OneWay(Tool):
    """A tool that makes one side like the other and knows no ancestor."""

    ways = frozenset({Way.PUSH, Way.PULL})

    def pair(self, stage: Stage, way: Way) -> list[str]:
        """From, to."""
        sides = [f"{stage.local}/", f"{stage.url}/"]
        return sides if way is not Way.PULL else sides[::-1]


class S5cmd(OneWay):
    """s5cmd sync."""

    name = "s5cmd sync"
    program = "s5cmd"
    version_words = ("version",)
    told = "`s5cmd --retry-count 2 sync --delete FROM TO`"

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        del settings, first
        source, target = self.pair(stage, way)
        return ["--retry-count", "2", "sync", "--delete", source + ("*" if way is Way.PULL else ""), target]


class Aws(OneWay):
    """aws s3 sync."""

    name = "aws s3 sync"
    program = "aws"
    told = "`aws s3 sync FROM TO --delete`"

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        del settings, first
        return ["s3", "sync", *self.pair(stage, way), "--delete"]


class Juicefs(OneWay):
    """juicefs sync."""

    name = "juicefs sync"
    program = "juicefs"
    told = "`juicefs sync --update --delete-dst FROM TO`"

    def env(self, stage: Stage) -> Mapping[str, str]:
        return {**super().env(stage), "MINIO_ACCESS_KEY": KEYS.access_key, "MINIO_SECRET_KEY": KEYS.secret_key}

    def words(self, stage: Stage, settings: Settings, way: Way, *, first: bool) -> list[str]:
        del settings, first
        there = f"minio://{stage.endpoint.partition('://')[2]}/{stage.bucket}/{stage.prefix}/"
        sides = [f"{stage.local}/", there]
        return ["sync", "--no-https", "--update", "--delete-dst", *(sides if way is not Way.PULL else sides[::-1])]


TOOLS: tuple[Tool, ...] = (Ours(), Bisync(), SafeBisync(), Unison(), S5cmd(), Aws(), Juicefs())
