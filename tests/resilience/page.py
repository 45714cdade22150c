"""The parts that the pages of both matrices have: what counts, what was run when and how, what is void, what was run again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tests.resilience.seen import C, Outcome, Standing

WHEN = """\

## What was run when

A cell counts as long as the modules that its stages import, those that every run goes through, the emulator, and what strikes and
judges it are as they were when it was run; else it is *void*, and counts as little as one that was not run.

| day | settings | cells |
|---|---|---|
"""


def summary(standing: Standing[C]) -> str:
    """How many cells are as they must be, and what is the matter with the others."""
    others = {
        "not as they must be": len(standing.red),
        "void, since what they rest on has changed": len(standing.void),
        "not run": len(standing.planned) - len(standing.outcomes) - len(standing.void),
    }
    rest = "; ".join(f"{count} {what}" for what, count in others.items() if count)
    said = f"{len(standing.green)} of {len(standing.planned)} cells are as they must be"
    return f"**{said}.**" + (f" The others: {rest}." if rest else "")


def provenance(standing: Standing[C]) -> str:
    """On which days and under which settings the cells that count were run; what was run again."""
    alike = Counter(
        (seen.day, ", ".join(f"{name} {value}" for name, value in seen.settings.items()))
        for seen in standing.outcomes.values()
    )
    rows = "".join(f"| {' | '.join(how)} | {count} |\n" for how, count in sorted(alike.items()))
    return WHEN + rows + told("Run again, after this", standing.again)


def told(title: str, red: Iterable[Outcome[C]]) -> str:
    """A section about outcomes that are not as they must be; nothing if there are none."""
    lines = "".join(
        f"* `{outcome.cell}`: {outcome.wrong}. {outcome.ended}: {short(outcome.message)}\n" for outcome in red
    )
    return f"\n## {title}\n\n{lines}" if lines else ""


def short(message: str) -> str:
    """A run's last words in one line, without what differs from run to run."""
    said = re.sub(r"ft-[a-z2-7]{26}", "ft-...", " ".join(message.split()))
    said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "{id}", said)
    return said if len(said) <= 400 else said[:400] + " ..."
