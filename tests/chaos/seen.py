"""What earlier runs of the command saw, so that a matrix of hours can be run in parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.chaos.calls import Call
from tests.chaos.matrix import Cell, Outcome
from tests.emulated import ROOT

SEEN = ROOT / ".cache" / "chaos.jsonl"


def keep(outcome: Outcome, version: str, file: Path = SEEN) -> None:
    """Adds an outcome on `version` of the project."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"version": version, **asdict(outcome)}) + "\n")


def kept(version: str, file: Path = SEEN) -> Iterator[Outcome]:
    """The outcomes on `version`, each cell's last."""
    found: dict[Cell, Outcome] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        row = json.loads(line)
        if row.pop("version") == version:
            cell = row.pop("cell")
            cell = Cell(Call(**cell["call"]), cell["effect"], cell["trains"])
            found[cell] = Outcome(cell, **row)
    yield from found.values()
