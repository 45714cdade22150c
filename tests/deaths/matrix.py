"""Runs cells, many at the same time where they do not disturb each other."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.deaths import strikes
from tests.deaths.cells import Cell, Death, Stage
from tests.deaths.holds import Hold
from tests.deaths.ordeal import MET_SECONDS, Struck, Told, held, is_met_or_final, judged, ordeal, started
from tests.deaths.site import ASKED_SECONDS, HEARTBEAT_SECONDS, SILENT_SECONDS, Run, Site
from tests.resilience.waiting import Late, await_until

AT_ONCE = 4
"""Runs at the same time on a machine of two cores: most of a run is waiting."""
SETTINGS = {"runs at once": AT_ONCE, "heartbeat (s)": HEARTBEAT_SECONDS, "silent (s)": SILENT_SECONDS + ASKED_SECONDS}
OF_EVERYTHING = (Death.SERVER_RESTARTED, Death.WORKER_SHUT_DOWN)
"""What all runs feel, so that only one is under way."""


def run_all(site: Site, cells: Iterable[Cell], told: Told) -> None:
    """Runs every one of `cells` and tells of each, from several threads."""
    wanted = sorted(set(cells), key=lambda cell: list(Stage).index(cell.stage))
    settle: Callable[[Told], None] | None = None
    for share in _together([cell for cell in wanted if cell.death is Death.WORKER_KILLED]):
        if settle:
            settle(told)
        settle = kill_with_the_worker(site, share)
    beside_others, alone = _shares(wanted)
    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        # Nobody has to be there while dead runs wait to be noticed.
        under_way = [pool.submit(settle, told)] if settle else []
        under_way += [pool.submit(ordeal, site, share, told) for share in beside_others]
    for done in under_way:
        done.result()
    for share in alone:
        ordeal(site, share, told)


def _shares(cells: Sequence[Cell]) -> tuple[list[list[Cell]], list[list[Cell]]]:
    """Which cells one run goes through: of the runs that may be under way together, and of those that must be alone. A run
    goes through as many deaths as it survives, but only one in each stage."""
    mortal = [[cell] for cell in cells if not cell.death.survived and cell.death is not Death.WORKER_KILLED]
    by_death = {death: [cell for cell in cells if cell.death is death] for death in Death if death.survived}
    # It is started by another command than the others.
    rescheduled = by_death.pop(Death.RESCHEDULED)
    survived = [cell for cell in cells if cell.death in by_death]
    if len({cell.stage for cell in survived}) == len(survived):
        beside_others, alone = [rescheduled, *mortal], [survived]
    else:
        alone = [by_death.pop(death) for death in OF_EVERYTHING]
        beside_others = [rescheduled, *by_death.values(), *mortal]
    return [share for share in beside_others if share], [share for share in alone if share]


def _together(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Runs that are met before they submit wait for each other; those with a job to wait for are fewer."""
    early = [cell for cell in cells if list(Stage).index(cell.stage) < list(Stage).index(Stage["REVIEW_METRICS"])]
    late = [cell for cell in cells if cell not in early]
    return [share for share in (early[:4], early[4:], late[:3], late[3:]) if share]


def kill_with_the_worker(site: Site, cells: Sequence[Cell]) -> Callable[[Told], None]:
    """Every cell's run is brought to its stage; then the worker and all of them are killed, and another worker comes. What is
    returned awaits what becomes of them, and tells."""
    runs = [started(site, [cell]) for cell in cells]
    holds = [held(run, cell) for run, cell in zip(runs, cells, strict=True)]

    def meet(run: Run, hold: Hold) -> str:
        try:
            await_until(lambda: is_met_or_final(run, hold), MET_SECONDS, f"{run.id} in {hold.stage}")
            if run.is_final:
                return f"it was {run.read()['state_name']} before"
            strikes.freeze(run)
            hold.lift()
            strikes.await_answer(run, hold)
        except Late as late:
            return str(late)
        return ""

    with ThreadPoolExecutor(len(cells)) as pool:
        troubles = list(pool.map(meet, runs, holds))
    strikes.stop_worker(site, signal.SIGKILL)
    at = time.monotonic()
    for run in runs:
        strikes.kill(run)
    site.start_worker()

    def settle(told: Told) -> None:
        def await_verdict(cell: Cell, run: Run, trouble: str) -> None:
            try:
                await_until(lambda: run.is_final, MET_SECONDS, f"the end of {run.id}")
            except Late as late:
                trouble = trouble or str(late)
            for outcome in judged(run, [Struck(cell, at)], trouble):
                told(outcome)

        with ThreadPoolExecutor(len(cells)) as pool:
            list(pool.map(await_verdict, cells, runs, troubles))

    return settle
