"""One run, or one after the other, through deaths in its stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tests.deaths import strikes
from tests.deaths.cells import Cell, Death, Stage
from tests.deaths.holds import SHARED, Hold
from tests.deaths.site import Run, Site
from tests.deaths.verdict import judge, recovery
from tests.resilience.seen import Outcome
from tests.resilience.waiting import await_until

MET_SECONDS = 420
FINAL_SECONDS = 600
HOLD_SECONDS = 5.0
SLOW_HOLD_SECONDS = 25.0
"""Longer than the command that cancels takes to start, than Prefect takes to tell which task is running, and than the server's
restart takes."""

Told = Callable[[Outcome[Cell]], None]


@dataclass
class Struck:
    cell: Cell
    at: float
    back_at: float | None = None


def ordeal(site: Site, cells: Sequence[Cell], told: Told) -> None:
    """Strikes at each of `cells`, in order; a run that survives goes on into the next one's stage, else another is started."""
    waiting = list(cells)
    while waiting:
        outcomes = list(_one_run(site, waiting))
        for outcome in outcomes:
            told(outcome)
        waiting = waiting[len(outcomes) :]


def started(site: Site, cells: Sequence[Cell]) -> Run:
    """A run as these cells need it."""
    # As in a container: there `prefect flow-run execute` is what is asked to end.
    env = {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule"}
    as_contained = {"command": "prefect flow-run execute", "env": env}
    more = as_contained if any(cell.death is Death.RESCHEDULED for cell in cells) else {}
    return site.start(from_asset=any(cell.stage is Stage["SAMPLE_DATASET"] for cell in cells), **more)


def held(run: Run, cell: Cell) -> Hold:
    """Lays hold of the run for when it comes into the cell's stage."""
    slow = cell.stage in SHARED or cell.death in (Death.CANCELLED, Death.SERVER_RESTARTED)
    return Hold(run, cell.stage, SLOW_HOLD_SECONDS if slow else HOLD_SECONDS)


def is_met_or_final(run: Run, hold: Hold) -> bool:
    """Whether the run is in the stage now, or will never be."""
    return (hold.hit and (hold.stage not in SHARED or run.is_in(hold.stage))) or run.is_final


def _one_run(site: Site, cells: Sequence[Cell]) -> Iterator[Outcome[Cell]]:
    """The outcomes of the first cells, as far as one run goes; of one at least."""
    run = started(site, cells)
    struck: list[Struck] = []
    hold = held(run, cells[0])
    trouble = ""
    try:
        for cell, following in zip(cells, [*cells[1:], None], strict=True):
            await_until(partial(is_met_or_final, run, hold), MET_SECONDS, f"{run.id} in {cell.stage}")
            if struck:
                struck[-1].back_at = time.monotonic()
            if not hold.hit:
                break
            before = hold
            hold = held(run, following) if following and cell.death.survived else hold
            before.lift()
            struck.append(Struck(cell, time.monotonic()))
            strikes.STRIKES[cell.death](run, before)
            if hold is before:
                break
            if cell.death is not Death.SERVER_RESTARTED and hold.hit:
                # By the process that is no more: create_endpoint and wait_for_pipeline go on side by side.
                hold.lift()
                assert following is not None
                hold = held(run, following)
        await_until(lambda: run.is_final, FINAL_SECONDS, f"the end of {run.id}")
    except AssertionError as broken:
        trouble = f"{broken}; it is {run.read()['state_name']}"
    hold.lift()
    if not struck:
        trouble = trouble or "ended before it was met in the stage"
    yield from judged(run, struck or [Struck(cells[0], time.monotonic())], trouble)


def judged(run: Run, struck: Sequence[Struck], trouble: str) -> Iterator[Outcome[Cell]]:
    """The outcome of every death that the run met."""
    wrong, clear_at = judge(run, struck[-1].cell)
    how, state = recovery(run), run.read()["state"]
    for met in struck:
        seconds = round((met.back_at or clear_at) - met.at, 1)
        said = "; ".join([*([trouble] if trouble else []), *wrong])
        yield Outcome(met.cell, said, state["name"], (state["message"] or "")[:500], seconds, how)
