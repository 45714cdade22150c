"""What was asked to go wrong with the steps of a job. It is kept with the job, so that it outlives a restart."""

from __future__ import annotations

import asyncio
import logging
import sys
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from pydantic import TypeAdapter

from emulator.engine.failure import RunFailed
from emulator.engine.runs import Run, Runs
from emulator.faults.book import under
from emulator.faults.rules import Preempt, StepFailed, StepHang
from emulator.store import Store

log = logging.getLogger("emulator.faults")

TYPE = "job-fault"
LOOK_SECONDS = 0.2  # between two looks at what a training has logged
NOTHING = [sys.executable, "-c", "import signal; signal.pause()"]  # a process that does nothing

StepEffect = StepFailed | StepHang | Preempt
E = TypeVar("E", StepFailed, StepHang, Preempt)
AtStart = TypeVar("AtStart", StepFailed, StepHang)
_effect: TypeAdapter[StepEffect] = TypeAdapter(StepEffect)


class TakeAway(Protocol):
    """Takes a running step's nodes away."""

    async def __call__(self, run_id: str, reason: str, *, requeue: bool) -> bool: ...


class StepFaults:
    """The faults of jobs, each of which strikes one step."""

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._runs = runs

    def attach(self, job: str) -> None:
        """Keeps the effect that the current call is under, when it is one on steps, for the job that the call submits."""
        effect = under(StepFailed) or under(StepHang) or under(Preempt)
        if effect is not None:
            self._store.put(TYPE, job, {"effect": effect.model_dump(), "struck": None})

    def forget(self, job: str) -> None:
        """Drops what was kept for a job."""
        self._store.delete(TYPE, job)

    def require_sound(self, run: Run) -> None:
        """Raises:
        RunFailed: the step was asked to fail.
        """
        if fault := self._strikes(StepFailed, run):
            raise RunFailed(fault.code, fault.message)

    def argv(self, run: Run, wanted: list[str]) -> list[str]:
        """The command line of a step's process: `wanted`, or where the step was asked to hang one that does nothing."""
        return NOTHING if self._strikes(StepHang, run) else wanted

    async def take_node(self, run: Run, preempt: TakeAway) -> None:
        """Waits until the step has logged the training step at which its node is to be taken away; then calls `preempt`. Returns
        at once where nothing of the kind was asked for, or it has happened."""
        fault = self._of(Preempt, run)
        if fault is None or self._struck(run) is not None:
            return
        # MLflow tells nobody of a metric.
        while (step := await self._runs.last_step(run)) is None or step < fault.step:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        if self._struck(run) is None:  # by another step meanwhile
            self._strike(run, Preempt)
            await preempt(run.id, f"after training step {step}", requeue=fault.requeue)

    def _strikes(self, kind: type[AtStart], run: Run) -> AtStart | None:
        """The effect of that kind on this step: the first step that its glob matches, and then no other."""
        fault = self._of(kind, run)
        if fault is None:
            return None
        struck = self._struck(run)
        if struck is None and fnmatchcase(run.node or run.display_name, fault.node):
            self._strike(run, kind)
            return fault
        return fault if struck == run.id else None

    def _of(self, kind: type[E], run: Run) -> E | None:
        kept = self._store.get(TYPE, run.root)
        effect = None if kept is None else _effect.validate_python(kept["effect"])
        return effect if isinstance(effect, kind) else None

    def _struck(self, run: Run) -> str | None:
        kept = self._store.get(TYPE, run.root)
        return None if kept is None else kept["struck"]

    def _strike(self, run: Run, kind: type[StepEffect]) -> None:
        kept = self._store.get(TYPE, run.root)
        if kept is not None:
            self._store.put(TYPE, run.root, {**kept, "struck": run.id})
            log.warning("%s strikes step %s (%s) of job %s", kind.__name__, run.display_name, run.id, run.root)
