"""`python -m tests.deaths`: runs the whole matrix and writes docs/reliability-deaths.md."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

import tests.conftest  # noqa: F401 - first: with a Prefect of its own, whatever the shell is set up for
from tests.deaths import report
from tests.deaths.cells import BOOK, WHOLE, Death
from tests.deaths.matrix import OF_EVERYTHING, SETTINGS, run_all
from tests.deaths.site import site
from tests.resilience.session import Session, parser

OF_WORKERS = (Death.WORKER_KILLED,)
PARTS = (OF_EVERYTHING, OF_WORKERS, [death for death in Death if death not in (*OF_EVERYTHING, *OF_WORKERS)])
"""Each on a stack of its own, one after the other: what strikes a worker or a server strikes every run that it has."""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 only if every cell is as it must be."""
    session = Session(BOOK, parser("python -m tests.deaths", __doc__).parse_args(arguments), SETTINGS)
    wanted = session.wanted(WHOLE)
    for deaths in PARTS:
        if cells := [cell for cell in wanted if cell.death in deaths]:
            try:
                with tempfile.TemporaryDirectory(prefix="deaths-") as folder, site(Path(folder)) as here:
                    run_all(here, cells, session.tell)
            except Exception:  # the other parts have stacks of their own
                traceback.print_exc()
    return session.end(report.page, report.PAGE)


if __name__ == "__main__":
    sys.exit(main())
