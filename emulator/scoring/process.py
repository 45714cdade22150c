"""One model server process of a deployment: its start, its health, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from emulator import births
from emulator.fork_server import ForkServer, ForkServerLost
from emulator.inherited import environment

if TYPE_CHECKING:
    import httpx
    import psutil

HOST = "127.0.0.1"
MODULE = "emulator.scoring.model_server"
GRACE_SECONDS = 2.0  # by which the model server waits longer than the front door, which then is the one that gives up
STOP_SECONDS = 3.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.5  # for an adopted process, whose end no parent is told of


@dataclass(frozen=True)
class Spec:
    """What a deployment's processes run.

    Attributes:
        endpoint, deployment: names.
        model: the model's folder or file.
        code: the folder of a custom scoring script; None for an MLflow model.
        entry: the script in it.
        variables: the deployment's environment variables.
        instances: how many processes.
        timeout: seconds that one request may take.
        budget: seconds after which a process that is not ready has failed.
    """

    endpoint: str
    deployment: str
    model: Path
    code: Path | None
    entry: str | None
    variables: Mapping[str, str]
    instances: int
    timeout: float
    budget: float

    def arguments(self, port: int) -> list[str]:
        """What one process's module is told."""
        script = ["--code", str(self.code), "--entry", str(self.entry)] if self.code else []
        patience = ["--timeout", f"{self.timeout + GRACE_SECONDS:g}"]
        where = ["--host", HOST, "--port", str(port)]
        return [*where, "--model", str(self.model), "--name", self.deployment, *patience, *script]

    def environment(self) -> dict[str, str]:
        """The environment of one process: as on Azure, AZUREML_MODEL_DIR is the folder that the model lies in."""
        return {**environment(self.variables), "AZUREML_MODEL_DIR": str(self.model.parent)}


@dataclass(frozen=True)
class Identity:
    """How a process is known after a restart of the emulator: its creation time tells it from a later one of the same id."""

    pid: int
    created: births.Birth
    port: int


class Child(Protocol):
    """A process of which somebody is told how it ends."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int | None:
        """Returns when it has ended, or nobody will be told."""


class ModelProcess:
    """A running model server, started here or adopted."""

    def __init__(self, process: psutil.Process, port: int, child: Child | None) -> None:
        self._process = process
        self._child = child
        self.identity = Identity(process.pid, births.began(process.pid), port)

    @classmethod
    async def start(cls, spec: Spec, log: Path, server: ForkServer) -> ModelProcess:
        """Starts a process in its own session, its output appended to `log`. It is not ready yet. It comes from the fork server,
        unless it is given a script or variables of its own, which may ask something of the libraries."""
        import psutil

        port = _free_port()
        log.parent.mkdir(parents=True, exist_ok=True)
        child: Child | None = None
        if not (spec.code or spec.variables):
            with contextlib.suppress(ForkServerLost):
                child = await server.fork(MODULE, spec.arguments(port), spec.environment(), Path.cwd(), log)
        if child is None:
            with log.open("ab") as output:
                child = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", MODULE, *spec.arguments(port)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=spec.environment(),
                    start_new_session=True,
                )
        return cls(psutil.Process(child.pid), port, child)

    @classmethod
    def adopt(cls, identity: Identity) -> ModelProcess | None:
        """The process of an earlier run of the emulator; None when it has ended."""
        import psutil

        try:
            process = psutil.Process(identity.pid)
            same = births.lives(identity.pid, identity.created)
            return cls(process, identity.port, None) if same else None
        except psutil.NoSuchProcess:
            return None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.identity.port}"

    @property
    def is_alive(self) -> bool:
        if self._child is not None and self._child.returncode is not None:
            return False
        return _is_running(self._process)

    @property
    def exit_status(self) -> int | None:
        """The exit status of a process that was started here and has ended."""
        return self._child.returncode if self._child else None

    async def is_ready(self, client: httpx.AsyncClient) -> bool:
        """Whether `GET /` answers 200."""
        import httpx

        try:
            return (await client.get(self.url + "/", timeout=2.0)).status_code == 200
        except httpx.HTTPError:
            return False

    async def wait(self) -> None:
        """Returns when the process has ended."""
        if self._child is not None:
            await self._child.wait()
        while self.is_alive:  # noqa: ASYNC110 - nobody tells of the end of a process that is no child
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        """Ends the process and all that it started."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.wait()
        self._signal(signal.SIGKILL)  # also what it left behind in its session
        await self.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.identity.pid, number)


def identity_of(record: Mapping[str, Any]) -> Identity:
    """An identity as it was written to the store."""
    return Identity(int(record["pid"]), record["created"], int(record["port"]))


def _is_running(process: psutil.Process) -> bool:
    """Whether it runs; an ended one that nobody has reaped does not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
