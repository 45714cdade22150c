"""Runs one step's process and outlives the emulator: `python -m emulator.engine.supervisor FOLDER`. Where it was forked by the fork
server, it forks the process, too.

FOLDER holds `command.json` (argv, cwd, log). The supervisor writes `process.json` when the process runs and `result.json`
when it has ended; both appear whole or not at all. The process leads a group of its own, by which it is signalled; what it
leaves running in that group is ended with it, as a container would. Secrets are not in the folder: the environment is handed
down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from emulator import births, disk, fork_server

COMMAND, CLAIM, PROCESS, RESULT = "command.json", "claim", "process.json", "result.json"
NOT_STARTED = 127  # what a shell answers for a command that can't be run


def main(folder: Path) -> int:
    """Runs the command of `folder`, unless another supervisor has claimed it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, since what is ignored would be ignored by the step too: a handler ends with exec.
        signal.signal(number, lambda *_: None)
    if not disk.insist(lambda: claim(folder)):
        return 1
    spec = json.loads((folder / COMMAND).read_text())
    argv, cwd = spec["argv"], spec["cwd"]
    started = time.time()
    with disk.insist(lambda: open(spec["log"], "ab", buffering=0)) as log:
        if fork_server.is_fork():
            pid = os.fork()
            if pid == 0:
                fork_server.become(argv[2], argv[3:], cwd, log.fileno())
                return 0
        else:
            try:
                process = subprocess.Popen(
                    argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as problem:
                with contextlib.suppress(OSError):
                    log.write(f"{argv[0]}: {problem.strerror}\n".encode())
                insist(folder / RESULT, {"exit_code": NOT_STARTED, "started": started, "ended": time.time()})
                return 0
            pid = process.pid
    known = {
        "supervisor": os.getpid(),
        "created": births.began(os.getpid()),
        "group": pid,
        "group_created": births.began(pid),
    }
    insist(folder / PROCESS, known)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    insist(folder / RESULT, {"exit_code": exit_code, "started": started, "ended": time.time()})
    if fork_server.is_fork():
        os._exit(0)  # it has nothing to put away, but the libraries would
    return 0


def claim(folder: Path) -> bool:
    """Makes the process of `folder` the caller's to run, or to keep from running; False when it is somebody else's."""
    try:
        os.close(os.open(folder / CLAIM, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON so that a reader sees all of it or nothing."""
    disk.replace(path, json.dumps(content).encode())


def insist(path: Path, content: dict[str, Any]) -> None:
    """As `write`, once there is room for it: what a process came to must not be lost with a full disk."""
    disk.insist(lambda: write(path, content))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
