"""docs/reliability-deaths.md: what the matrix saw."""

from __future__ import annotations

from tests.deaths.cells import Cell, Death, Stage
from tests.emulated import ROOT
from tests.resilience.page import provenance, summary, told
from tests.resilience.seen import Standing

PAGE = ROOT / "docs" / "reliability-deaths.md"
HEAD = """\
# What happens when a run's process, worker or server dies

{summary}

Written by `python -m tests.deaths` from what it saw: a real Prefect server, worker and process pool, and the emulator.
A run is met in a stage when it has made a call that only this stage makes; there it is struck. The worker's heartbeat is 30 s
and a silent run is given up after 90 s; the project's own are 180 s and 540 s.

A cell is as it must be if the run submitted one job (none if it ended before it could) and registered one model version (none,
likewise), left no endpoint and no running job, and is final: Completed if it was rescheduled, suspended, or lost its worker or its
server, Cancelled if it was cancelled, else Crashed. The reaper's runs that it caused are Completed, and no hook has failed. One run
goes through all stages of what it survives, one death after the other. What ends a run for good has a run for each stage.

In a cell: how the run ended, the seconds until it was at work again or final with nothing left, and what brought it there.

"""


def page(standing: Standing[Cell]) -> str:
    """The page's text."""
    text = HEAD.format(summary=summary(standing))
    text += f"| stage | {' | '.join(Death)} |\n{'|---' * (len(Death) + 1)}|\n"
    for stage in Stage:
        text += f"| `{stage}` | {' | '.join(_shown(Cell(stage, death), standing) for death in Death)} |\n"
    return text + told("Not as it must be", standing.red) + provenance(standing)


def _shown(cell: Cell, standing: Standing[Cell]) -> str:
    if cell not in standing.outcomes:
        return "void" if cell in standing.void else "not run"
    its = standing.outcomes[cell]
    return f"{'**red** ' * bool(its.wrong)}{its.ended}, {its.seconds:.0f} s{its.how and ', ' + its.how}"
