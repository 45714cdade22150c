"""Runs stages and keeps the time of each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.futures import PrefectFuture

from tasks.errors import Refused, read
from tasks.kinds import REFUSALS
from tasks.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class StageClock:
    """`seconds` by stage, in the order in which they ended; a stage that ran twice counts both times. `failed`: the first
    one that ended in an error. `stages`: how many a good run has, for its progress."""

    stages: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    """By stage, of those that were started beside the others."""
    _started: list[tuple[str, PrefectFuture[Any]]] = field(default_factory=list)
    _progress: Progress = field(default_factory=lambda: Progress("stages"))

    def run(self, stage: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs `stage` to its end."""
        began = time.monotonic()
        done = len(self.seconds)
        self._progress.move(
            min(100.0, 100.0 * done / self.stages), f"{done} of {self.stages} stages done, now {stage.name}"
        )
        try:
            return stage(*args, **kwargs)
        except Exception:
            self.failed = self.failed or stage.name
            raise
        finally:
            self._add(stage.name, began)

    def start(self, stage: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> PrefectFuture[R]:
        """Starts `stage` beside the others; its result or its error comes with `.result()`."""
        began = time.monotonic()
        self.errors.pop(stage.name, None)
        future: PrefectFuture[R] = stage.submit(*args, **kwargs)
        future.add_done_callback(lambda done: self._ended(stage.name, began, done))
        self._started.append((stage.name, future))
        return future

    def settle(self) -> None:
        """Waits until nothing that was started is running any more, however it ended: what is still being made cannot be
        released."""
        for name, future in self._started:
            future.wait()
            if future.state.is_failed() or future.state.is_crashed():
                self.failed = self.failed or name

    def finish(self, verdict: str) -> None:
        """Shows that the run needs no further stage."""
        self._progress.move(100.0, verdict)

    def refused(self, stage: Task[..., Any]) -> Exception | None:
        """Why Azure refuses `stage`, started beside the others; None while it does not, and of what may be otherwise by the end."""
        error = self.errors.get(stage.name)
        fault = read(error) if error else None
        return error if isinstance(error, Refused) or (fault is not None and fault.kind in REFUSALS) else None

    def stage_of(self, error: Exception) -> str | None:
        """Which stage failed: the one whose error it is, else the first."""
        return next((name for name, its in self.errors.items() if its is error), self.failed)

    def _ended(self, name: str, began: float, future: PrefectFuture[Any]) -> None:
        try:
            future.result()
        except Exception as error:
            self.errors[name] = error
        self._add(name, began)

    def _add(self, name: str, began: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
