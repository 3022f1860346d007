"""Faults that are put into the engine on purpose: the simulation must catch each of them.

``python -m tests.simulation.mutants`` copies the sources, replaces one text, and tells stories until one fails. A text
that is not there exactly once is an error: the list follows the engine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests import results
from tests.simulation import record

ROOT = Path(__file__).parents[2]
SEEDS = 4000
"""So many stories at most for each."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    name: str
    file: str
    """Below ``src/trueup``."""
    old: str
    new: str


MUTANTS = (
    Mutant(
        "what is agreed beside a new object is not looked for",
        "engine/beside.py",
        "    if len(folders) != 1:",
        "    if folders:",
    ),
    Mutant(
        "a sibling's name is never taken",
        "core/tree.py",
        "    versions = [] if there is None else",
        "    versions = [] if there is None or finding.digits else",
    ),
    Mutant(
        "what a run only found is taken back with it",
        "engine/undo.py",
        "outcome is None or outcome.found or",
        "outcome is None or",
    ),
    Mutant(
        "no save: replaced versions are not kept",
        "core/plan.py",
        "case Keep.ALL:\n                return True",
        "case Keep.ALL:\n                return False",
    ),
    Mutant(
        "no compare-and-swap: the store takes whatever is there for what is expected",
        "stores/memory/__init__.py",
        "if (node.token if node is not None else None) != expect:",
        "if node is not None and expect is None:",
    ),
    Mutant(
        "a lost race is tried again over what is there",
        "engine/wrap.py",
        "            landed = await self._landed(effect) if again else None\n"
        "            if landed is None:\n"
        "                raise\n",
        "            landed = await self._landed(effect) if again else None\n"
        "            if landed is None and isinstance(effect, Put) and (there := await "
        "self.inner.stat(effect.key)):\n"
        "                return await carry_out(self.inner, replace(effect, expect=there.token))\n"
        "            if landed is None:\n"
        "                raise\n",
    ),
    Mutant(
        "ancestor first: the agreement is written down before the write",
        "engine/execute.py",
        "    execution = _Execution(plan, job, run, number)\n",
        "    execution = _Execution(plan, job, run, number)\n"
        "    from trueup.core.model import UNTRUSTED, Ancestor\n"
        "\n"
        "    early = [\n"
        "        (step.key, Ancestor(UNTRUSTED, UNTRUSTED, step.value.content))\n"
        "        for item in plan.changes\n"
        "        for step in item.steps\n"
        "        if step.verb is Verb.PUT and step.value\n"
        "    ]\n"
        "    await job.ambient.threads(job.state.set_ancestors, number, early)\n",
    ),
    Mutant(
        "ancestor first: what will be deleted is forgotten before",
        "engine/execute.py",
        "    execution = _Execution(plan, job, run, number)\n",
        "    execution = _Execution(plan, job, run, number)\n"
        "    early = [(item.key, None) for item in plan.changes if item.phase is Phase.DELETE]\n"
        "    await job.ambient.threads(job.state.set_ancestors, number, early)\n",
    ),
    Mutant(
        "re-stat after write: the ancestor is what is seen afterwards",
        "engine/execute.py",
        "            return await carry_out(store, effect)\n"
        "        except PreconditionFailed:\n"
        "            found = await self._there_already",
        "            written = await carry_out(store, effect)\n"
        "            seen = await store.stat(effect.key) if isinstance(effect, Put) else None\n"
        "            return written if seen is None else replace(written, token=seen.token)\n"
        "        except PreconditionFailed:\n"
        "            found = await self._there_already",
    ),
    Mutant(
        "unknown read as missing: a listing that breaks off looks short",
        "engine/streams.py",
        "        except StoreError as error:\n            await send.send(error)",
        "        except StoreError:\n            pass",
    ),
    Mutant(
        "sibling by number",
        "core/reconcile.py",
        "{fingerprint.digest[:digits]}{dot}",
        "{next(_NUMBERS):08x}{dot}",
    ),
    Mutant(
        "deletes before writes",
        "engine/execute.py",
        "        for phase in Phase:\n",
        "        for phase in (Phase.AGREE, Phase.CLEAR, Phase.REPLACE, Phase.DELETE, Phase.WRITE):\n",
    ),
    Mutant(
        "deletes after a failed write",
        "engine/execute.py",
        "if phase is Phase.DELETE and self.failed:",
        "if phase is Phase.DELETE and not items:",
    ),
    Mutant(
        "a retry takes whatever has the right size for its own write",
        "engine/wrap.py",
        "        if fingerprint != await self._ambient.threads(_hash, source):\n"
        "            return None\n"
        "        return",
        "        return",
    ),
    Mutant(
        "racy timestamps are trusted",
        "engine/agree.py",
        "return token if since_ns < observed_ns - properties.tick_ns else UNTRUSTED",
        "return token if since_ns < observed_ns or since_ns else UNTRUSTED",
    ),
    Mutant(
        "the direction is not asked",
        "core/reconcile.py",
        "    if not policy.direction.writes(to):\n        return Rule(otherwise)\n",
        "",
    ),
    Mutant(
        "the remote side wins a conflict that a person should settle",
        "core/reconcile.py",
        "        case Conflict.MANUAL:\n            winner = None\n",
        "        case Conflict.MANUAL:\n            winner = REMOTE\n",
    ),
    Mutant(
        "a deletion beats an edit",
        "core/reconcile.py",
        'case "ab-":\n            return _copy(REMOTE, policy, Reason.EDIT_BEATS_DELETE, otherwise=Reason.KEPT_LOCAL)',
        'case "ab-":\n            return _gone(REMOTE, policy)',
    ),
    Mutant(
        "what killed runs left half-done stays",
        "engine/run.py",
        "        for side in sides:\n            await job.stores[side].clean()\n",
        "",
    ),
    Mutant(
        "the books of killed runs stay open",
        "engine/run.py",
        "yield [] if number is None else await settle_killed(job, number)",
        "yield []",
    ),
    Mutant(
        "an undo takes back what somebody else wrote",
        "engine/undo.py",
        "        written = DIRECTORY_TOKEN if outcome.token is None and is_directory(step.key) else outcome.token\n",
        "        there = self.seen.get((step.side, step.key))\n"
        "        written = there.token if isinstance(there, Entry) else outcome.token\n",
    ),
    Mutant(
        "a short read is taken for all",
        "stores/memory/state.py",
        "if len(data) != source.size:",
        "if len(data) > source.size:",
    ),
    Mutant(
        "a cached digest counts for any version",
        "engine/state.py",
        "if tokens[key] == token and fingerprint is not None:",
        "if fingerprint is not None:",
    ),
    Mutant(
        "a false agreement beside a file that becomes a directory",
        "core/plan.py",
        "if not became.isdisjoint({s.id, *s.needs}) and item.side(s.side) is None]",
        "if not became.isdisjoint({s.id, *s.needs})]",
    ),
    Mutant(
        "a prune takes the last copy",
        "api/trash.py",
        "    return all([await job.stores[side].stat(kept.item.key) is None for side in sides])",
        "    return False",
    ),
    Mutant(
        "a filter is asked on one side only",
        "stores/memory/__init__.py",
        "        if self._filter is None:\n            return False",
        "        if self._filter is None or self._properties.location.endswith('A'):\n            return False",
    ),
    Mutant(
        "another spelling of what is agreed is not looked for",
        "engine/beside.py",
        "        if not names.folds:\n            continue",
        "        if names is not None:\n            continue",
    ),
    Mutant(
        "moves are found on one side only",
        "core/moves.py",
        "    for side in map(other, movable):\n        gone",
        "    for side in list(map(other, movable))[:1]:\n        gone",
    ),
    Mutant(
        "a second run of the same target is let in",
        "engine/run.py",
        "    except Timeout as error:\n        raise Locked(",
        "    except Timeout as error:\n        return lock\n        raise Locked(",
    ),
    Mutant(
        "an edited file is moved along",
        "core/moves.py",
        "        and not finding.changed(other(side))\n    )",
        "    )",
    ),
    Mutant(
        "an agreement on nothing is never remembered",
        "engine/agree.py",
        "    if not isinstance(local, Entry) or not isinstance(remote, Entry):\n        return item.key, None\n",
        "    if not isinstance(local, Entry) or not isinstance(remote, Entry):\n"
        "        return item.key, item.ancestor\n",
    ),
    Mutant(
        "the source is read whatever version it is by now",
        "stores/memory/__init__.py",
        "if node is None or node.kind is not Kind.FILE or node.token != token:\n",
        "if node is None or node.kind is not Kind.FILE:\n",
    ),
)

_ALSO = {
    "sibling by number": (
        "_SIBLING = re.compile(",
        "from itertools import count\n\n_NUMBERS = count()\n_SIBLING = re.compile(",
    )
}


def caught(mutant: Mutant, seeds: int) -> str:
    """What the simulation said; empty if it noticed nothing."""
    with tempfile.TemporaryDirectory(prefix="trueup-mutant-") as directory:
        source = Path(directory) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        path = source / "trueup" / mutant.file
        path.write_text(mutated(mutant))
        command = [sys.executable, "-m", "tests.simulation", "--until-broken", "--seeds", str(seeds)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join((str(source), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return ""
        said = done.stdout.strip().splitlines()
        if done.returncode != 1 or not said or not said[-1].startswith("seed "):
            raise RuntimeError(f"{mutant.name}: the simulation itself failed:\n{done.stderr}")
        return said[-1]


def mutated(mutant: Mutant) -> str:
    """The file with the fault in it.

    Raises:
        ValueError: If the text that it replaces is not there once.
    """
    text = _replaced((ROOT / "src" / "trueup" / mutant.file).read_text(), mutant.old, mutant.new, mutant)
    return _replaced(text, *_ALSO[mutant.name], mutant) if mutant.name in _ALSO else text


def _replaced(text: str, old: str, new: str, mutant: Mutant) -> str:
    if text.count(old) != 1:
        raise ValueError(f"{mutant.name}: the text is {text.count(old)} times in {mutant.file}:\n{old}")
    return text.replace(old, new)


def main(arguments: list[str] | None = None) -> int:
    """Try them all; 1 if one was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--record", action="store_true", help=f"write the figures into {results.RESULTS.name}")
    parser.add_argument("--only", default="", help="those whose name holds this")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    mutants = [mutant for mutant in MUTANTS if given.only in mutant.name]
    missed = []
    for mutant in mutants:
        said = caught(mutant, given.seeds)
        missed += [] if said else [mutant.name]
        _say(f"{'caught' if said else 'MISSED'}: {mutant.name}{f' - {said[:200]}' if said else ''}")
    caught_all, seconds = len(mutants) - len(missed), time.monotonic() - began
    if given.record:
        results.record("mutants", record.mutants(caught_all, missed, seconds=seconds))
    _say(f"{caught_all} of {len(mutants)} mutants caught, {seconds:.0f} s")
    return 1 if missed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
