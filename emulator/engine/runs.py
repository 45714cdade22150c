"""Runs: what Azure ML's run history knows of a job, of a pipeline's steps and of nested pipelines."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from emulator import disk
from emulator.store import Document, Store

log = logging.getLogger("emulator.engine")

TYPE = "run"
NODES = uuid.UUID("6f0c1d0e-5d0a-4f0b-9a5e-1b9d4c5a7e21")  # namespace of the ids of a pipeline's children


class Status(StrEnum):
    """The statuses of run history, in the order in which a run goes through them."""

    NOT_STARTED = "NotStarted"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @property
    def is_terminal(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELED)


class RunKind(StrEnum):
    """What a run stands for."""

    PIPELINE = "pipeline"  # a job
    COMMAND = "command"  # a job
    STEP = "step"  # a pipeline's command node
    NESTED = "nested"  # a pipeline's pipeline node


@dataclass
class Run:
    """One run.

    Attributes:
        id: the job's name, or for a child an id that follows from its parent's and its node's name.
        node: name in the parent's graph.
        error: as `RunFailed.document` gives it.
        nodes: how many of the compute's nodes it takes.
        outputs: by name: `type`, and `path`, the blob path in the default container.
        attempt: how often its process was started.
    """

    id: str
    root: str
    kind: RunKind
    experiment: str
    display_name: str
    created: str
    parent: str | None = None
    node: str | None = None
    status: Status = Status.NOT_STARTED
    started: str | None = None
    ended: str | None = None
    description: str | None = None
    error: Document | None = None
    component: str | None = None
    compute: str = "serverless"
    nodes: int = 1
    attempt: int = 0
    hidden: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def is_job(self) -> bool:
        return self.parent is None


class Tracking(Protocol):
    """MLflow's side of the runs."""

    async def create_run(
        self, run_id: str, *, experiment: str, name: str, parent: str | None = None, tags: dict[str, str] | None = None
    ) -> None: ...

    async def finish_run(self, run_id: str, status: str) -> None: ...

    async def last_step(self, run_id: str) -> int | None: ...


class Runs:
    """Every run of the workspace, here and in MLflow. `listen` is told of each change of status.

    There is one object for a run, which all share: whoever changes it calls `save` or `enter`.
    """

    def __init__(self, store: Store, tracking: Tracking) -> None:
        self._store = store
        self._tracking = tracking
        self._runs = {run.id.lower(): run for run in map(_load, store.list(TYPE))}
        self._unsaved: dict[str, Run] = {}
        self._saving: asyncio.Task[None] | None = None
        self.listen: Callable[[Run], None] = lambda run: None

    def find(self, id: str) -> Run | None:
        """The run, or None. Ids are compared without case."""
        return self._runs.get(id.lower())

    def all(self) -> list[Run]:
        """Every run, oldest first."""
        return list(self._runs.values())

    def jobs(self) -> list[Run]:
        """The runs without a parent, oldest first."""
        return [run for run in self._runs.values() if run.is_job]

    def children(self, id: str) -> list[Run]:
        """The direct children, oldest first."""
        return [run for run in self._runs.values() if run.parent is not None and run.parent.lower() == id.lower()]

    def descendants(self, id: str) -> list[Run]:
        """Everything below the run, at any depth."""
        return [run for child in self.children(id) for run in (child, *self.descendants(child.id))]

    def save(self, run: Run) -> None:
        """Writes the run; one that the disk does not take now is written once it does, and meanwhile what is known here counts."""
        self._runs[run.id.lower()] = run
        try:
            self._put(run)
            self._unsaved.pop(run.id, None)
        except Exception as error:
            if not disk.passes(error):
                raise
            self._unsaved[run.id] = run
            if self._saving is None or self._saving.done():
                self._saving = asyncio.create_task(disk.outlasted(self._save_the_unsaved, "what is known of runs"))

    async def _save_the_unsaved(self) -> None:
        for id, run in list(self._unsaved.items()):
            self._put(run)
            self._unsaved.pop(id, None)

    def _put(self, run: Run) -> None:
        self._store.put(TYPE, run.id, {**asdict(run), "kind": run.kind.value, "status": run.status.value})

    def amend(
        self,
        run: Run,
        *,
        display_name: str | None,
        description: str | None,
        hidden: bool | None,
        tags: Mapping[str, Any] | None,
        properties: Mapping[str, Any] | None,
    ) -> None:
        """Changes what a user may change of a run. None leaves things as they are; tags and properties are merged."""
        run.display_name = run.display_name if display_name is None else display_name
        run.description = run.description if description is None else description
        run.hidden = run.hidden if hidden is None else hidden
        run.tags |= {name: str(value) for name, value in (tags or {}).items()}
        run.properties |= {name: str(value) for name, value in (properties or {}).items()}
        self.save(run)

    def enter(self, run: Run, status: Status, **changes: Any) -> None:
        """Moves the run on, with the times that go with it; `changes` are other attributes to set."""
        run.status = status
        if status is Status.RUNNING and run.started is None:
            run.started = now()
        if status.is_terminal:
            run.ended = now()
        for name, value in changes.items():
            setattr(run, name, value)
        self.listen(run)  # a log's last lines come before the status that tells a reader that they were the last
        self.save(run)

    async def begin(self, run: Run) -> None:
        """Makes the run's MLflow run; nothing happens when it has one."""
        await self._tracking.create_run(
            run.id, experiment=run.experiment, name=run.display_name, parent=run.parent, tags=run.tags
        )

    async def end(self, run: Run, status: Status, **changes: Any) -> None:
        """Moves the run, and MLflow's, to its last status."""
        try:
            await disk.outlasted(lambda: self._tracking.finish_run(run.id, status), f"the end of run {run.id}")
        except Exception:
            log.exception("MLflow did not take the end of run %s", run.id)
        self.enter(run, status, **changes)

    async def last_step(self, run: Run) -> int | None:
        """The highest training step that the run has logged to MLflow; None for none."""
        return await self._tracking.last_step(run.id)

    def delete(self, id: str) -> None:
        """Forgets the run."""
        self._store.delete(TYPE, id)
        self._runs.pop(id.lower(), None)
        self._unsaved.pop(id, None)


def child_id(parent: str, node: str) -> str:
    """The id of a node's run. It follows from its place, so that a graph that is walked again finds the runs it made."""
    return str(uuid.uuid5(NODES, f"{parent}/{node}"))


def now() -> str:
    """This moment, as run history writes it."""
    return datetime.now(UTC).isoformat()


def _load(document: Document) -> Run:
    return Run(**{**document, "kind": RunKind(document["kind"]), "status": Status(document["status"])})
