"""The matrix: which cells there are, and how they are run in fewer runs than cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.calls import OF_A_POLL, Call, Stages, beyond, from_first_and_last, thinned
from tests.chaos.site import Ended, Site
from tests.resilience.seen import KEPT, Book, Outcome

PACK = 12
"""At most so many calls are hit in one run. A run that is not as it must be is taken apart: each of its calls gets its own."""
MEETING_TRIES = 3
"""Runs in which a polled call may yet happen as often as it did when it was recorded."""
LASTING, LATE = "lasting ", " s late"


def once_effects(delay: float) -> dict[str, dict[str, Any]]:
    """What can go wrong once with a call, by name; `delay` in seconds."""
    return {
        "429 with Retry-After": {"kind": "status", "status": 429, "code": "TooManyRequests", "retry_after": 1},
        "500": {"kind": "status", "status": 500, "code": "InternalServerError"},
        "503": {"kind": "status", "status": 503, "code": "ServiceUnavailable"},
        "reset before": {"kind": "reset_before"},
        "answer lost": {"kind": "reset_after"},
        f"answer {delay:g}{LATE}": {"kind": "delay", "seconds": delay},
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
    stages: tuple[str, ...] = field(default=(), compare=False)
    """Those that may make the call, as runs without faults showed."""

    @property
    def lasts(self) -> bool:
        """Whether the fault goes on for ever."""
        return self.effect.startswith(LASTING)

    def __str__(self) -> str:
        return f"{self.call} x {self.effect}" + (" (training)" if self.trains else "")


BOOK = Book(KEPT / "faults.jsonl", Cell, tuple(f"tests/chaos/{name}.py" for name in ("matrix", "site", "verdict")))

Pack = tuple[Cell, ...]
"""Cells that are hit in one run: of one effect, and of one kind of run."""


def cells(
    adopting: Sequence[Call], training: Sequence[Call], stages: Stages, delay: float, *, lasting: bool
) -> list[Cell]:
    """All cells, by the calls of a run that takes over a finished job and of one that trains, and by the stages that may make
    each; `lasting`: also faults that last. A call that happens in both is hit in the former, which is quicker; what a
    training run does more, in a training run."""
    more, adopting = beyond(training, adopting), thinned(adopting)
    from_then_on = [call for call in more if call.nth == 1 or (call.nth == OF_A_POLL[-1] and not call.writes)]
    meant = [(effect, adopting, more) for effect in once_effects(delay)]
    if lasting:
        meant += [(effect, from_first_and_last(adopting), from_then_on) for effect in LASTING_EFFECTS]
    return [
        Cell(call, effect, trains, stages[call.key])
        for effect, *calls in meant
        for trains in (False, True)
        for call in calls[trains]
    ]


def packed(wanted: Iterable[Cell]) -> list[Pack]:
    """Packs, the slowest first. A fault that lasts has a run to itself."""
    alike: dict[tuple[str, bool], list[Cell]] = {}
    packs: list[Pack] = []
    for cell in wanted:
        if cell.lasts:
            packs.append((cell,))
        else:
            alike.setdefault((cell.effect, cell.trains), []).append(cell)
    for group in alike.values():
        packs += _spread(group)
    return sorted(
        packs,
        key=lambda pack: (pack[0].effect.endswith(LATE), pack[0].effect == LASTING + "503", pack[0].trains),
        reverse=True,
    )


def _spread(group: Sequence[Cell]) -> list[Pack]:
    """Packs of at most `PACK`, none with two occasions of one call, since trying again after the first would be the second.
    Neighbours go into different ones: they belong to one stage, and would hide each other."""
    most = max(sum(other.call.key == cell.call.key for other in group) for cell in group)
    packs: list[list[Cell]] = [[] for _ in range(max(most, -(-len(group) // PACK)))]
    turn = 0
    for cell in group:
        free = [pack for pack in packs if all(other.call.key != cell.call.key for other in pack)]
        free.sort(key=lambda pack: (len(pack) >= PACK, (packs.index(pack) - turn) % len(packs)))
        free[0].append(cell)
        turn = (packs.index(free[0]) + 1) % len(packs)
    return [tuple(pack) for pack in packs if pack]


def run_pack(site: Site, pack: Pack, delay: float) -> Iterator[Outcome[Cell]]:
    """Runs a pack, and again one by one if it is not as it must be. A call that the run did not make is tried again alone."""
    ended = _run(site, pack, delay)
    if ended.wrong and len(pack) > 1:
        print(f"Not as it must be, hence taken apart: {'; '.join(ended.wrong)}; {ended.message}")
        for cell in pack:
            yield from run_pack(site, (cell,), delay)
        return
    for cell in pack:
        alone, how = ended, f"with {len(pack) - 1} others" if len(pack) > 1 else ""
        for _ in range(MEETING_TRIES):
            if cell.call not in alone.unmet:
                break
            alone, how = _run(site, (cell,), delay), ""
        wrong = alone.wrong or ["the run did not make the call"] * (cell.call in alone.unmet)
        yield Outcome(cell, "; ".join(wrong), alone.state, alone.message, alone.seconds, how)


def _run(site: Site, pack: Pack, delay: float) -> Ended:
    first, effects = pack[0], once_effects(delay) | LASTING_EFFECTS
    if first.lasts:
        return site.lasting(first.call, effects[first.effect], trains=first.trains)
    return site.once([(cell.call, effects[cell.effect]) for cell in pack], trains=first.trains)
