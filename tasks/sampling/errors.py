"""Why a dataset was not sampled."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_FINDINGS = 10
EXCERPT_CHARACTERS = 80
UNKNOWN_KEYS = "unknown keys"
"""How rules end that `extra_columns` decides."""
NOT_UTF8 = "is not UTF-8"
CARD = "`configs` of a README.md beside it, with their folder as the source"
"""Where a card is looked for: beside a file that is the source itself none is read."""


def too_long(max_characters: int) -> str:
    """The rule of a row that is longer: told of its characters, or of its bytes before it is read."""
    return f"more than {max_characters} characters (max_characters)"


@dataclass(frozen=True)
class Finding:
    """One row that breaks one rule."""

    file: str
    row: int
    """Counted from 1 in its file. In JSON Lines it is the line's number."""
    rule: str
    excerpt: str

    @property
    def kind(self) -> str:
        """The rule without what it says of this row alone: a place, a character's number."""
        return re.sub(r"( at character \d+)? \((?!m\w+_\w+\)).*\)", "", self.rule)

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.rule}: {self.excerpt}"


class DatasetError(Exception):
    """The dataset cannot be sampled. Nothing was written, and trying again unchanged fails again."""


class SourceUnavailable(DatasetError):
    """The source cannot be found or reached, or may not be read."""


class UnreadableFile(DatasetError):
    """A file is damaged, or holds something other than conversations."""


class InvalidRows(DatasetError):
    """Rows of the sample break a rule."""

    def __init__(self, findings: Sequence[Finding], total: int, remedy: str) -> None:
        self.findings = tuple(findings[:SHOWN_FINDINGS])
        self.total = total
        shown = "\n".join(f"  {finding}" for finding in self.findings)
        more = f"\n  and {total - len(self.findings)} more" if total > len(self.findings) else ""
        super().__init__(f"{total} {'row breaks' if total == 1 else 'rows break'} a rule. {remedy}\n{shown}{more}")


def excerpt(value: object) -> str:
    """`value` on one line of printable ASCII, at most `EXCERPT_CHARACTERS` of it."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        value = value.decode("ascii", "backslashreplace")
    if not isinstance(value, str):
        return (ascii(value) if isinstance(value, int | float | list | dict) else str(value))[:EXCERPT_CHARACTERS]
    # Cut after escaping, too: an emoji is ten characters then.
    shown = ascii(value[:EXCERPT_CHARACTERS])[: EXCERPT_CHARACTERS + 20]
    return f"{shown}... ({len(value)} characters)" if len(value) > EXCERPT_CHARACTERS else shown


def listed(names: Iterable[str]) -> str:
    """`names` for a sentence, the first ten of them."""
    every = [_shown(name) for name in names]
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "") or "none"


def _shown(name: str) -> str:
    """A name as it is, unless it is long or has characters that a terminal would act on."""
    return name if name.isprintable() and len(name) <= EXCERPT_CHARACTERS else excerpt(name)
