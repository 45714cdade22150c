"""Steps' processes: ended with all that they started, and found again by another emulator."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from emulator.engine.process import StepProcess
from emulator.inherited import SOURCE
from tests.processes import is_alive

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


def start(tmp_path: Path, code: str) -> StepProcess:
    return StepProcess.start(tmp_path / "step", [sys.executable, "-c", code], tmp_path, tmp_path / "log", ENVIRONMENT)


def nothing() -> None:
    """For a wait that looks at nothing."""


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what another process brings about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


def test_the_exit_code_and_the_output_are_kept(tmp_path: Path) -> None:
    async def run() -> int | None:
        return await start(tmp_path, "print('said'); raise SystemExit(7)").wait(nothing)

    assert asyncio.run(run()) == 7
    assert (tmp_path / "log").read_text() == "said\n"


def test_another_emulator_finds_the_process_and_gets_its_result(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def run() -> int | None:
        first = start(
            tmp_path, f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)\nraise SystemExit(5)"
        )
        await until(lambda: StepProcess.adopt(tmp_path / "step") is not None)
        adopted = StepProcess.adopt(tmp_path / "step")
        assert adopted is not None
        gate.touch()
        found = await adopted.wait(nothing)
        assert await first.wait(nothing) == found
        return found

    assert asyncio.run(run()) == 5


def test_a_process_left_behind_by_its_step_is_ended(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    code = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open({str(noted)!r}, 'w').write(str(p.pid))"

    async def run() -> int | None:
        return await start(tmp_path, code).wait(nothing)

    assert asyncio.run(run()) == 0
    assert not is_alive(int(noted.read_text()))


def test_a_process_that_vanished_with_its_supervisor_has_no_result(tmp_path: Path) -> None:
    noted = tmp_path / "pids"
    code = f"import os, time; open({str(noted)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}\\n'); time.sleep(600)"

    async def run() -> int | None:
        process = start(tmp_path, code)
        await until(lambda: noted.exists() and noted.read_text().endswith("\n"))
        await until((tmp_path / "step" / "process.json").exists)
        for pid in reversed(noted.read_text().split()):
            psutil.Process(int(pid)).kill()
        return await process.wait(nothing)

    assert asyncio.run(run()) is None
