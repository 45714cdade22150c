"""docs/reliability-deaths.md: what the matrix saw."""

from __future__ import annotations

from collections.abc import Sequence

from tests.deaths.cells import WHOLE, Cell, Death, Stage
from tests.deaths.seen import Seen
from tests.deaths.verdict import Outcome
from tests.emulated import ROOT

PAGE = ROOT / "docs" / "reliability-deaths.md"
HEAD = """\
# What happens when a run's process, worker or server dies

Written by `python -m tests.deaths` from what it saw, {days}: a real Prefect server, worker and process pool, and the emulator.
A run is met in a stage when it has made a call that only this stage makes; there it is struck. The worker's heartbeat is 30 s
and a silent run is given up after 90 s; the project's own are 180 s and 540 s.

**{green} of {all} cells are as they must be**: at most one job submitted for the run (none if it ended before it could submit), at
most one model version, no endpoint and no running job left, and the run is final. A run that was rescheduled, suspended, or lost
its worker or its server must also end Completed; one run goes through all of these stages, one death after the other. What ends
a run for good (the first two, the kill of the worker, the cancel) has a run for each stage.

A cell counts as long as the modules that its stage imports, those that every run goes through, and what judges it are as they were
when it was run; else it is *void*.

In a cell: how the run ended, the seconds until it was at work again or final with nothing left, and what brought it there.

"""


def write(seen: Sequence[Seen]) -> None:
    """Writes the page of all that was `seen`, a cell's last being the one that counts."""
    outcomes = [each.outcome for each in seen if not each.void]
    by_cell = {outcome.cell: outcome for outcome in outcomes}
    void = {each.outcome.cell for each in seen} - by_cell.keys()
    days = sorted({each.day for each in seen if not each.void})
    green = sum(not outcome.wrong for outcome in by_cell.values())
    text = HEAD.format(days=" to ".join(dict.fromkeys([*days[:1], *days[-1:]])), green=green, all=len(WHOLE))
    text += f"| stage | {' | '.join(Death)} |\n{'|---' * (len(Death) + 1)}|\n"
    for stage in Stage:
        cells = (_shown(by_cell.get(cell), void=cell in void) for cell in (Cell(stage, death) for death in Death))
        text += f"| `{stage}` | {' | '.join(cells)} |\n"
    red = [outcome for outcome in outcomes if outcome.wrong]
    text += _told("Not as it must be", [outcome for outcome in red if outcome is by_cell[outcome.cell]])
    text += _told("Run again, after this", [outcome for outcome in red if outcome is not by_cell[outcome.cell]])
    PAGE.write_text(text, encoding="utf-8")


def _shown(outcome: Outcome | None, *, void: bool) -> str:
    if outcome is None:
        return "void" if void else "not run"
    mark = "**red** " if outcome.wrong else ""
    how = f", {outcome.recovery}" if outcome.recovery else ""
    return f"{mark}{outcome.ended}, {outcome.seconds:.0f} s{how}"


def _told(title: str, red: Sequence[Outcome]) -> str:
    if not red:
        return ""
    lines = (
        f"* {outcome.cell}: {outcome.wrong}. {outcome.ended}: {' '.join(outcome.message.split())[:300]}\n"
        for outcome in red
    )
    return f"\n## {title}\n\n{''.join(lines)}"
