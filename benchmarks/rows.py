"""The rows of folders. Each makes its ground, measures whole processes, and says what they cost and were to cost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

from ground import Bench, job, make_tree, missing, rclone, run, run_trueup
from machine import peer
from measure import Command, Cost, beyond, floor_mib, interleaved
from table import Goal, Line, Result, against, at_most, told

GNU_FORMAT = "%p;%s;%T@\n"

# -- scan ----------------------------------------------------------------------------------------------------------


def scan(bench: Bench) -> Result:
    """List a folder with stat."""
    files, folder = bench.size(200_000), bench.room("scan") / "tree"
    make_tree(folder, files, 0)
    commands = {"trueup": Command(job("scan", folder))}
    if peer("rclone"):
        commands["rclone lsf"] = rclone("lsf", "-R", "--format", "pst", folder)
    if peer("find"):
        commands["find -printf"] = Command([str(peer("find")), str(folder), "-printf", GNU_FORMAT])
    costs = interleaved(commands, bench.repeats)
    ours = costs.pop("trueup")
    goals: list[Goal] = []
    if "rclone lsf" in costs:
        theirs = costs["rclone lsf"]
        goals.append(at_most("CPU, against rclone lsf", ours.cpu_seconds / theirs.cpu_seconds, 0.6, "x"))
        goals.append(told("time, against rclone lsf", f"{ours.wall_seconds / theirs.wall_seconds:.2f}x"))
    goals.append(told("files per CPU second", f"{files / ours.cpu_seconds:,.0f}"))
    return Result(
        "scan",
        f"list {files:,} files with stat",
        "The store's listing with the filter of every target, in key order, as a process of its own; against"
        " `rclone lsf -R --format pst` and `find -printf` (names, sizes, times; neither sorts). Output discarded.",
        against(ours, costs),
        goals,
        missing("rclone", "find"),
    )


# -- reconcile -----------------------------------------------------------------------------------------------------


def reconcile(bench: Bench) -> Result:
    """Two large listings that hardly differ."""
    many = bench.size(1_000_000)
    few = many // 10
    for entries in (few, many):
        subprocess.run(job("reconcile", "fill", bench.room(f"reconcile-{entries}"), entries), check=True)

    def command(mode: str, entries: int) -> Command:
        return Command(job("reconcile", mode, bench.folder / f"reconcile-{entries}", entries))

    costs = interleaved(
        {
            f"plan {many:,} x {many:,}": command("observe", many),
            "its two listings alone": command("scan", many),
            "a plain merge of the two": command("merge", many),
            f"plan {few:,} x {few:,}": command("observe", few),
        },
        bench.repeats,
    )
    large, listing, plain, small = costs.values()
    ours, merging = beyond(large, listing), beyond(plain, listing)
    return Result(
        "reconcile",
        f"{many:,} entries on each side, 300 changes",
        "Both listings are made up by the process, the ancestors are read from the state database; the plan is made by"
        " the engine. `beyond the listings` is the difference of two processes, the median over the turns. The plain"
        " merge is the loop that anybody would write over the same two listings: no ancestors, nothing checked.",
        [Line(name, cost) for name, cost in costs.items()],
        [
            at_most("CPU beyond the listings", ours, 1.5, " s"),
            told("a plain merge beyond the listings", f"{merging:.2f} s"),
            at_most("peak memory", large.peak_mib, 200, " MiB"),
            at_most(f"peak memory, {many:,} against {few:,} entries", large.peak_mib / small.peak_mib, 1.25, "x"),
        ],
    )


# -- folders -------------------------------------------------------------------------------------------------------


def noop(bench: Bench) -> Result:
    """Nothing to do."""
    files, room = bench.size(100_000), bench.room("noop")
    local, remote, state = room / "local", room / "remote", room / "state"
    for side in (local, remote):
        make_tree(side, files, 100)
    ours = run_trueup("sync", "folder", local, remote, "--yes", state=state)
    for _ in range(2):  # agree; then look once more at what was too young to be believed
        run(ours)
    commands = {"trueup": ours}
    if peer("rclone"):
        commands["rclone sync"] = rclone("sync", local, remote)
        commands["rclone sync --size-only"] = rclone("sync", "--size-only", local, remote)
    costs = interleaved(commands, bench.repeats)
    cost = costs.pop("trueup")
    goals = [at_most("peak memory", cost.peak_mib, 150, " MiB")]
    if costs:
        theirs = costs["rclone sync --size-only"]
        goals.append(at_most("time, against rclone --size-only", cost.wall_seconds / theirs.wall_seconds, 0.6, "x"))
        goals.append(told("CPU, against rclone --size-only", f"{cost.cpu_seconds / theirs.cpu_seconds:.2f}x"))
    return Result(
        "noop",
        f"{files:,} files on both sides of a folder, nothing to do",
        "`trueup sync folder LOCAL REMOTE --yes` compares both sides with their ancestors and names no change; `rclone"
        " sync` compares two sides, one way. The target is that of an object store as the second side: there is none"
        " for two folders.",
        against(cost, costs),
        goals,
        missing("rclone"),
    )


def copy(bench: Bench) -> Result:
    """Everything is new."""
    files, room = bench.size(5_000), bench.room("copy")
    local, remote, state = room / "local", room / "remote", room / "state"
    make_tree(local, files, 4096)

    def fresh() -> None:
        shutil.rmtree(remote, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(local / ".trueup", ignore_errors=True)
        remote.mkdir()

    def arrived() -> None:
        assert sum(path.suffix == ".dat" for path in remote.rglob("*")) == files

    commands = {"trueup": run_trueup("sync", "folder", local, remote, "--yes", state=state)}
    if peer("rclone"):
        commands["rclone sync"] = rclone("sync", local, remote)
    if peer("cp"):
        commands["cp -r"] = Command([str(peer("cp")), "-r", f"{local}/.", str(remote)])
    commands = {
        name: Command(command.argv, command.env, before=fresh, after=arrived) for name, command in commands.items()
    }
    costs = interleaved(commands, bench.repeats)
    ours = costs.pop("trueup")
    goals: list[Goal] = [told("files per second", f"{files / ours.wall_seconds:,.0f}")]
    if "rclone sync" in costs:
        theirs = costs["rclone sync"]
        goals.append(at_most("time, against rclone sync", ours.wall_seconds / theirs.wall_seconds, 0.8, "x"))
    return Result(
        "copy",
        f"{files:,} files of 4 KiB, folder to folder",
        "Ours hashes every file, syncs it to disk before it gets its name, and commits a journal and an ancestor for"
        " it; `rclone sync` and `cp -r` do none of this. The target is that of downloads from an object store: there is"
        " none for two folders.",
        against(ours, costs),
        goals,
        missing("rclone", "cp"),
    )


def move(bench: Bench) -> Result:
    """A large folder has another name."""
    files, room = bench.size(10_000), bench.room("move")
    local, remote, state = room / "local", room / "remote", room / "state"
    names = local / "before", local / "after"
    ours = run_trueup("sync", "folder", local, remote, "--yes", state=state)

    def agreed() -> None:
        for path in (local, remote, state):
            shutil.rmtree(path, ignore_errors=True)
        remote.mkdir()
        make_tree(names[0], files, 4096)
        for _ in range(2):  # agree; then look once more at what was too young to be believed
            run(ours)
        names[0].rename(names[1])

    def arrived() -> None:
        assert not (remote / "before").exists()
        assert sum(path.suffix == ".dat" for path in (remote / "after").rglob("*")) == files

    commands = {"trueup": ours}
    if peer("rclone"):
        without = ("--exclude", "/.trueup/**", "--track-renames")
        commands["rclone sync --track-renames"] = rclone("sync", *without, local, remote)
        by_time = (*without, "--track-renames-strategy", "modtime,leaf")
        commands["rclone sync --track-renames, by time and name"] = rclone("sync", *by_time, local, remote)
    commands = {
        name: Command(command.argv, command.env, before=agreed, after=arrived) for name, command in commands.items()
    }
    costs = interleaved(commands, bench.repeats)
    cost = costs.pop("trueup")
    goals: list[Goal] = [told("files per second", f"{files / cost.wall_seconds:,.0f}")]
    if costs:
        theirs = costs["rclone sync --track-renames"]
        goals.append(told("time, against rclone --track-renames", f"{cost.wall_seconds / theirs.wall_seconds:.2f}x"))
    return Result(
        "move",
        f"a folder of {files:,} files of 4 KiB has another name",
        "Both find the renamed files by their content and rename them on the other side. Ours journals every move,"
        " commits its ancestor and syncs the directories; `rclone sync` does none of that, and hashes both sides. By"
        " time and name it hashes nothing, and would take a changed file of the same time for the old one. It leaves"
        " empty directories behind.",
        against(cost, costs),
        goals,
        missing("rclone"),
    )


# -- start ---------------------------------------------------------------------------------------------------------


def start(bench: Bench) -> Result:
    """What every call costs before it does anything."""
    room = bench.room("start")
    make_tree(room / "photos", 50, 100)
    make_tree(room / "share", 50, 100)
    (room / "trueup.toml").write_text('[targets.photos]\nkind = "folder"\nlocal = "photos"\nremote = "share"\n')
    state = room / "state"
    sync = run_trueup("sync", "photos", "--yes", state=state, cwd=room)
    run(sync)
    costs = interleaved(
        {
            "trueup --help": run_trueup("--help", state=state, cwd=room),
            "trueup status": run_trueup("status", state=state, cwd=room),
            "python -c pass": Command([sys.executable, "-c", "pass"]),
        },
        max(bench.repeats, 9),
    )
    return Result(
        "start",
        "help, and the status of a target of 50 files",
        "Whole processes, warm. The bare interpreter is part of both.",
        [Line(name, cost) for name, cost in costs.items()],
        [
            at_most("CPU of `trueup --help`", _milliseconds(costs["trueup --help"]), 150, " ms"),
            at_most("CPU of `trueup status`", _milliseconds(costs["trueup status"]), 350, " ms"),
        ],
        (f"Peaks below {floor_mib():.0f} MiB cannot be told.",),
    )


def _milliseconds(cost: Cost) -> float:
    return cost.cpu_seconds * 1000


ROWS: dict[str, Callable[[Bench], Result]] = {
    "scan": scan,
    "reconcile": reconcile,
    "noop": noop,
    "copy": copy,
    "move": move,
    "start": start,
}
