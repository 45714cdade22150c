"""One of each death, at the stages where most is at stake. The whole matrix: `python -m tests.deaths`."""

from collections.abc import Mapping

import pytest

from tests.deaths.cells import SLICE, Cell
from tests.deaths.verdict import Outcome


@pytest.mark.parametrize("cell", SLICE, ids=str)
def test_nothing_is_lost_doubled_or_left_running(cell: Cell, outcomes: Mapping[Cell, Outcome]) -> None:
    outcome = outcomes[cell]
    assert not outcome.wrong, outcome
