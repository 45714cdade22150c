"""`python -m tests.deaths`: runs the whole matrix and writes docs/reliability-deaths.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import tests.conftest  # noqa: F401 - first: with a Prefect of its own, whatever the shell is set up for
from tests.deaths import report
from tests.deaths.cells import BOOK, WHOLE
from tests.deaths.matrix import SETTINGS, run_all
from tests.deaths.site import site
from tests.resilience.session import Session, parser


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 only if every cell is as it must be."""
    session = Session(BOOK, parser("python -m tests.deaths", __doc__).parse_args(arguments), SETTINGS)
    if wanted := session.wanted(WHOLE):
        with tempfile.TemporaryDirectory(prefix="deaths-") as folder, site(Path(folder)) as here:
            run_all(here, wanted, session.tell)
    return session.end(report.page, report.PAGE)


if __name__ == "__main__":
    sys.exit(main())
