"""The matrix: which cells there are, and how they are run in fewer runs than cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.calls import Call
from tests.chaos.site import Ended, Site

PACK = 6
"""So many calls are hit in one run. A run that is not as it must be is taken apart: each of its calls gets its own."""
LASTING = "lasting "


def effects(delay: float) -> dict[str, dict[str, Any]]:
    """What can go wrong once with a call, by name; `delay` in seconds."""
    return {
        "429": {"kind": "status", "status": 429, "code": "TooManyRequests", "retry_after": 1},
        "500": {"kind": "status", "status": 500, "code": "InternalServerError"},
        "503": {"kind": "status", "status": 503, "code": "ServiceUnavailable"},
        "reset before": {"kind": "reset_before"},
        "answer lost": {"kind": "reset_after"},
        "delay": {"kind": "delay", "seconds": delay},
    }


LASTING_EFFECTS: dict[str, dict[str, Any]] = {
    LASTING + "403": {"kind": "status", "status": 403, "code": "AuthorizationFailed", "message": "Not allowed."},
    LASTING + "503": {"kind": "status", "status": 503, "code": "ServiceUnavailable", "message": "Not available."},
}


@dataclass(frozen=True)
class Cell:
    """A call and what went wrong with it."""

    call: Call
    effect: str
    trains: bool
    """Whether the run trained; otherwise it took over a finished job."""

    def __str__(self) -> str:
        return f"{self.call} x {self.effect}"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    ended: Ended
    shared_with: int
    """How many other calls were hit in the same run."""


def matrix(
    site: Site, delay: float, wanted: Callable[[Cell], bool], told: Callable[[Outcome], None], *, lasting: bool
) -> None:
    """Runs every cell that is wanted, and tells of each; `lasting`: also faults that last.

    A call that also happens in a run which takes over a job is hit there; the others need a run that trains.
    """
    adopting = site.adopting_calls()
    known = {(call.method, call.path) for call in adopting}
    training = [call for call in site.training_calls if (call.method, call.path) not in known]
    for trains, calls in ((False, adopting), (True, training)):
        for name, effect in effects(delay).items():
            cells = [Cell(call, name, trains) for call in calls]
            for pack in packed([cell for cell in cells if wanted(cell)]):
                for outcome in _hit(site, pack, effect):
                    told(outcome)
    for name, effect in LASTING_EFFECTS.items() if lasting else ():
        for trains, calls in ((False, adopting), (True, training)):
            for call in calls:
                cell = Cell(call, name, trains)
                if wanted(cell):
                    told(Outcome(cell, site.lasting(call, effect, trains=trains), 0))


def packed(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Packs of at most `PACK`. Neighbours go into different ones: they belong to one stage, and would hide each other."""
    packs = -(-len(cells) // PACK)
    for first in range(packs):
        yield list(cells[first::packs])


def _hit(site: Site, pack: list[Cell], effect: dict[str, Any]) -> Iterator[Outcome]:
    trains = pack[0].trains
    ended = site.once([(cell.call, effect) for cell in pack], trains=trains)
    if not ended.wrong or len(pack) == 1:
        yield from (Outcome(cell, ended, len(pack) - 1) for cell in pack)
        return
    for cell in pack:
        yield Outcome(cell, site.once([(cell.call, effect)], trains=trains), 0)
