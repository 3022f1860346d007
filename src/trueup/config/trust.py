"""Which configuration files may have secrets and run commands: those whose exact bytes a person has approved.

A ``trueup.toml`` is found by walking up, so it may be a stranger's. Approval is recorded in the state directory and
holds for one path and one SHA-256; an edit ends it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from trueup.core.errors import ConfigError

STORE = "trust.json"
FORMAT = "trueup.trust"
VERSION = 1

_OTHERS_WRITE = 0o022


def is_trusted(path: Path, state_dir: Path, *, digest: str | None = None) -> bool:
    """Whether a file may have secrets; a store that is damaged, or that others can write, approves nothing.

    Args:
        path: The configuration file.
        state_dir: Where approvals are kept.
        digest: SHA-256 of the bytes that are in use; None: of what the file holds now.
    """
    try:
        approved = _load(state_dir / STORE).get(_name(path))
        return approved is not None and approved == (digest or _digest(path))
    except (OSError, ConfigError):
        return False


def trust(path: Path, state_dir: Path, *, digest: str | None = None) -> str:
    """Let a file have secrets and run commands as long as it stays as it is.

    Args:
        path: The configuration file.
        state_dir: Where approvals are kept; made if it is not there.
        digest: SHA-256 of the bytes that were reviewed; None: of what the file holds now.

    Returns:
        The digest that is trusted now.

    Raises:
        ConfigError: If the file cannot be read, or the store cannot be believed or written.
    """
    try:
        digest = digest or _digest(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read", why=error.strerror or str(error)) from error
    _change(state_dir, _name(path), digest)
    return digest


def distrust(path: Path, state_dir: Path) -> bool:
    """Take an approval back; the file need not be there any more.

    Returns:
        Whether there was one.

    Raises:
        ConfigError: If the store cannot be believed or written.
    """
    return _change(state_dir, _name(path), None)


def _change(state_dir: Path, name: str, digest: str | None) -> bool:
    from filelock import FileLock

    store = state_dir / STORE
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(state_dir / f"{STORE}.lock", mode=0o600):
            files = _load(store)
            before = files.pop(name, None)
            if digest is not None:
                files[name] = digest
            _save(store, files)
    except OSError as error:
        raise ConfigError(f"{store} cannot be written", why=error.strerror or str(error)) from error
    return before is not None


def _load(store: Path) -> dict[str, str]:
    """Approvals by real path; none if there is no store."""
    try:
        with store.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        return {}
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise ConfigError(
            f"{store} is not believed", why="other users can write it", attempt=f"rm {store}, then trueup trust FILE"
        )
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    stated = document if isinstance(document, dict) else {}
    files = stated.get("files")
    if (stated.get("format"), stated.get("version")) != (FORMAT, VERSION) or not isinstance(files, dict):
        raise ConfigError(f"{store} is damaged", attempt=f"rm {store}, then trueup trust FILE")
    return {str(name): str(digest) for name, digest in files.items()}


def _save(store: Path, files: dict[str, str]) -> None:
    """Atomically, readable for nobody else from the first byte on."""
    document = {"format": FORMAT, "version": VERSION, "files": dict(sorted(files.items()))}
    new = store.with_name(f".{STORE}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(store)


def _name(path: Path) -> str:
    return str(path.resolve())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
