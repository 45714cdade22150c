"""`python -m tests.chaos`: runs the matrix, tells of each cell, and writes docs/reliability.md."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import report
from tests.chaos.calls import distinct, stages_of
from tests.chaos.matrix import BOOK, cells, packed
from tests.chaos.shards import shards
from tests.chaos.site import PATIENCE
from tests.emulated import ROOT
from tests.resilience.session import Session, parser

DELAYS = {"quick": 2.0, "full": 15.0}
"""Seconds that a late answer takes."""
LOGS = ROOT / ".cache" / "chaos"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 only if every cell is as it must be."""
    options = parser("python -m tests.chaos", __doc__)
    options.add_argument("--slice", choices=DELAYS, default="full", help="quick: once-only faults, short delays")
    options.add_argument("--minutes", type=float, default=1e6, help="begin no further run after so many minutes")
    options.add_argument("--shards", type=int, default=4, help="runs side by side, each with an emulator of its own")
    given = options.parse_args(arguments)
    logging.getLogger("azure").setLevel(logging.ERROR)
    delay, until = DELAYS[given.slice], time.monotonic() + given.minutes * 60
    session = Session(BOOK, given, {"shards": given.shards, **PATIENCE})
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        shards(given.shards, Path(folder), LOGS, delay, until) as running,
    ):
        print(
            f"{given.shards} shards, whose logs are in {LOGS}, make a run of each kind without faults first.",
            flush=True,
        )
        training, adopting = zip(*running.records(), strict=True)
        calls, stages = (distinct(*adopting), distinct(*training)), stages_of(*adopting, *training)
        packs = packed(session.wanted(cells(*calls, stages, delay, lasting=given.slice == "full")))
        running.run(packs, session.tell)
    return session.end(report.page, report.PAGE)


if __name__ == "__main__":
    # The shards inherit it. A run's warnings say how it got over a fault.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    sys.exit(main())
