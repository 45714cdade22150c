"""What was seen of a matrix: a line for each outcome, with the day, the settings and the source that it was seen on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from tests.emulated import ROOT
from tests.resilience.digest import digest


class Cell(Protocol):
    """What is done to a run, and where it is met. Its text names it."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that may be met."""


C = TypeVar("C", bound=Cell)
KEPT = ROOT / ".cache" / "resilience"


@dataclass(frozen=True)
class Outcome(Generic[C]):
    """What became of a cell, and what it was seen on once it is kept.

    `wrong` is empty if everything is as it must be. `ended` and `message` are the run's final state; `how` is what brought it
    there, or with what else it was seen. `digest` is of the source that it rests on; `day` is in UTC.
    """

    cell: C
    wrong: str
    ended: str = ""
    message: str = ""
    seconds: float = 0.0
    how: str = ""
    digest: str = ""
    day: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing(Generic[C]):
    """What the `planned` cells are known to be on the source that is here: each one's last outcome that counts, in their order;
    those that were seen only on something else; and what was not as it must be before its cell was run again."""

    planned: Sequence[C]
    outcomes: dict[C, Outcome[C]]
    void: set[C]
    again: list[Outcome[C]]

    @property
    def red(self) -> list[Outcome[C]]:
        """Those that are not as they must be."""
        return [outcome for outcome in self.outcomes.values() if outcome.wrong]

    @property
    def green(self) -> set[C]:
        """The cells that are as they must be."""
        return {cell for cell, outcome in self.outcomes.items() if not outcome.wrong}


@dataclass(frozen=True)
class Book(Generic[C]):
    """The file that keeps what was seen of cells of one `kind`, which the files and folders `judges` strike and judge."""

    file: Path
    kind: type[C]
    judges: tuple[str, ...]

    def keep(self, outcome: Outcome[C], settings: Mapping[str, Any]) -> None:
        """Adds an outcome, as of today and of the source that is here."""
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        kept = replace(outcome, digest=self.digest(outcome.cell), day=day, settings=dict(settings))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as lines:
            lines.write(self._line.dump_json(kept) + b"\n")

    def standing(self, planned: Sequence[C]) -> Standing[C]:
        """What is known of the cells that are `planned` today. One is void when what it was seen on has changed since, or when a
        stage may be met in it that could not be met then."""
        last: dict[C, Outcome[C]] = {}
        void, again, today = set(), [], {cell: cell.stages for cell in planned}
        for line in self.file.read_bytes().splitlines() if self.file.exists() else ():
            outcome = self._line.validate_json(line)
            cell = outcome.cell
            if not set(today.get(cell, ())) <= set(cell.stages) or outcome.digest != self.digest(cell):
                void.add(cell)
                continue
            if cell in last and last[cell].wrong:
                again.append(last[cell])
            last[cell] = outcome
        outcomes = {cell: last[cell] for cell in planned if cell in last}
        return Standing(planned, outcomes, void & today.keys() - outcomes.keys(), again)

    def digest(self, cell: C) -> str:
        """Of what it rests on: the same as long as this process runs."""
        return digest(cell.stages, self.judges)

    @property
    def _line(self) -> TypeAdapter[Outcome[C]]:
        return TypeAdapter(Outcome[self.kind])  # type: ignore[name-defined]
