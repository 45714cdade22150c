"""`python -m tests.deaths`: runs the whole matrix and writes docs/reliability-deaths.md."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tests.deaths import report, seen
from tests.deaths.cells import WHOLE
from tests.emulated import ROOT

PARTS = ("server or shutdown", "worker and SIGKILL", "not server and not worker")
"""Each on a stack of its own, one after the other: what strikes a worker or a server strikes every run that it has."""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 only if every cell is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.deaths", description=__doc__)
    parser.add_argument("--resume", action="store_true", help="do not run again what earlier commands found green")
    options = parser.parse_args(arguments)
    if not options.resume:
        seen.SEEN.unlink(missing_ok=True)
    env = {**os.environ, seen.KEEPING: str(seen.SEEN)}
    for part in PARTS:
        whole = str(ROOT / "tests" / "deaths" / "whole.py")
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--timeout=0", whole, "-k", part], cwd=ROOT, env=env, check=False
        )
    report.write(list(seen.every(seen.SEEN)))
    green = sum(not outcome.wrong for outcome in seen.kept(seen.SEEN))
    print(f"{green} of {len(WHOLE)} cells are as they must be; see {report.PAGE}")
    return 0 if green == len(WHOLE) else 1


if __name__ == "__main__":
    sys.exit(main())
