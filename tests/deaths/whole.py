"""The whole matrix: `python -m tests.deaths` runs it, in parts at the same time, and writes docs/reliability-deaths.md."""

from collections.abc import Mapping

import pytest

from tests.deaths.cells import WHOLE, Cell
from tests.deaths.verdict import Outcome


@pytest.mark.parametrize("cell", WHOLE, ids=str)
def test_nothing_is_lost_doubled_or_left_running(cell: Cell, outcomes: Mapping[Cell, Outcome]) -> None:
    outcome = outcomes[cell]
    assert not outcome.wrong, outcome
