"""One small wrong change, and the files in which they are kept.

A file is TOML, one table for each change:

    [[mutant]]
    wrong = "a cluster of ours never scales to zero"
    file = "tasks/compute.py"
    old = '''min_instances=0'''
    new = '''min_instances=1'''
    tests = ["tests/tasks/test_cluster.py"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tests.emulated import ROOT

KEPT = Path(__file__).parent / "kept"


class DoesNotApply(Exception):
    """The code has changed: the old text is not there any more, or it is not the only one."""


class Mutant(BaseModel):
    """One small wrong change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wrong: str = Field(min_length=10)
    """What the product then does that it must not, in words."""
    file: str
    old: str = Field(min_length=1)
    new: str
    tests: tuple[str, ...] = Field(min_length=1)
    """As pytest takes them, of which one at least must fail."""

    def changed(self, tree: Path = ROOT) -> str:
        """The file's text with the change.

        Raises:
            DoesNotApply: the text to change is not there exactly once, or the change is none.
        """
        path = tree / self.file
        text = path.read_text("utf-8") if path.is_file() else ""
        if (times := text.count(self.old)) != 1 or self.old == self.new:
            raise DoesNotApply(f"{self.wrong}: its old text is {times} times in {self.file}\n{self.old}")
        return text.replace(self.old, self.new)


def kept(folder: Path = KEPT) -> Sequence[Mutant]:
    """All that are kept, in the order of their files."""
    return [
        Mutant.model_validate(entry)
        for file in sorted(folder.glob("*.toml"))
        for entry in tomllib.loads(file.read_text("utf-8"))["mutant"]
    ]
