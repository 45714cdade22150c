"""What comes from the fork server is as a process of its own, whatever becomes of who asked for it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from emulator.engine.process import StepProcess
from emulator.engine.step import may_be_forked
from emulator.fork_server import ForkServer, ForkServerLost
from emulator.inherited import SOURCE, environment
from tests.emulator.engine.test_process import nothing, until
from tests.processes import is_alive

T = TypeVar("T")
TOLD = "tests.emulator.engine.told"
IS_QUICK = "import sys; print('torch' in sys.modules)"
Run = Callable[[Callable[[ForkServer], Awaitable[Any]]], Any]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs what is to be done with the module's fork server."""
    server = ForkServer()
    with asyncio.Runner() as runner:

        async def given(do: Callable[[ForkServer], Awaitable[T]]) -> T:
            return await do(server)

        yield lambda do: runner.run(given(do))
        runner.run(server.close())


async def start(server: ForkServer, tmp_path: Path, code: str) -> StepProcess:
    argv = [sys.executable, "-m", TOLD, code]
    (tmp_path / "work").mkdir(exist_ok=True)
    return await StepProcess.start_quickly(
        server, tmp_path / "step", argv, tmp_path / "work", tmp_path / "log", environment({"GIVEN": "1"})
    )


def serving(server: ForkServer) -> psutil.Process:
    """The fork server's process."""
    assert server._process is not None
    return psutil.Process(server._process.pid)


def test_it_is_what_it_would_be_by_itself(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "planted")
    (tmp_path / "log").write_text("before\n")
    code = (
        "import json, os, signal, sys; print(json.dumps([sys.argv[2:], os.getcwd(), sys.path[0], os.getsid(0) == os.getpid(), "
        "[signal.getsignal(s) == signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)], "
        "signal.getsignal(signal.SIGINT) == signal.default_int_handler, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "
        "sys.stdin.read(), 'torch' in sys.modules, __name__, os.environ.get('SECRET_OF_THE_HOST')]), flush=True); "
        "os.system('echo $GIVEN'); print('bad', file=sys.stderr); raise SystemExit(7)"
    )

    async def do(server: ForkServer) -> None:
        assert await (await start(server, tmp_path, code)).wait(nothing) == 7

    run(do)
    before, found, given, bad = (tmp_path / "log").read_text().splitlines()
    assert (before, given, bad) == ("before", "1", "bad")
    work = str(tmp_path / "work")
    assert json.loads(found) == [[], work, work, True, [True] * 3, True, [], "", True, "__main__", None]


def test_it_is_ended_with_all_that_it_started(run: Run, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    code = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '600']); "
        f"open({str(noted)!r}, 'w').write(f'{{p.pid}}\\n'); time.sleep(600)"
    )

    async def do(server: ForkServer) -> int | None:
        process = await start(server, tmp_path, code)
        await until(lambda: noted.exists() and noted.read_text().endswith("\n"))
        await process.stop()
        return await process.wait(nothing)

    assert run(do) == -signal.SIGTERM
    assert not is_alive(int(noted.read_text()))


def test_it_goes_on_without_the_fork_server_and_another_emulator_gets_its_result(run: Run, tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    code = f"import os, time; open({str(begun)!r}, 'w')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)"

    async def do(server: ForkServer) -> None:
        await start(server, tmp_path, code)
        await until(begun.exists)
        serving(server).kill()
        adopted = StepProcess.adopt(tmp_path / "step")
        assert adopted is not None
        gate.touch()
        assert await adopted.wait(nothing) == 0
        await until(lambda: server._listening is None)
        # The next one finds another.
        assert await (await start(server, tmp_path, IS_QUICK)).wait(nothing) == 0

    run(do)
    assert (tmp_path / "log").read_text() == "True\n"


def test_a_step_starts_without_it_where_it_dies_meanwhile(run: Run, tmp_path: Path) -> None:
    async def do(server: ForkServer) -> None:
        await server.fork(TOLD, ["pass"], environment({}), tmp_path)
        serving(server).suspend()
        starting = asyncio.create_task(start(server, tmp_path, IS_QUICK))
        await until((tmp_path / "step" / "command.json").exists)
        serving(server).kill()
        assert await (await starting).wait(nothing) == 0

    run(do)
    assert (tmp_path / "log").read_text() == "False\n"


def test_a_step_that_is_cancelled_before_it_is_forked_never_runs(run: Run, tmp_path: Path) -> None:
    async def do(server: ForkServer) -> None:
        await server.fork(TOLD, ["pass"], environment({}), tmp_path)
        serving(server).suspend()
        starting = asyncio.create_task(start(server, tmp_path, "print('ran')"))
        await until((tmp_path / "step" / "command.json").exists)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        serving(server).resume()
        # Whoever comes next is answered for himself, after the supervisor of the other has looked.
        assert await (await server.fork(TOLD, ["raise SystemExit(5)"], environment({}), tmp_path)).wait() == 5
        await until(lambda: not serving(server).children())

    run(do)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9), ("1 / 0", 1)]
)
def test_how_a_fork_ends_is_told(run: Run, tmp_path: Path, code: str, status: int) -> None:
    async def do(server: ForkServer) -> int | None:
        fork = await server.fork(TOLD, [code], environment({}), tmp_path, tmp_path / "log")
        return await fork.wait()

    assert run(do) == status


def test_who_waits_for_a_fork_is_told_nothing_when_the_fork_server_is_lost(run: Run, tmp_path: Path) -> None:
    async def do(server: ForkServer) -> int | None:
        fork = await server.fork(TOLD, ["import time; time.sleep(600)"], environment({}), tmp_path)
        serving(server).kill()
        status = await fork.wait()
        assert is_alive(fork.pid)
        psutil.Process(fork.pid).kill()
        return status

    assert run(do) is None


def test_it_ends_with_the_emulator_and_comes_no_more_once_it_was_closed(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, pathlib\nfrom emulator.fork_server import ForkServer\nasync def go():\n"
        f" server = ForkServer()\n fork = await server.fork({TOLD!r}, ['pass'], dict(os.environ), pathlib.Path('.'))\n"
        " print(server._process.pid, flush=True)\n os._exit(0)\nasyncio.run(go())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SOURCE, capture_output=True, text=True, check=True)
    psutil.wait_procs([psutil.Process(pid) for pid in [int(done.stdout)] if is_alive(pid)], timeout=10)
    assert not is_alive(int(done.stdout))

    async def closed() -> None:
        server = ForkServer()
        await server.close()
        with pytest.raises(ForkServerLost):
            await server.fork(TOLD, ["pass"], environment({}), tmp_path)

    asyncio.run(closed())


def test_only_the_emulators_own_components_come_from_it_and_only_without_variables() -> None:
    ours = [sys.executable, "-m", "emulator.components.chat_completion.finetune", "--epochs", "1"]
    assert may_be_forked(ours, {})
    assert not may_be_forked(ours, {"OMP_NUM_THREADS": "1"})
    assert not may_be_forked([sys.executable, "-m", "train"], {})
    assert not may_be_forked([sys.executable, "-c", "emulator.components."], {})
    assert not may_be_forked(["/bin/sh", "-m", ours[2]], {})
    assert not may_be_forked([sys.executable], {})
