"""Runs stages, one after the other or beside each other, and keeps the time and the error of each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event
from typing import Any, NamedTuple, ParamSpec, TypeVar

from prefect import Task
from prefect.futures import PrefectFuture

from tasks.azure_ml.errors import InvalidConfiguration, classify
from tasks.azure_ml.kinds import REFUSALS
from tasks.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")


class _Started(NamedTuple):
    """A stage that runs beside the others. `noted`: its time and its error are kept. Who waits for a future goes on before its
    callbacks have run."""

    name: str
    future: PrefectFuture[Any]
    noted: Event

    def wait(self) -> None:
        self.future.wait()
        self.noted.wait()


@dataclass
class StageRunner:
    """`seconds` by stage, in the order in which they ended; a stage that ran twice counts both times. `failed`: the first
    one that ended in an error. `stages`: how many a good run has, for its progress."""

    stages: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    """By stage, of those that were started beside the others."""
    _started: list[_Started] = field(default_factory=list)
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

    def submit(self, stage: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> PrefectFuture[R]:
        """Starts `stage` beside the others; its result or its error comes with `.result()`."""
        began = time.monotonic()
        self.errors.pop(stage.name, None)
        future: PrefectFuture[R] = stage.submit(*args, **kwargs)
        started = _Started(stage.name, future, Event())
        future.add_done_callback(lambda _: self._ended(started, began))
        self._started.append(started)
        return future

    def result(self, stage: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of `stage`, which was started beside the others. Where it failed, it is run once more."""
        started = next(started for started in reversed(self._started) if started.name == stage.name)
        started.wait()
        return self.run(stage, *args, **kwargs) if stage.name in self.errors else started.future.result()

    def wait_all(self) -> None:
        """Waits until nothing that was started is running any more, however it ended: what is still being made cannot be
        released."""
        for started in self._started:
            started.wait()
            if started.name in self.errors:
                self.failed = self.failed or started.name

    def complete(self, verdict: str) -> None:
        """Shows that the run needs no further stage."""
        self._progress.move(100.0, verdict)

    def stop(self, how: str, stage: str | None) -> str:
        """Shows that the run has come to a bad end in `stage`; returns it in words."""
        done = len(self.seconds.keys() - {stage})
        sentence = f"{how} in {stage or 'no stage'}, {done} of {self.stages} stages done"
        self._progress.move(min(100.0, 100.0 * done / self.stages), sentence)
        return sentence

    def refused(self, stage: Task[..., Any]) -> Exception | None:
        """Why Azure refuses `stage`, started beside the others; None while it does not, and of what may be otherwise by the end."""
        error = self.errors.get(stage.name)
        info = classify(error) if error else None
        return (
            error if isinstance(error, InvalidConfiguration) or (info is not None and info.kind in REFUSALS) else None
        )

    def stage_of(self, error: Exception) -> str | None:
        """Which stage failed: the one whose error it is, else the first."""
        return next((name for name, its in self.errors.items() if its is error), self.failed)

    def _ended(self, started: _Started, began: float) -> None:
        try:
            started.future.result()
        except Exception as error:
            self.errors[started.name] = error
        finally:
            self._add(started.name, began)
            started.noted.set()

    def _add(self, name: str, began: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
