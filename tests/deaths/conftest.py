"""What became of the cells that the session's tests ask for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.deaths import seen
from tests.deaths.cells import Cell
from tests.deaths.matrix import run_all
from tests.deaths.site import site
from tests.deaths.verdict import Outcome


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Cell, Outcome]:
    """Of every cell of the session, run on one stack and many at the same time."""
    found = {outcome.cell: outcome for outcome in seen.kept() if not outcome.wrong}
    asked = (getattr(item, "callspec", None) for item in request.session.items)
    cells = {spec.params["cell"] for spec in asked if spec is not None and isinstance(spec.params.get("cell"), Cell)}

    def told(outcome: Outcome) -> None:
        found[outcome.cell] = outcome
        seen.keep(outcome)

    if missing := cells - found.keys():
        with site(tmp_path_factory.mktemp("deaths")) as here:
            run_all(here, missing, told)
    return found
