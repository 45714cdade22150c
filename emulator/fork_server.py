"""A process that imports the trainer's libraries once and forks those that need them, which saves each several seconds of processor
time: `python -m emulator.fork_server`.

The emulator starts it when the first is needed, asks it by lines on its standard input, and is told on its standard output what was
forked and how it ended. It ends with the emulator; what it forked goes on. A fork is like a process of its own: session, signals,
environment, folder and output are what it was asked for. Only modules of the emulator come from here, and only with the environment
that the libraries were imported with: what is asked of a library by a variable may be read when it is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulator.inherited import SOURCE, environment

LIBRARIES = (
    "mlflow", "mlflow.pyfunc", "mlflow.transformers", "torch", "transformers", "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama", "transformers.optimization", "peft", "safetensors.torch", "pyarrow.parquet",
    "jinja2.sandbox", "starlette.applications", "uvicorn",
)  # fmt: skip
_FORKED, _ENDED = "forked", "ended"
_is_fork = False


class ForkServerLost(Exception):
    """It ended, or could not be started; unless it was closed, the next request starts another."""


class Fork:
    """A process that the fork server forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """Negative for a signal; None while it runs, and where the fork server was lost before."""
        self._over = asyncio.Event()

    async def wait(self) -> int | None:
        """Returns when it has ended, or the fork server was lost."""
        await self._over.wait()
        return self.returncode

    def end(self, returncode: int | None) -> None:
        """Notes its end."""
        self.returncode = returncode
        self._over.set()


class ForkServer:
    """The emulator's way to it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._asked: deque[asyncio.Future[Fork]] = deque()
        self._forks: dict[int, Fork] = {}
        self._listening: asyncio.Task[None] | None = None
        self._is_closed = False

    async def fork(
        self, module: str, arguments: Sequence[str], given: Mapping[str, str], folder: Path, log: Path | None = None
    ) -> Fork:
        """What `python -m module arguments` in `folder` would be, with `given` for its environment.

        Args:
            log: the file to whose end it writes what it says; None for the emulator's own.

        Raises:
            ForkServerLost: nothing was forked, or nobody knows.
        """
        stdin = (await self._running()).stdin
        assert stdin is not None
        wanted = {
            "module": module,
            "arguments": list(arguments),
            "given": dict(given),
            "folder": str(folder),
            "log": log and str(log),
        }
        answer: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        try:
            stdin.write(json.dumps(wanted).encode() + b"\n")
        except OSError as error:
            raise ForkServerLost from error
        return await answer

    async def close(self) -> None:
        """Ends it for good; what it forked goes on."""
        self._is_closed = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._listening is not None:
            await self._listening

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._is_closed:
                raise ForkServerLost
            if self._process is None or self._process.returncode is not None or self._listening is None:
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "emulator.fork_server",
                        cwd=SOURCE, env=environment({}), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                        start_new_session=True,
                    )  # fmt: skip
                except OSError as error:
                    raise ForkServerLost from error
                self._listening = asyncio.create_task(self._listen(self._process))
            return self._process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            what, pid, *status = json.loads(line)
            if what == _FORKED:
                fork = self._forks[pid] = Fork(pid)
                answer = self._asked.popleft()
                if not answer.done():  # who asked may have gone
                    answer.set_result(fork)
            elif fork_ := self._forks.pop(pid, None):
                fork_.end(status[0])
        self._listening = None
        while self._asked:
            if not (answer := self._asked.popleft()).done():
                answer.set_exception(ForkServerLost())
        while self._forks:
            self._forks.popitem()[1].end(None)
        await process.wait()


def is_fork() -> bool:
    """Whether this process has the libraries from the fork server."""
    return _is_fork


def become(module: str, arguments: Sequence[str], folder: str, log: int | None = None) -> None:
    """Makes a fork what `python -m module arguments` would be in `folder`, and runs it; `log` is where it writes what it says. Does
    not return where that ends the process, as most do."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    if log is not None:
        os.dup2(log, 1)
        os.dup2(log, 2)
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv = [module, *arguments]
    with contextlib.suppress(OSError):  # the command line that `ps` shows stays the fork server's; `top` shows this
        Path("/proc/self/comm").write_text(module.rpartition(".")[2])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Forks what it is asked for, until nobody can ask any more."""
    global _is_fork
    requests, answers = os.fdopen(os.dup(0)), os.dup(1)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    _import_libraries()
    gc.freeze()  # else each fork's collections write to, and so copy, every page that holds an object
    signal.signal(signal.SIGCHLD, lambda *_: _tell_of_ends(answers))
    for line in requests:
        wanted = json.loads(line)
        # An end is told after the beginning.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if (pid := os.fork()) == 0:
            break
        _tell(answers, _FORKED, pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    else:
        return
    _is_fork = True
    requests.close()
    os.close(answers)
    os.environ.clear()
    os.environ.update(wanted["given"])
    log = wanted["log"] and os.open(wanted["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    become(wanted["module"], wanted["arguments"], wanted["folder"], log)


def _import_libraries() -> None:
    from emulator.components.step import quieten_libraries, share_the_processor

    share_the_processor()
    quieten_libraries()
    for name in LIBRARIES:
        importlib.import_module(name)


def _tell_of_ends(answers: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(answers, _ENDED, ended[0], os.waitstatus_to_exitcode(ended[1]))


def _tell(answers: int, *what: str | int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(answers, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    from emulator import fork_server

    fork_server.main()  # of the module that its forks import, too
