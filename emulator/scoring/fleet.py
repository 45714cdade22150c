"""All deployments' processes: started, watched, started again when they die, found again after a restart of the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from emulator import disk
from emulator.faults.book import under
from emulator.faults.rules import DeploymentCrash, DeploymentNeverReady
from emulator.fork_server import ForkServer
from emulator.scoring.process import ModelProcess, Spec, identity_of
from emulator.store import Store

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("emulator.scoring")

TYPE = "model-process"
MOST_PROCESSES = 2  # of one deployment: a model fills a core, and this is one machine
POLL_SECONDS = 0.1
RESTART_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # how long a process that died again waits for its next start
CRASHED = "User container has crashed or terminated"


class StartFailed(Exception):
    """The deployment's processes did not become ready; the message is Azure's, with its class as the prefix."""

    def __init__(self, kind: str, sentence: str) -> None:
        guide = f"https://aka.ms/oe-tsg#error-{kind.lower()}"
        super().__init__(f"{kind}: {sentence} Please see troubleshooting guide, available here: {guide}")


@dataclass
class Replicas:
    """The processes of one deployment. `ready` are those that take requests; `busy` counts theirs."""

    spec: Spec
    processes: list[ModelProcess] = field(default_factory=list)
    ready: list[ModelProcess] = field(default_factory=list)
    busy: dict[int, int] = field(default_factory=dict)
    watches: list[asyncio.Task[None]] = field(default_factory=list)
    ended: bool = False

    def least_busy(self) -> ModelProcess | None:
        """The process for the next request; None while none is ready."""
        return min(self.ready, key=lambda process: self.busy.get(process.identity.pid, 0), default=None)


class Fleet:
    """Runs the deployments' processes. Logs lie in `folder`/{endpoint}/{deployment}/."""

    def __init__(self, folder: Path, store: Store, fork_server: ForkServer) -> None:
        self._folder = folder
        self._store = store
        self._fork_server = fork_server
        self._running: dict[tuple[str, str], Replicas] = {}
        self._starting: dict[tuple[str, str], list[Replicas]] = {}
        self._client: httpx.AsyncClient | None = None

    # ------------------------------------------------------------------------------------------------------- life

    async def launch(self, spec: Spec) -> None:
        """Starts a deployment's processes and returns when they are ready. Those that ran before serve on until then.

        Raises:
            StartFailed: one died or the budget passed; the ones that ran before, if any, serve on.
        """
        key = _key(spec.endpoint, spec.deployment)
        fresh = Replicas(spec)
        self._starting.setdefault(key, []).append(fresh)
        try:
            await self._start(fresh)
        except BaseException:
            await self._end(fresh)
            self._starting[key].remove(fresh)
            self._remember(key)
            raise
        self._starting[key].remove(fresh)
        before = self._running.get(key)
        self._running[key] = fresh
        for index in range(len(fresh.processes)):
            fresh.watches.append(asyncio.create_task(self._watch(fresh, index)))
        if before is not None:
            await self._end(before)
        self._remember(key)

    async def resume(self, spec: Spec) -> None:
        """Takes the deployment's processes of an earlier run of the emulator over, or starts them anew.

        Raises:
            StartFailed: as `launch`.
        """
        key = _key(spec.endpoint, spec.deployment)
        record = self._store.get(TYPE, "/".join(key)) or {}
        adopted = [ModelProcess.adopt(identity_of(item)) for item in record.get("processes", [])]
        alive = [process for process in adopted if process is not None]
        checks = [await process.is_ready(self.client) for process in alive]
        if alive and all(checks) and len(alive) == _count(spec):
            found = Replicas(spec, alive, list(alive))
            found.watches = [asyncio.create_task(self._watch(found, index)) for index in range(len(alive))]
            self._running[key] = found
            self._note(spec, "The emulator was started again and found the model server running.")
            return
        for process in alive:
            await process.stop()
        await self.launch(spec)

    async def end(self, endpoint: str, deployment: str) -> None:
        """Ends the deployment's processes, also such as are starting or were left by an earlier run of the emulator."""
        key = _key(endpoint, deployment)
        replicas = [*self._starting.get(key, []), *filter(None, [self._running.pop(key, None)])]
        for one in replicas:
            await self._end(one)
        if not replicas:
            await self._end_recorded(self._store.get(TYPE, "/".join(key)) or {})
        self._store.delete(TYPE, "/".join(key))

    async def end_strays(self, wanted: set[tuple[str, str]]) -> None:
        """Ends what an earlier run of the emulator left running for deployments that are not `wanted` (endpoint, deployment)."""
        keep = {_key(*names) for names in wanted}
        for record in self._store.list(TYPE):
            key = _key(record["endpoint"], record["deployment"])
            if key not in keep:
                await self._end_recorded(record)
                self._store.delete(TYPE, "/".join(key))

    async def close(self) -> None:
        """Ends every process."""
        everything = [*self._running.values(), *(one for many in self._starting.values() for one in many)]
        await asyncio.gather(*(self._end(one) for one in everything))
        self._running.clear()
        if self._client is not None:
            await self._client.aclose()
        for record in self._store.list(TYPE):
            self._store.delete(TYPE, f"{record['endpoint']}/{record['deployment']}")

    # ---------------------------------------------------------------------------------------------------- requests

    @property
    def client(self) -> httpx.AsyncClient:
        """The client for the processes: loopback only, no proxy, no limit of its own."""
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(trust_env=False, timeout=None, limits=httpx.Limits(max_connections=None))
        return self._client

    def find(self, endpoint: str, deployment: str) -> Replicas | None:
        """The deployment's processes; None when it has none."""
        return self._running.get(_key(endpoint, deployment))

    # -------------------------------------------------------------------------------------------------------- logs

    def log_file(self, endpoint: str, deployment: str, container: str, index: int = 0) -> Path:
        """The log of a deployment's container, `inference-server` or `storage-initializer`."""
        return self._folder / endpoint.lower() / deployment.lower() / f"{container}-{index}.log"

    def log_tail(self, endpoint: str, deployment: str, container: str, lines: int) -> str:
        """The last lines of a container's log; "" when it has none."""
        try:
            text = self.log_file(endpoint, deployment, container).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "".join(text.splitlines(keepends=True)[-lines:])

    def note(self, endpoint: str, deployment: str, container: str, sentence: str) -> None:
        """Adds a line to a container's log, if the disk takes it."""
        path = self.log_file(endpoint, deployment, container)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}\n")
        except OSError as error:
            if not disk.passes(error):
                raise
            log.warning("not in the log of %s/%s, for the disk did not take it: %s", endpoint, deployment, sentence)

    # ----------------------------------------------------------------------------------------------------- helpers

    async def _start(self, replicas: Replicas) -> None:
        spec = replicas.spec
        if spec.instances > MOST_PROCESSES:
            self._note(spec, f"{spec.instances} instances were asked for; this machine runs {MOST_PROCESSES} of them.")
        deadline = time.monotonic() + spec.budget
        for index in range(_count(spec)):
            self._note(spec, f"Starting the model server of instance {index}.")
            process = await ModelProcess.start(
                spec, self.log_file(spec.endpoint, spec.deployment, "inference-server", index), self._fork_server
            )
            replicas.processes.append(process)
            self._remember(_key(spec.endpoint, spec.deployment))
            if replicas.ended:  # while it was being started
                break
        for process in replicas.processes:
            await self._until_ready(replicas, process, deadline)

    async def _until_ready(self, replicas: Replicas, process: ModelProcess, deadline: float) -> None:
        if crash := under(DeploymentCrash):
            self._note(replicas.spec, crash.message)
            raise StartFailed("ResourceNotReady", crash.message)
        while under(DeploymentNeverReady) or not await process.is_ready(self.client):
            if replicas.ended:
                break
            if not process.is_alive:
                await process.wait()  # until its status is known
                raise StartFailed("ResourceNotReady", f"{CRASHED}: container exited with status {process.exit_status}.")
            if time.monotonic() > deadline:
                probe = "Liveness probe failed: HTTP probe failed with statuscode: 502"
                raise StartFailed("ResourceNotReady", f"{CRASHED}: {probe} for {replicas.spec.budget:g} s.")
            await asyncio.sleep(POLL_SECONDS)
        if replicas.ended:
            raise StartFailed(
                "OperationCanceled", "The operation was canceled by another operation that has higher priority."
            )
        replicas.ready.append(process)

    async def _watch(self, replicas: Replicas, index: int) -> None:
        """Starts the process again each time it ends by itself."""
        failures, spec = 0, replicas.spec
        while True:
            process = replicas.processes[index]
            started = time.monotonic()
            await process.wait()
            with contextlib.suppress(ValueError):
                replicas.ready.remove(process)
            failures = 0 if time.monotonic() - started > RESTART_SECONDS[-1] else failures + 1
            pause = RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1] if failures else RESTART_SECONDS[0]
            log.warning(
                "the model server of %s/%s ended; it is started again in %.0f s", spec.endpoint, spec.deployment, pause
            )
            self._note(spec, f"The model server of instance {index} ended; it is started again in {pause:.0f} s.")
            await asyncio.sleep(pause)
            path = self.log_file(spec.endpoint, spec.deployment, "inference-server", index)
            what = f"the model server of {spec.endpoint}/{spec.deployment}"
            process = await disk.outlasted(partial(ModelProcess.start, spec, path, self._fork_server), what)
            replicas.processes[index] = process

            async def remember() -> None:
                self._remember(_key(spec.endpoint, spec.deployment))

            await disk.outlasted(remember, what)
            try:
                await self._until_ready(replicas, process, time.monotonic() + spec.budget)
            except StartFailed:
                await process.stop()

    async def _end(self, replicas: Replicas) -> None:
        replicas.ended = True
        replicas.ready.clear()
        for watch in replicas.watches:
            watch.cancel()
        await asyncio.gather(*replicas.watches, return_exceptions=True)
        await asyncio.gather(*(process.stop() for process in replicas.processes))

    async def _end_recorded(self, record: dict[str, object]) -> None:
        for item in record.get("processes", []):  # type: ignore[attr-defined]
            if process := ModelProcess.adopt(identity_of(item)):
                await process.stop()

    def _remember(self, key: tuple[str, str]) -> None:
        """Writes down which processes there are, those that are not ready yet among them: a killed emulator leaves them."""
        replicas = [*filter(None, [self._running.get(key)]), *self._starting.get(key, [])]
        processes = [asdict(process.identity) for one in replicas for process in one.processes]
        if processes:
            self._store.put(TYPE, "/".join(key), {"endpoint": key[0], "deployment": key[1], "processes": processes})
        else:
            self._store.delete(TYPE, "/".join(key))

    def _note(self, spec: Spec, sentence: str) -> None:
        self.note(spec.endpoint, spec.deployment, "inference-server", sentence)


def _count(spec: Spec) -> int:
    return min(spec.instances, MOST_PROCESSES)


def _key(endpoint: str, deployment: str) -> tuple[str, str]:
    return endpoint.lower(), deployment.lower()
