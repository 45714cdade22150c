"""`python -m tests.chaos`: runs the matrix, tells of each cell, and writes docs/reliability.md."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path

from tests.chaos import report, seen, version
from tests.chaos.calls import distinct
from tests.chaos.matrix import Outcome, cells, packed
from tests.chaos.shards import shards

DELAYS = {"quick": 2.0, "full": 15.0}
"""Seconds that a late answer takes."""
LOGS = seen.SEEN.parent / "chaos"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 only if every cell is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--slice", choices=DELAYS, default="full", help="quick: once-only faults, short delays")
    parser.add_argument(
        "--only", default="*", metavar="GLOB", help="only cells whose line matches, as in '*PUT*answer lost*'"
    )
    parser.add_argument("--resume", action="store_true", help="skip what earlier commands on this source found green")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no further run after so many minutes")
    parser.add_argument("--shards", type=int, default=4, help="runs side by side, each with an emulator of its own")
    options = parser.parse_args(arguments)
    logging.getLogger("azure").setLevel(logging.ERROR)
    # Told to end, it leaves in good order: the shards stop what they started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    delay, source, began = DELAYS[options.slice], version.source(), time.monotonic()
    if not options.resume:
        seen.SEEN.unlink(missing_ok=True)
    green = {outcome.cell for outcome in seen.kept(source) if not outcome.wrong}
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        shards(options.shards, Path(folder), LOGS, delay) as running,
    ):
        print(
            f"{options.shards} shards, whose logs are in {LOGS}, make a run of each kind without faults first.",
            flush=True,
        )
        records = running.records()
        matrix = cells(
            distinct(*(adopting for _, adopting in records)),
            distinct(*(training for training, _ in records)),
            lasting=options.slice == "full",
        )
        wanted = [cell for cell in matrix if fnmatchcase(str(cell), options.only) and cell not in green]
        packs, told = packed(wanted), []
        print(f"{len(matrix)} cells; {len(wanted)} to be seen, in {len(packs)} runs.", flush=True)

        def tell(outcome: Outcome) -> None:
            told.append(outcome)
            seen.keep(outcome, source)
            print(f"{len(told):5d}/{len(wanted)} {report.line(outcome)}", flush=True)

        running.run(packs, tell, began + options.minutes * 60)
    outcomes = [outcome for outcome in seen.kept(source) if outcome.cell in matrix]
    whole = options.slice == "full"
    tested = f"{version.commit()}, source {source}"
    page = report.page(report.Tested(tested, outcomes, len(matrix) if whole else None, delay))
    report.PAGE.write_text(page, encoding="utf-8")
    red = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in red:
        print(report.line(outcome))
    minutes = (time.monotonic() - began) / 60
    print(f"{len(outcomes) - len(red)} green, {len(red)} red, {minutes:.0f} min; see {report.PAGE}")
    return 1 if red or len(outcomes) < len(matrix) else 0


if __name__ == "__main__":
    # The shards inherit it. A run's warnings say how it got over a fault.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    sys.exit(main())
