"""A step's process: starting it, finding it again after a restart, following it, ending it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator import births
from emulator.engine.supervisor import CLAIM, COMMAND, PROCESS, RESULT, claim, write
from emulator.fork_server import ForkServer, ForkServerLost

SUPERVISOR = "emulator.engine.supervisor"
LOOK_SECONDS = 0.1
GRACE_SECONDS = 3.0  # between SIGTERM and SIGKILL
BIRTH_SECONDS = 10.0  # in which a supervisor must have started its process


class StepProcess:
    """One process of a step, known by the folder that its supervisor writes to."""

    def __init__(self, folder: Path, supervisor: subprocess.Popen[bytes] | None = None) -> None:
        self._folder = folder
        self._supervisor = supervisor

    @classmethod
    def start(
        cls, folder: Path, argv: Sequence[str], cwd: Path, log: Path, environment: Mapping[str, str]
    ) -> StepProcess:
        """Starts `argv` in `cwd`; its output goes to `log`, at the end."""
        cls._prepare(folder, argv, cwd, log)
        supervisor = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, str(folder)],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(folder, supervisor)

    @classmethod
    async def start_quickly(
        cls,
        server: ForkServer,
        folder: Path,
        argv: Sequence[str],
        cwd: Path,
        log: Path,
        environment: Mapping[str, str],
    ) -> StepProcess:
        """As `start`, for an `argv` that is `python -m` and a module of the emulator: it comes from the fork server.

        Raises:
            asyncio.CancelledError: and nothing runs.
        """
        cls._prepare(folder, argv, cwd, log)
        try:
            await server.fork(SUPERVISOR, [str(folder)], environment, folder)
        except ForkServerLost:
            # It may have forked before.
            return cls.adopt(folder) or cls.start(folder, argv, cwd, log, environment)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):  # a disk without room, where a supervisor does not come far either
                if not claim(folder):
                    await cls(folder).stop()
            raise
        return cls(folder)

    @classmethod
    def _prepare(cls, folder: Path, argv: Sequence[str], cwd: Path, log: Path) -> None:
        cls.forget(folder)
        write(folder / COMMAND, {"argv": list(argv), "cwd": str(cwd), "log": str(log)})

    @staticmethod
    def forget(folder: Path) -> None:
        """Makes the folder ready for another process."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (CLAIM, PROCESS, RESULT):
            (folder / name).unlink(missing_ok=True)

    @classmethod
    def adopt(cls, folder: Path) -> StepProcess | None:
        """The process that an earlier emulator started; None when none was started."""
        return cls(folder) if (folder / CLAIM).exists() else None

    async def wait(self, look: Callable[[], None]) -> int | None:
        """The exit code; negative for a signal. None when process and supervisor vanished. Calls `look` again and again."""
        waited = 0.0
        while self._is_alive(waited):
            look()
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
        look()
        result = self._read(RESULT)
        if result is None:
            self._signal(signal.SIGKILL)
        return None if result is None else int(result["exit_code"])

    async def stop(self) -> None:
        """Ends the process and all of its group: SIGTERM, and after a grace SIGKILL. Returns when they are gone."""
        await self._until(lambda: self._read(PROCESS) is not None, BIRTH_SECONDS)
        for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, BIRTH_SECONDS)):
            self._signal(number)
            if await self._until(lambda: False, patience):
                break
        self._signal(signal.SIGKILL)  # only finds something where the supervisor died before its process

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits for `condition`; True when the process ended before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not condition():
            if not self._is_alive(0.0):
                return True
            await asyncio.sleep(LOOK_SECONDS / 4)
        return False

    def _is_alive(self, waited: float) -> bool:
        """Whether the supervisor lives; one that has just been started counts as alive."""
        if self._supervisor is not None:
            return self._supervisor.poll() is None
        known = self._read(PROCESS)
        if known is None:
            return waited < BIRTH_SECONDS and self._read(RESULT) is None
        return births.lives(known["supervisor"], known["created"])

    def _signal(self, number: int) -> None:
        """Signals the group, if it still is this process's: its number may have been given to another since."""
        known = self._read(PROCESS)
        if known is None:
            return
        if self._is_alive(0.0) or births.is_same(known["group"], known["group_created"]):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(known["group"], number)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self._folder / name).read_text())
        except FileNotFoundError:
            return None
