"""The changes that are kept apply to the product as it is: one that does not is a wrong change that nobody tries any more."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.__main__ import main
from tests.mutants.mutant import DoesNotApply, Mutant, kept


def test_all_apply_and_name_tests_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_each_is_another_one() -> None:
    twice = [
        each for each, times in Counter((mutant.file, mutant.old, mutant.new) for mutant in kept()).items() if times > 1
    ]
    assert twice == []


@pytest.mark.parametrize("old", ["there is no such text", "import"])
def test_a_text_that_is_not_there_once_is_told(old: str) -> None:
    mutant = Mutant(wrong="nothing at all", file="flows/finetune.py", old=old, new="", tests=("tests",))
    with pytest.raises(DoesNotApply, match=r"its old text is \d+ times in flows/finetune\.py"):
        mutant.changed()
