"""`python -m tests.chaos`: runs the matrix, tells of each cell, and writes docs/reliability.md."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path

from prefect.testing.utilities import prefect_test_harness

from blocks import AzureMLWorkspace
from tests.chaos import report, seen
from tests.chaos.matrix import Cell, Outcome, matrix
from tests.chaos.site import Site
from tests.emulated import pointed_at, running_emulator
from tests.flows.conftest import BLOCK, write_conversations

DELAYS = {"quick": 2.0, "full": 15.0}
"""Seconds that a late answer takes."""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 only if every cell is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--slice", choices=DELAYS, default="full", help="quick: once-only faults, short delays")
    parser.add_argument(
        "--only", default="*", metavar="GLOB", help="only cells whose line matches, as in '*PUT*answer lost'"
    )
    parser.add_argument("--resume", action="store_true", help="skip what earlier commands on this version found green")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after the cell that is running by then")
    options = parser.parse_args(arguments)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    logging.getLogger("azure").setLevel(logging.ERROR)
    delay, version = DELAYS[options.slice], report.version()
    if not options.resume:
        seen.SEEN.unlink(missing_ok=True)
    before = {outcome.cell: outcome for outcome in seen.kept(version)}
    until = time.monotonic() + options.minutes * 60

    def told(outcome: Outcome) -> None:
        seen.keep(outcome, version)
        print(report.line(outcome.cell, outcome), flush=True)
        if time.monotonic() > until:
            raise _OutOfTime

    def wanted(cell: Cell) -> bool:
        return fnmatchcase(str(cell), options.only) and not (cell in before and not before[cell].ended.wrong)

    whole = (options.slice, options.only) == ("full", "*")
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        scratch = Path(folder)
        with running_emulator(scratch / "state") as emulator, pointed_at(emulator), prefect_test_harness(120):
            here = emulator.installation
            workspace = AzureMLWorkspace(
                subscription_id=here.subscription_id, resource_group=here.resource_group, workspace_name=here.workspace
            )
            workspace.save(BLOCK, overwrite=True)
            site = Site(emulator, workspace, write_conversations(scratch / "conversations"))
            try:
                matrix(site, delay, wanted, told, lasting=options.slice == "full")
            except _OutOfTime:
                whole = False
    outcomes = list(seen.kept(version))
    report.write(outcomes, delay, whole=whole)
    print(report.table(outcomes))
    red = sum(bool(outcome.ended.wrong) for outcome in outcomes)
    print(f"{len(outcomes) - red} green, {red} red; see {report.PAGE}")
    return 1 if red or not outcomes else 0


class _OutOfTime(Exception):
    """The minutes given are over."""


if __name__ == "__main__":
    sys.exit(main())
