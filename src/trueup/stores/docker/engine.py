"""The container engine's HTTP interface: few calls, each with a limit, and its faults told apart. All calls block."""

from __future__ import annotations

import importlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, TypeVar

from trueup.core.errors import AccessDenied, StoreError, TimedOut, Unavailable

T = TypeVar("T")

DEFAULT_URL = "unix:///var/run/docker.sock"


class Unreachable(Unavailable):
    """Nobody answers: whatever is asked next will not be answered either."""


class Engine:
    """Docker, or what speaks like it.

    Args:
        url: ``unix:///path``, ``tcp://host:port``, ``ssh://host``; empty: as ``DOCKER_HOST`` says, or Docker's default.
        timeout_seconds: Longest time for a call, from the connection to the last byte of the answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url = url or os.environ.get("DOCKER_HOST") or DEFAULT_URL
        self._from_environment = not url
        self._timeout_seconds = timeout_seconds
        self._client: Any = None

    def images(self) -> list[dict[str, Any]]:
        """All images, as ``GET /images/json`` tells them.

        Raises:
            AccessDenied: If this user may not ask.
            Unreachable: If there is no engine.
            TimedOut: If it does not answer.
            StoreError: If it refuses.
        """
        found: object = self._call(lambda client: client.images(), absent=None)
        if not isinstance(found, list) or not all(isinstance(one, dict) and one.get("Id") for one in found):
            raise StoreError(f"{self.url} is no Docker daemon", why="its list of images is none")
        return found

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """One image; None if the engine says that there is none, by status 404 and nothing else.

        Raises:
            StoreError: As `images`.
        """
        found: dict[str, Any] | None = self._call(lambda client: client.inspect_image(reference), absent=None)
        return found

    def stop(self, container: str, *, grace_seconds: int) -> bool:
        """Stop a container; False if there is none. One that has stopped already is stopped.

        Args:
            container: Its id or name.
            grace_seconds: How long it may take, before it is killed.

        Raises:
            StoreError: As `images`.
        """

        def stop(client: Any) -> bool:
            client.stop(container, timeout=grace_seconds)
            return True

        return self._call(stop, absent=False, more_seconds=grace_seconds)

    def remove_image(self, reference: str) -> bool:
        """Remove a name of an image, and the image with its last name; False if there is none.

        Raises:
            StoreError: As `images`; also if a container uses it.
        """

        def remove(client: Any) -> bool:
            client.remove_image(reference)
            return True

        return self._call(remove, absent=False)

    def tag(self, reference: str, repository: str, tag: str) -> bool:
        """Give an image another name; False if there is no such image.

        Raises:
            StoreError: As `images`.
        """

        def name(client: Any) -> bool:
            return bool(client.tag(reference, repository, tag))

        return self._call(name, absent=False)

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _call(self, ask: Callable[[Any], T], *, absent: T, more_seconds: float = 0) -> T:
        docker = _sdk()

        def work() -> T:
            if self._client is None:
                self._client = self._connected(docker)
            try:
                return ask(self._client)
            except docker.errors.NotFound:
                return absent

        try:
            return _limited(work, self._timeout_seconds + more_seconds)
        except (docker.errors.DockerException, OSError, ValueError, TypeError, LookupError) as error:
            # ValueError: of addresses. TypeError and LookupError: the client takes an error's body for an object.
            raise self._fault(docker, error) from error

    def _connected(self, docker: Any) -> Any:
        """A client that speaks as the engine does.

        The client could ask for that when it is made; but if nothing answers it is never made, and leaves its
        connection open.
        """
        if self.url.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self._timeout_seconds)
                probe.connect(self._socket)
        settings = docker.utils.kwargs_from_env() if self._from_environment else {}
        settings.update(base_url=self.url, timeout=self._timeout_seconds)
        with closing(docker.APIClient(version=docker.constants.MINIMUM_DOCKER_API_VERSION, **settings)) as first:
            told = first.version(api_version=False)
        if not isinstance(told, dict) or "ApiVersion" not in told:
            raise StoreError(f"{self.url} is no Docker daemon", why="it does not tell its version")
        return docker.APIClient(version=told["ApiVersion"], **settings)

    def _fault(self, docker: Any, error: BaseException) -> StoreError:
        causes = list(_causes(error))
        for cause in causes:
            explanation = cause.explanation if isinstance(cause, docker.errors.APIError) else ""
            status = getattr(getattr(cause, "response", None), "status_code", None)
            if isinstance(status, int):
                kind = Unavailable if status >= 500 else StoreError
                what = f"the Docker daemon at {self.url} answered {status}"
                return kind(what, why=str(explanation or "").strip())
        kinds = {kind for cause in causes for kind in type(cause).__mro__}
        names = {kind.__name__ for kind in kinds}
        if PermissionError in kinds:
            return self._denied()
        if TimeoutError in kinds or names & {"ReadTimeout", "ConnectTimeout", "ReadTimeoutError"}:
            return self._hung()
        if FileNotFoundError in kinds:
            return self._unreachable(f"there is no socket {self._socket}")
        if ConnectionRefusedError in kinds:
            return self._unreachable("nobody listens there")
        return self._unreachable(str(causes[-1]))

    def _unreachable(self, why: str) -> Unreachable:
        return Unreachable(
            self._cannot, why=why, attempt="sudo systemctl start docker; or name the engine with --docker-host"
        )

    @property
    def _cannot(self) -> str:
        return f"Cannot connect to the Docker daemon at {self.url}"

    def _hung(self) -> TimedOut:
        return TimedOut(
            f"the Docker daemon at {self.url} did not answer within {self._timeout_seconds:g} s",
            attempt="docker info; if that hangs too: sudo systemctl restart docker",
        )

    def _denied(self) -> AccessDenied:
        group = "docker"
        with suppress(OSError, KeyError, ImportError):
            from grp import getgrgid  # there is none on Windows, and no such socket

            status = os.stat(self._socket)
            if stat.S_IMODE(status.st_mode) & stat.S_IWGRP and status.st_gid:
                group = getgrgid(status.st_gid).gr_name
        return AccessDenied(
            self._cannot,
            why=f"no permission for the socket {self._socket}: it is for the group {group}",
            attempt=f"sudo usermod -aG {group} $USER, then log in again",
        )

    @property
    def _socket(self) -> str:
        return self.url.removeprefix("unix://")


def _sdk() -> Any:
    try:
        return importlib.import_module("docker")
    except ModuleNotFoundError as error:
        raise StoreError(
            "the client of container engines is not installed",
            why=f"no module {error.name}",
            attempt="pip install 'trueup[docker]'",
        ) from error


def _limited(work: Callable[[], T], seconds: float) -> T:
    """Work in a thread that is let go when the time is over: a limit on reading does not limit a trickle."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again, where it can be heard
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that led to it, the first cause last."""
    seen: set[int] = set()
    ahead: list[object] = [error]
    while ahead:
        one = ahead.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            ahead += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
