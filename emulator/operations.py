"""Azure's long-running operations: work that goes on after its request was answered.

A client is given the address of the operation's status and polls it. Most work here is over by the first poll; what really takes
time (a deployment's start) carries `retry-after-ms`, which the SDK honours. `faithful` does as Azure does instead: no hint, and at
least Azure's own wait.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from emulator import disk, errors
from emulator.faults import rules
from emulator.faults.book import under
from emulator.installation import Installation
from emulator.store import Document, Store

log = logging.getLogger("emulator.operations")

TYPE = "operation"
CODE = "InternalServerError"
NO_END = "0001-01-01T00:00:00+00:00"  # what Azure sends as the end of what has not ended
POLL_HINT = {"retry-after-ms": "100"}
FAITHFUL_SECONDS = 5.0

Work = Callable[[], Awaitable[None]]
Spoil = Callable[[], None]


class Kind(StrEnum):
    """What is being worked on; it decides the form of the operation's id and address."""

    COMPUTE = "compute"
    ENDPOINT = "oeidp"
    DEPLOYMENT = "odidp"
    JOB = "job"


class OperationFailed(Exception):
    """Ends the operation as Failed with this `error` object (see `errors.operation_error`)."""

    def __init__(self, error: Document) -> None:
        super().__init__(str(error.get("message")))
        self.error = error


class Operations:
    """Starts work and remembers how it went."""

    def __init__(self, installation: Installation, store: Store, *, faithful: bool = False) -> None:
        self._installation = installation
        self._store = store
        self._faithful = faithful
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, kind: Kind, work: Work, spoil: Spoil | None = None) -> dict[str, str]:
        """Runs `work` in the background; returns the response headers by which a client can follow it.

        Where the operation was asked to fail, `spoil` runs instead: it leaves the resource as a failure would.
        """
        id = str(uuid.uuid4())
        if kind in (Kind.ENDPOINT, Kind.DEPLOYMENT):
            id = f"{kind}:{self._installation.workspace_guid}:{id}"
        self._store.put(
            TYPE, id, {"id": id, "kind": kind, "status": "InProgress", "startTime": _now(), "endTime": NO_END}
        )
        if fault := under(rules.OperationFailed):
            work = _failing(fault, spoil)
        task = asyncio.create_task(self._run(id, work, spoil))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self._headers(kind, id)

    def find(self, id: str) -> Document | None:
        """The operation's document: id, kind, status, startTime, endTime and, where it failed, error."""
        return self._store.get(TYPE, id)

    def poll_headers(self, operation: Document) -> dict[str, str]:
        """What a poll of a running operation is told of when to come again."""
        return {} if self._faithful or operation["status"] != "InProgress" else POLL_HINT

    def abandon_unfinished(self) -> None:
        """Ends what a killed emulator left running: its work is gone with the process."""
        for operation in self._store.list(TYPE):
            if operation["status"] == "InProgress":
                message = "InternalServerError: the operation was interrupted by a restart of the service."
                self._finish(
                    operation["id"], "Failed", {"code": "InternalServerError", "message": message, "details": []}
                )

    async def close(self) -> None:
        """Cancels what is still running."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, id: str, work: Work, spoil: Spoil | None) -> None:
        status, error = await self._outcome(id, work, spoil)

        async def finish() -> None:
            self._finish(id, status, error)

        # A client would poll for ever what nobody has noted the end of.
        await disk.outlasted(finish, f"the end of operation {id}")

    async def _outcome(self, id: str, work: Work, spoil: Spoil | None) -> tuple[str, Document | None]:
        try:
            if self._faithful:
                await asyncio.sleep(FAITHFUL_SECONDS)
            await work()
            return "Succeeded", None
        except OperationFailed as failure:
            return "Failed", failure.error
        except asyncio.CancelledError:
            self._finish(
                id, "Canceled", {"code": "OperationCanceled", "message": "OperationCanceled: the service is stopping."}
            )
            raise
        except Exception as problem:
            trouble = disk.trouble(problem, self._installation.state)
            if trouble is None:
                log.exception("operation %s ended by an error of the emulator", id)
                return "Failed", {"code": CODE, "message": f"{CODE}: see the emulator's log."}
            sentence = trouble.sentence(self._installation.state)
            log.error("operation %s: %s", id, sentence)
            if spoil is not None:
                await disk.outlasted(_awaited(spoil), f"the resource of operation {id}")
            return "Failed", errors.operation_error(sentence, CODE)

    def _finish(self, id: str, status: str, error: Document | None = None) -> None:
        operation = self._store.get(TYPE, id) or {"id": id}
        operation.update(status=status, endTime=_now())
        if error is not None:
            operation["error"] = error
        self._store.put(TYPE, id, operation)

    def _headers(self, kind: Kind, id: str) -> dict[str, str]:
        base = f"https://management.azure.com{self._installation.location_id}"
        if kind is Kind.COMPUTE:
            status = f"{base}/computeOperationsStatus/{id}?api-version=2023-08-01-preview&service=new"
            return {"Azure-AsyncOperation": status, **({} if self._faithful else POLL_HINT)}
        result = f"{base}/mfeOperationResults/{id}?api-version=2023-04-01-preview"
        if kind is Kind.JOB:
            return {"Location": result}
        return {
            "Azure-AsyncOperation": f"{base}/mfeOperationsStatus/{id}?api-version=2023-04-01-preview",
            "Location": result,
            "x-ms-async-operation-timeout": "PT30M",
        }


def status_body(operation: Document) -> dict[str, Any]:
    """The operation as its status address shows it."""
    failed = {"error": operation["error"]} if "error" in operation else {}
    if operation["kind"] == Kind.COMPUTE:
        return {"status": operation["status"], "percentComplete": 100.0, **failed}
    times = {key: operation[key] for key in ("id", "startTime", "endTime")}
    return {**times, "name": operation["id"], "status": operation["status"], "percentComplete": 0.0, **failed}


def _awaited(spoil: Spoil) -> Work:
    async def work() -> None:
        spoil()

    return work


def _failing(fault: rules.OperationFailed, spoil: Spoil | None) -> Work:
    async def work() -> None:
        if spoil is not None:
            spoil()
        raise OperationFailed(errors.operation_error(fault.message, fault.code))

    return work


def _now() -> str:
    return datetime.now(UTC).isoformat()
