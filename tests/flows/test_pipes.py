"""What becomes of a run whose worker was killed: nobody reads any more what it prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulated import ROOT

RUN = """
import sys
from pathlib import Path
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
from flows.pipes import outlive_the_reader

setup_logging()
if sys.argv[2] == "outlives":
    outlive_the_reader()
print("ready", flush=True)
sys.stdin.readline()
get_logger("run").warning("Nobody reads this.")
get_logger("run").warning("Nor this.")
print("Nor this.", flush=True)
Path(sys.argv[1]).write_text("lived")
"""


@pytest.mark.parametrize("way", ["outlives", "as Prefect has it"])
def test_a_run_goes_on_when_nobody_reads_what_it_prints(tmp_path: Path, way: str) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path / "end"), way]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdin and run.stdout
        while "ready" not in (line := run.stdout.readline()):
            assert line, "it ended before it began"
        run.stdout.close()
        run.stdin.write("\n")
        run.stdin.close()
        lived = run.wait() == 0 and (tmp_path / "end").exists()
    assert lived is (way == "outlives"), "Prefect mends it itself by now" if lived else "it died"
