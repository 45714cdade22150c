"""One of each death, at the stages where most is at stake. The whole matrix: `python -m tests.deaths`."""

from collections.abc import Mapping

import pytest

from tests.deaths.cells import SLICE, Cell
from tests.deaths.matrix import run_all
from tests.deaths.site import site
from tests.resilience.seen import Outcome


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Cell, Outcome[Cell]]:
    """What became of them, on one stack and many at the same time."""
    found: dict[Cell, Outcome[Cell]] = {}
    with site(tmp_path_factory.mktemp("deaths")) as here:
        run_all(here, SLICE, lambda outcome: found.update({outcome.cell: outcome}))
    return found


@pytest.mark.parametrize("cell", SLICE, ids=str)
def test_nothing_is_lost_doubled_or_left_running(cell: Cell, outcomes: Mapping[Cell, Outcome[Cell]]) -> None:
    outcome = outcomes[cell]
    assert not outcome.wrong, outcome
