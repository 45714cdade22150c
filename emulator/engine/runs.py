"""Runs: what Azure ML's run history knows of a job, of a pipeline's steps and of nested pipelines."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from emulator.store import Document, Store

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
    compute: str | None = None
    nodes: int = 1
    attempt: int = 0
    hidden: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def is_job(self) -> bool:
        return self.parent is None

    @property
    def artifacts(self) -> str:
        """Where its logs and artifacts are: a blob path in the artifact container."""
        return f"ExperimentRun/dcid.{self.id}"


class Runs:
    """Every run of the workspace. `listen` is called at each change of status."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.listen: Callable[[Run], None] = lambda run: None

    def find(self, id: str) -> Run | None:
        """The run, or None."""
        document = self._store.get(TYPE, id)
        return None if document is None else _load(document)

    def jobs(self) -> list[Run]:
        """The runs without a parent, oldest first."""
        return [run for run in map(_load, self._store.list(TYPE)) if run.is_job]

    def children(self, id: str) -> list[Run]:
        """The direct children, oldest first."""
        return [run for run in map(_load, self._store.list(TYPE)) if run.parent is not None and run.parent.lower() == id.lower()]

    def save(self, run: Run) -> None:
        """Writes the run."""
        self._store.put(TYPE, run.id, {**asdict(run), "kind": run.kind.value, "status": run.status.value})

    def enter(self, run: Run, status: Status, **changes: Any) -> None:
        """Moves the run on, with the times that go with it; `changes` are other attributes to set."""
        run.status = status
        if status is Status.RUNNING and run.started is None:
            run.started = now()
        if status.is_terminal:
            run.ended = now()
        for name, value in changes.items():
            setattr(run, name, value)
        self.save(run)
        self.listen(run)

    def delete(self, id: str) -> None:
        """Forgets the run and all under it."""
        for child in self.children(id):
            self.delete(child.id)
        self._store.delete(TYPE, id)


def child_id(parent: str, node: str) -> str:
    """The id of a node's run. It follows from its place, so that a graph that is walked again finds the runs it made."""
    return str(uuid.uuid5(NODES, f"{parent}/{node}"))


def now() -> str:
    """This moment, as run history writes it."""
    return datetime.now(UTC).isoformat()


def _load(document: Document) -> Run:
    return Run(**{**document, "kind": RunKind(document["kind"]), "status": Status(document["status"])})
