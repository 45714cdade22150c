"""One job under observation: its state, its steps, its training metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import UUID

from pydantic import BaseModel

from blocks import AzureMLWorkspace
from tasks.artifacts import duration, publish_table
from tasks.azure_ml.errors import classify, find, redact
from tasks.azure_ml.kinds import Kind
from tasks.azure_ml.states import COMPLETED, ENDED, WORKING, word
from tasks.azure_ml.tracking import Tracking
from tasks.jobs import JobTaken
from tasks.naming import run_id_of
from tasks.progress import Progress
from tasks.stage import run_logger

EXPECTED_STEPS = 5
"""Steps of the chat-completion pipeline: a step shows only once it has begun, so progress needs to know."""
STEPS_EVERY_IDLE_POLLS = 60
METRICS_EVERY_IDLE_POLLS = 2
SHOWN_METRICS = ("loss", "eval_loss", "epoch")
TRAINED = "train_runtime"
"""The Trainer's last metric: the end is near, since only the model has to be saved and converted."""
STATES = {"FINISHED": COMPLETED, "FAILED": "Failed", "KILLED": "Canceled"}
"""Ends as MLflow names them."""


class Step(BaseModel):
    """A step of the pipeline: a child run of the job, or of one of its sub-pipelines."""

    run_id: str
    name: str
    status: str
    seconds: float | None = None
    """How long it has run by Azure's times; None until `JobWatch.show_durations`, and where Azure does not say."""


class MachineTime:
    """How long nodes have worked on a run's steps, in seconds, over all the jobs that it submitted."""

    def __init__(self) -> None:
        self._of: dict[str, float] = {}

    def note(self, job: str, seconds: float) -> None:
        """What is known of `job` by now."""
        self._of[job] = seconds

    @property
    def seconds(self) -> float:
        return sum(self._of.values())


@dataclass
class JobWatch:
    """Looks at one job, each time at one thing, and says what changed.

    A poll normally costs one request: `jobs.get`, or the run in MLflow, which also tells whether the job has ended.
    """

    workspace: AzureMLWorkspace
    tracking: Tracking
    job: str
    run_id: UUID | None = None
    """Whose job it is."""
    status: str = "unknown"
    metrics: dict[str, float] = field(default_factory=dict)
    progressed: bool = False
    """Whether the last poll showed new metrics."""
    _steps: dict[str, Step] = field(default_factory=dict)
    _parents: set[str] = field(default_factory=set)
    _childless: set[str] = field(default_factory=set)
    _began: dict[str, float] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)
    """By step, when it was first seen to work and to have ended."""
    _turn: int = 0
    _shown_step: int = -1
    _progress: Progress = field(default_factory=lambda: Progress("pipeline-steps"))

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def fallen(self) -> list[Step]:
        """The steps that ended badly, those that do the work first. A job may say Completed all the same."""
        return [step for step in (*self.leaves, *self._steps.values()) if step.status in ("Failed", "Canceled")]

    @property
    def leaves(self) -> list[Step]:
        """The steps that do the work, without the sub-pipelines that hold them."""
        return [step for step in self._steps.values() if step.run_id not in self._parents]

    @property
    def machine_seconds(self) -> float:
        """How long nodes have worked on the steps: by Azure's own times where they are known, else as it was seen."""
        return sum(self._watched(step) if step.seconds is None else step.seconds for step in self.leaves)

    def _watched(self, step: Step) -> float:
        if step.run_id not in self._began:
            return 0.0
        return self._ended.get(step.run_id, time.monotonic()) - self._began[step.run_id]

    def poll(self, *, idle: bool) -> tuple[int, bool]:
        """Returns how many requests it took, and whether a state changed or the training is over. `idle`: nothing has happened
        for a while."""
        self._turn += 1
        self.progressed = False
        steps_due = self._turn % (STEPS_EVERY_IDLE_POLLS if idle else 3) == 0
        metrics_due = self._turn % (METRICS_EVERY_IDLE_POLLS if idle else 4) == 0
        if steps_due:
            return self._poll_steps()
        if metrics_due:
            trained = TRAINED in self.metrics
            if self._poll_metrics():
                return 1, TRAINED in self.metrics and not trained
        requests, status = 1 + metrics_due, self._read_state()
        changed = status != self.status
        if changed:
            # Before the state counts: an end whose steps could not be read is polled once more.
            more, _ = self._poll_steps()
            requests += more
            self.status = status
            run_logger().info("Job %s: %s", self.job, status)
        if self.ended:
            requests += self.show_durations()
        return requests, changed

    def _read_state(self) -> str:
        try:
            job = self.workspace.client().jobs.get(self.job)
        except Exception as error:
            if not _is_unreadable(error):
                raise
            # MLflow knows the state too.
            return STATES.get(self.tracking.run(self.job).status, "Running")
        status, of = word(job.status), run_id_of(job.tags)
        if status not in ENDED and self.run_id and of not in (self.run_id, None):
            raise JobTaken(
                f"Flow run {of} has taken over job {self.job}, and waits for it in this one's place. It goes on."
            )
        return status

    def _poll_metrics(self) -> bool:
        """False when the poll settles nothing: the run is not known yet, or it has ended and the state must be read."""
        run = find(lambda: self.tracking.run(self.job))
        if run is None:
            return False
        if run.metrics != self.metrics:
            self.progressed = True
            self.metrics = run.metrics
            self._show_metrics(run.steps)
        return not run.ended

    def _show_metrics(self, steps: dict[str, int]) -> None:
        step = max(steps.get(name, 0) for name in SHOWN_METRICS)
        if step <= self._shown_step:
            return
        self._shown_step = step
        shown = ", ".join(f"{name} {self.metrics[name]:.4g}" for name in SHOWN_METRICS if name in self.metrics)
        run_logger().info("Training at step %d%s", step, f": {shown}" if shown else "")

    def _poll_steps(self) -> tuple[int, bool]:
        found, requests = self._below(self.job)
        changed = False
        for step in found:
            known = self._steps.get(step.run_id)
            if known is None or known.status != step.status:
                changed = True
                self._steps[step.run_id] = step
                if step.status in WORKING:
                    self._began.setdefault(step.run_id, time.monotonic())
                elif step.status in ENDED:
                    self._ended[step.run_id] = time.monotonic()
                run_logger().info("Step %s: %s", step.name, step.status)
        if changed:
            self._show_progress()
        return requests, changed

    def _below(self, parent: str) -> tuple[list[Step], int]:
        """All runs below `parent`, and how many requests it took. What has ended without children is not asked again."""
        found: list[Step] = []
        requests = 2
        for step in self._children(parent):
            self._parents.add(parent)
            found.append(step)
            if step.run_id not in self._childless:
                below, more = self._below(step.run_id)
                found += below
                requests += more
                if not below and step.status in ENDED:
                    self._childless.add(step.run_id)
        return found, requests

    def _children(self, parent: str) -> list[Step]:
        """The runs directly below. Where the SDK cannot read one, all as the run history has them: none may be missed."""
        try:
            jobs = list(self.workspace.client().jobs.list(parent_job_name=parent))
        except Exception as error:
            if not _is_unreadable(error):
                raise
            jobs = [None]
        if None in jobs:
            children = self.tracking.children(parent)
        else:
            children = [(str(job.name), str(job.display_name or job.name), word(job.status)) for job in jobs if job]
        return [Step(run_id=id, name=name, status=status) for id, name, status in children if id != parent]

    def _show_progress(self) -> None:
        done = [step for step in self.leaves if step.status in ENDED]
        progress = 100.0 * len(done) / max(EXPECTED_STEPS, len(self.leaves))
        running = ", ".join(step.name for step in self.leaves if step.status not in ENDED) or self.status
        self._progress.move(progress, f"Job {self.job}: {running}")

    def show_durations(self) -> int:
        """The steps as a table, each with how long it has run, also before this watch began; returns how many requests that
        took. Only to be looked at: what cannot be read is left out."""
        self._show_progress()
        requests = 0
        for step in self.leaves:
            requests += 1
            try:
                step.seconds = self.tracking.details(step.run_id).seconds
            except Exception as error:
                run_logger().warning("How long the steps took cannot be read: %s", redact(str(error)))
                break
        rows = [
            {
                "step": step.name,
                "state": step.status,
                "took": "unknown" if step.seconds is None else duration(step.seconds),
            }
            for step in self.leaves
        ]
        publish_table("steps", f"Steps of job {self.job}: {self.status}", rows)
        return requests


def _is_unreadable(error: Exception) -> bool:
    """Whether Azure answered and the SDK could not make anything of it, which happens with sound jobs, and again and again."""
    from azure.ai.ml.exceptions import JobParsingError

    info = classify(error)
    return isinstance(error, JobParsingError) or (
        info is not None and info.kind is Kind.PERMANENT and info.status is None
    )
