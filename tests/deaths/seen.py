"""What earlier commands saw, so that a matrix of an hour can be run in parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.deaths.cells import Cell, Death, Stage
from tests.deaths.verdict import Outcome
from tests.emulated import ROOT
from tests.resilience.digest import digest

SEEN = ROOT / ".cache" / "deaths.jsonl"
KEEPING = "KEEP_DEATHS"
"""In the environment: the file to which outcomes are added, and in which green ones are not run again."""
JUDGES = tuple(f"tests/deaths/{name}.py" for name in ("holds", "ordeal", "site", "strikes", "verdict"))


@dataclass(frozen=True)
class Seen:
    """An outcome, with the day on which it was seen."""

    outcome: Outcome
    day: str
    """As ISO 8601 has it, in UTC; empty where an older version did not note it."""
    void: bool
    """Whether what its stage rests on, or what judges it, has changed since."""


def keep(outcome: Outcome) -> None:
    """Adds an outcome, as of today and of the source that is here."""
    if file := _file():
        file.parent.mkdir(parents=True, exist_ok=True)
        of = {"digest": digest(outcome.cell.stage, JUDGES), "day": f"{datetime.now(UTC):%Y-%m-%d}"}
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({**of, **asdict(outcome)}) + "\n")


def kept(file: Path | None = None) -> Iterator[Outcome]:
    """Each cell's last outcome, of those that are not void."""
    yield from {seen.outcome.cell: seen.outcome for seen in every(file) if not seen.void}.values()


def every(file: Path | None = None) -> Iterator[Seen]:
    """All that was seen, in its order: a cell that was run again has several."""
    file = file or _file()
    for line in file.read_text(encoding="utf-8").splitlines() if file and file.exists() else ():
        row = json.loads(line)
        cell = Cell(Stage(row["cell"]["stage"]), Death(row["cell"]["death"]))
        of, day = row.pop("digest", ""), row.pop("day", "")
        yield Seen(Outcome(**{**row, "cell": cell}), day, void=of != digest(cell.stage, JUDGES))


def _file() -> Path | None:
    return Path(os.environ[KEEPING]) if KEEPING in os.environ else None
