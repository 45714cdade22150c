"""docs/reliability.md: what the matrix saw."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tests.chaos.matrix import LASTING, PACK, Cell, Outcome
from tests.chaos.site import BOUND_SECONDS
from tests.emulated import ROOT

PAGE = ROOT / "docs" / "reliability.md"
HEAD = """\
# What happens when Azure fails

Written by `make chaos` from what it saw, on {version}, {day}{part}. The Azure calls are those in the emulator's record of two
runs without faults: one that trains, and one that takes over a finished job. Every call is hit by every fault, on its first
occasion:

* **Once** (429 with Retry-After 1, 500, 503, connection reset before the call took effect, answer lost after it did, {delay:g} s
  delay). The run must end Completed with one job, one model version, no endpoint and no running job left.
* **Lasting** (403, 503). The run must end Failed within {bound} s, naming the stage, and leave nothing that the reaper does not
  release once Azure is well. A run that can do without the call may complete.

{runs}
"""


def write(outcomes: Sequence[Outcome], delay: float, *, whole: bool) -> None:
    """Writes the page; `whole`: the command went through all of the matrix."""
    PAGE.write_text(page(outcomes, version(), delay, whole=whole), encoding="utf-8")


def page(outcomes: Sequence[Outcome], on: str, delay: float, *, whole: bool) -> str:
    """The page's text."""
    red = [outcome for outcome in outcomes if outcome.ended.wrong]
    trained = sum(outcome.cell.trains for outcome in outcomes)
    shared = sum(outcome.shared_with > 0 for outcome in outcomes)
    runs = (
        f"**{len(outcomes) - len(red)} of {len(outcomes)} cells are as they must be.** {trained} cells were seen in runs that "
        f"trained, {len(outcomes) - trained} in runs that took over a finished job. {shared} faults shared their run with "
        f"others (up to {PACK} calls hit in one run, by the same fault); a run that was not as it must be was taken apart and "
        "each of its calls hit alone."
    )
    day = f"{datetime.now(UTC):%d %B %Y}"
    part = "" if whole else "; **a part of the matrix, not all of it**"
    text = HEAD.format(version=on, day=day, part=part, delay=delay, bound=BOUND_SECONDS, runs=runs)
    if red:
        text += "\n## Not as it must be\n\n"
        text += "".join(f"* `{outcome.cell}`: {outcome.ended.wrong}. {_short(outcome)}\n" for outcome in red)
    once = [outcome for outcome in outcomes if not outcome.cell.effect.startswith(LASTING)]
    lasting = [outcome for outcome in outcomes if outcome.cell.effect.startswith(LASTING)]
    if once:
        text += "\n## Once\n\nSeconds of the run, or what was wrong. *t*: the run trained.\n\n" + table(once)
    if lasting:
        text += "\n## Lasting\n\nSeconds until the run was over; *c*: it completed without the call.\n\n" + table(
            lasting
        )
        text += "\n## What the runs said under lasting faults\n\n"
        text += "".join(f"* `{outcome.cell}`: {_short(outcome)}\n" for outcome in lasting)
    return text


def table(outcomes: Iterable[Outcome]) -> str:
    """A Markdown table: a line for each call, a column for each fault."""
    by_cell = {(outcome.cell.call, outcome.cell.effect): outcome for outcome in outcomes}
    calls = list(dict.fromkeys(call for call, _ in by_cell))
    names = list(dict.fromkeys(effect for _, effect in by_cell))
    lines = [f"| call | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for call in calls:
        found = (by_cell.get((call, name)) for name in names)
        lines.append(f"| `{call}` | {' | '.join('' if one is None else mark(one) for one in found)} |")
    return "\n".join(lines) + "\n"


def mark(outcome: Outcome) -> str:
    """A cell in as few characters as will do."""
    if outcome.ended.wrong:
        return "**red**"
    completed = outcome.cell.effect.startswith(LASTING) and outcome.ended.message.startswith("Completed")
    return f"{outcome.ended.seconds:.0f}" + (" c" if completed else "") + (" t" if outcome.cell.trains else "")


def line(cell: Cell, outcome: Outcome) -> str:
    """A line of progress."""
    return f"{'RED  ' if outcome.ended.wrong else 'green'} {outcome.ended.seconds:6.1f} s  {cell}" + (
        f": {outcome.ended.wrong}; {_short(outcome)}" if outcome.ended.wrong else ""
    )


def version() -> str:
    """The project's version: its commit, and whether files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "no commit"


def _short(outcome: Outcome) -> str:
    said = " ".join(outcome.ended.message.split())
    return said if len(said) <= 400 else said[:400] + " ..."
