"""What earlier commands saw, so that a matrix of an hour can be run in parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.deaths.cells import Cell, Death, Stage
from tests.deaths.verdict import Outcome
from tests.emulated import ROOT

SEEN = ROOT / ".cache" / "deaths.jsonl"
KEEPING = "KEEP_DEATHS"
"""In the environment: the file to which outcomes are added, and in which green ones are not run again."""


def keep(outcome: Outcome) -> None:
    """Adds an outcome."""
    if file := _file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(outcome)) + "\n")


def kept(file: Path | None = None) -> Iterator[Outcome]:
    """Each cell's last outcome."""
    yield from {outcome.cell: outcome for outcome in every(file)}.values()


def every(file: Path | None = None) -> Iterator[Outcome]:
    """All outcomes, in their order: a cell that was run again has several."""
    file = file or _file()
    for line in file.read_text(encoding="utf-8").splitlines() if file and file.exists() else ():
        row = json.loads(line)
        cell = Cell(Stage(row["cell"]["stage"]), Death(row["cell"]["death"]))
        yield Outcome(**{**row, "cell": cell})


def _file() -> Path | None:
    return Path(os.environ[KEEPING]) if KEEPING in os.environ else None
