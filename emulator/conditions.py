"""What holds where this emulator is: which day it is there, and what the subscription may use.

Kept in the state folder, so that an emulator that was stopped goes on with the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from emulator import disk
from emulator.arm.limits import Limits, LimitsError, read_limits

FILE = "conditions.json"
FIRST_DAY = date(2025, 3, 1)
"""Unless another is asked for: the public notebook's time. Its model and sizes, the flow's defaults, are retired since."""
TODAY = "today"
EARLIEST = date(2020, 1, 1)  # what was retired before is not in the tables


class ConditionsError(Exception):
    """A date or a quota that cannot be; the message says why and what to do."""


@dataclass(frozen=True)
class Conditions:
    """The day that models and sizes are as of, None for the machine's own; and the limits that were set."""

    as_of: date | None = FIRST_DAY
    limits: Limits = field(default_factory=Limits)

    def __str__(self) -> str:
        """For people."""
        return f"as of {self.as_of or f'today, {self.today()}'}"

    def now(self) -> datetime:
        """The time in UTC: the machine's, on the day."""
        now = datetime.now(UTC)
        return now if self.as_of is None else datetime.combine(self.as_of, now.timetz())

    def today(self) -> date:
        """The day, in UTC."""
        return self.now().date()

    @classmethod
    def kept(cls, state: Path) -> Conditions:
        """Those of the emulator over `state`; the first day and the emulator's own limits if none were ever set.

        Raises:
            ConditionsError: what is kept cannot be read.
        """
        path = state / FILE
        if not path.exists():
            return cls()
        try:
            saved = json.loads(path.read_text())
            as_of = saved["as_of"] and date.fromisoformat(saved["as_of"])
            return cls(as_of, Limits(**saved["limits"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConditionsError(
                f"{path} cannot be read ({error}). Delete it, and start the emulator with its --as-of and --quota again."
            ) from error

    def keep(self, state: Path) -> None:
        """Writes them where `kept` finds them."""
        document = {"as_of": self.as_of and self.as_of.isoformat(), "limits": asdict(self.limits)}
        disk.replace(state / FILE, json.dumps(document).encode())

    def changed(self, as_of: str | None = None, quota: Path | None = None) -> Conditions:
        """These, with what is given in the place of what was.

        Args:
            as_of: a date, or "today" for the machine's own from now on.
            quota: the file of limits.

        Raises:
            ConditionsError: no date, or no such file.
        """
        try:
            limits = self.limits if quota is None else read_limits(quota)
        except LimitsError as problem:
            raise ConditionsError(f"{problem} `python -m emulator start --help` shows one.") from problem
        return replace(self, as_of=self.as_of if as_of is None else _day(as_of), limits=limits)


def _day(text: str) -> date | None:
    if text == TODAY:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConditionsError(f"--as-of {text!r} is no date. Write it as 2025-03-01, or {TODAY}.") from None
    if day < EARLIEST:
        raise ConditionsError(f"--as-of {day} is too early. Choose a date from {EARLIEST} on.")
    return day
