"""Open policies and environments: the registry, the weights, the container engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path

from trueup.core.audit import Method
from trueup.core.errors import Corrupt, StoreError, UsageError
from trueup.core.model import Damaged, Entry, Key, Shown, Side, Unknown
from trueup.core.plan import Step
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Audit, Job, Progress, Sights
from trueup.engine.state import State
from trueup.protocols import Opening, Store
from trueup.stores.docker import DockerStore, references
from trueup.stores.registry import RegistryStore, containers_of
from trueup.stores.weights import FileId, WeightsStore
from trueup.targets import Spec, environments, policies
from trueup.targets.environments import Environments
from trueup.targets.policies import Policies

MAPLE = Path("~/.maple/state.db")
"""The registry of the tool that owns most of them; used where it exists."""
OWN = "registry.db"
"""Name of trueup's own registry, in the state directory, of the same schema."""
MODELS = "models"
"""Folder of the weights, beside a registry."""


def registry_path(named: str, state: Path) -> Path:
    """The registry that is meant."""
    if named:
        return Path(named).expanduser().absolute()
    maple = MAPLE.expanduser()
    return maple if maple.exists() else state / OWN


def unconfigured(targets: Mapping[str, Spec]) -> list[Spec]:
    """The targets of the registry at its usual place, if it is there and no target of its kinds is configured."""
    if not MAPLE.expanduser().exists():
        return []
    kinds = {type(spec) for spec in targets.values()}
    return [spec for spec in (Policies(), Environments()) if type(spec) not in kinds]


def open_registry(spec: Policies | Environments, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job that compares a registry with what it speaks of."""
    path = registry_path(spec.registry, state.directory)
    if isinstance(spec, Policies):
        return _open_policies(spec, path, opening, state, ambient)
    return _open_environments(spec, path, opening, state, ambient)


def _open_policies(spec: Policies, path: Path, opening: Opening, state: State, ambient: Ambient) -> Job:
    root = Path(spec.root).expanduser().absolute() if spec.root else path.parent / MODELS
    record = RegistryStore(str(path), policies.KIND, opening)
    disk = WeightsStore(str(root), opening, _paths_of(record))
    engine = DockerStore(spec.docker, _images_of(record), opening, labelled=False)
    stores = {policies.RECORD: record, policies.DISK: disk, policies.ENGINE: engine}
    method = policies.method(adopt=spec.adopt, path_of=lambda name, version: str(root / name / version))
    digests = Digests(opening.remember)

    async def closer(job: Job, sights: Sights) -> tuple[Sights, Method]:
        return (await _verified(disk, digests, spec.only, job, sights) if job.verify else sights), method

    return _job(spec, stores, Audit(method, policies.RECORD, closer), engine, state, ambient)


def _open_environments(spec: Environments, path: Path, opening: Opening, state: State, ambient: Ambient) -> Job:
    record = RegistryStore(str(path), environments.KIND, opening)
    engine = DockerStore(spec.docker, _images_of(record), opening)
    stores = {environments.RECORD: record, environments.ENGINE: engine}
    audit = Audit(environments.method(adopt=spec.adopt, image_of=engine.reference_of), environments.RECORD)
    return _job(spec, stores, audit, engine, state, ambient)


def _job(
    spec: Policies | Environments,
    stores: Mapping[Side, Store],
    audit: Audit,
    engine: DockerStore,
    state: State,
    ambient: Ambient,
) -> Job:
    async def act(step: Step) -> None:
        """Stop containers."""
        for container in step.record.fields["stop"] if step.record is not None else ():
            await engine.stop_container(container)

    return Job(
        target=spec.target({side: store.properties.location for side, store in stores.items()}),
        policy=Policy(),
        stores=stores,
        state=state,
        ambient=ambient,
        limits=spec.limits,
        act=act,
        audit=audit,
    )


def containers(job: Job, key: Key) -> list[str]:
    """The running containers of an entry, by the engine's ids. Blocks."""
    path = job.target.locations[policies.RECORD].rpartition("#")[0]
    return [container.id for container in containers_of(path, job.target.kind, key)]


def check_image(name: str) -> None:
    """Refuse what cannot be the name of an image.

    Raises:
        UsageError: If it cannot.
    """
    try:
        references.parse(name)
    except ValueError as error:
        raise UsageError(str(error), attempt="an image as docker pull takes it: libero:latest") from error


def same_image(one: str) -> Callable[[str], bool]:
    """Whether another name is one of the same image, so far as names tell."""

    def full(name: str) -> tuple[str, ...]:
        try:
            reference = references.parse(name)
        except ValueError:
            return (name,)
        return tuple(part for part in (reference.tagged, reference.pinned, reference.digest) if part)

    return lambda other: not set(full(one)).isdisjoint(full(other))


def _paths_of(record: RegistryStore) -> Callable[[], Mapping[Key, Path | None]]:
    """Every recorded policy, with its recorded path."""

    def paths() -> dict[Key, Path | None]:
        return {key: Path(path) if path else None for key, path in record.column("path", empty=True).items()}

    return paths


def _images_of(record: RegistryStore) -> Callable[[], Mapping[Key, str]]:
    """Every recorded item that names an image, as the registry is when it is asked."""
    return lambda: record.column("image")


class Digests(MutableMapping[FileId, str]):
    """Digests of files of weights that a verification has read: if it is stopped, the next one goes on there."""

    def __init__(self, memory: MutableMapping[str, str] | None) -> None:
        self._memory: MutableMapping[str, str] = {} if memory is None else memory

    def _name(self, file: FileId) -> str:
        return "file:" + "\0".join(map(str, file))

    def __getitem__(self, file: FileId) -> str:
        """The digest of that version of a file."""
        return self._memory[self._name(file)]

    def __setitem__(self, file: FileId, digest: str) -> None:
        """Remember a digest."""
        self._memory[self._name(file)] = digest

    def __delitem__(self, file: FileId) -> None:
        """Forget a digest."""
        del self._memory[self._name(file)]

    def __iter__(self) -> Iterator[FileId]:
        """All versions of files whose digests are known."""
        for name in self._memory:
            if name.startswith("file:"):
                path, size, modified_ns, inode = name.removeprefix("file:").rsplit("\0", 3)
                yield path, int(size), int(modified_ns), int(inode)

    def __len__(self) -> int:
        """How many there are."""
        return sum(1 for _ in self)

    def clear(self) -> None:
        """Forget all of them; looks for them once, not once for each."""
        for name in [name for name in self._memory if name.startswith("file:")]:
            del self._memory[name]


async def _verified(disk: WeightsStore, digests: Digests, only: tuple[Key, ...], job: Job, sights: Sights) -> Sights:
    """Read the weights to the end, and say what is not what it was before."""
    found = dict(sights[policies.DISK])
    done = 0

    def progress(name: str, size: int) -> None:
        nonlocal done
        done += size
        job.on_progress(Progress("look closer", policies.DISK, bytes=done, current=name))

    for key, shown in found.items():
        if isinstance(shown, Entry) and (not only or key in only):
            found[key] = await job.ambient.threads(_proved, disk, digests, key, shown, progress)
    await job.ambient.threads(digests.clear)  # they are of this verification: the next one reads every byte again
    return {**sights, policies.DISK: found}


def _proved(
    disk: WeightsStore, digests: Digests, key: Key, shown: Entry, progress: Callable[[str, int], None]
) -> Shown:
    try:
        found = disk.verify(key, digests, progress)
    except Corrupt as error:
        return Damaged(str(error), shown.token, shown.content.size)
    except StoreError as error:
        return Unknown(str(error))
    if found.differing:
        return Damaged(f"{found.differing[0]} is not what was verified before", shown.token, shown.content.size)
    return shown
