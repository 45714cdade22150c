"""Processes that run packs side by side, each on a site of its own: most of a run's time is waiting."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.chaos.calls import Record
from tests.chaos.matrix import Cell, Pack, run_pack
from tests.chaos.site import site
from tests.resilience.seen import Outcome

# No fork: Prefect has threads.
_processes = multiprocessing.get_context("spawn")


class Shards:
    """`count` processes with their sites under `folder` and their logs in `logs`."""

    def __init__(self, count: int, folder: Path, logs: Path, delay: float, until: float) -> None:
        self._packs: Any = _processes.Queue()
        self._told: Any = _processes.Queue()
        self._logs, more = logs, (self._packs, self._told, delay, until)
        self.processes = [_started(number, folder, logs, more) for number in range(count)]

    def records(self) -> list[tuple[Record, Record]]:
        """Of each shard: the calls of a run that trained, and of one that took over a job, both without faults."""
        return [self._next() for _ in self.processes]

    def run(self, packs: Sequence[Pack], told: Callable[[Outcome[Cell]], None]) -> None:
        """Runs `packs`, and tells of each cell."""
        for pack in [*packs, *[None] * len(self.processes)]:
            self._packs.put(pack)
        going = len(self.processes)
        while going:
            if (found := self._next()) is None:
                going -= 1
            else:
                told(found)

    def _next(self) -> Any:
        while True:
            try:
                return self._told.get(timeout=5)
            except queue.Empty:
                for process in self.processes:
                    if process.exitcode:
                        raise RuntimeError(f"{process.name} ended with {process.exitcode}; see {self._logs}") from None


@contextmanager
def shards(count: int, folder: Path, logs: Path, delay: float, until: float) -> Iterator[Shards]:
    """Starts them; they begin no run after `until` (monotonic), and at the end they have stopped what they started."""
    logs.mkdir(parents=True, exist_ok=True)
    started = Shards(count, folder, logs, delay, until)
    try:
        yield started
    finally:
        for process in started.processes:
            if sys.exc_info()[0] is not None:
                process.terminate()
        for process in started.processes:
            process.join(timeout=120)


def _started(number: int, folder: Path, logs: Path, more: tuple[Any, ...]) -> BaseProcess:
    home = folder / f"shard-{number}"
    home.mkdir()
    process = _processes.Process(target=_work, args=(home, logs / f"shard-{number}.log", *more), name=f"shard {number}")
    # Settings are read when Prefect is imported, hence by the new process; the old one has read its own.
    os.environ["PREFECT_HOME"] = str(home / "prefect")
    process.start()
    return process


def _work(home: Path, log: Path, packs: Any, told: Any, delay: float, until: float) -> None:
    """A shard: records, then runs packs until there are no more. It stops what it started also when it is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        with site(home) as here:
            told.put((here.record(trains=True), here.record(trains=False)))
            while (pack := packs.get()) is not None:
                if time.monotonic() < until:
                    for outcome in run_pack(here, pack, delay):
                        told.put(outcome)
            told.put(None)
